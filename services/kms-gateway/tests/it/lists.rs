//! Which keys there are: pages, states, kinds, searches.

use identity::Role;
use serde_json::{Value, json};

use crate::client::{Client, KEY, send};
use crate::cluster::Cluster;

async fn names(client: &Client, query: &str) -> Vec<String> {
    let said = client.get(&format!("/api/v2/keys{query}")).await.ok(200);
    assert_eq!(said.header("content-type"), KEY);
    let body = said.json();
    let resources = body["resources"].as_array().unwrap();
    assert_eq!(body["metadata"]["collectionTotal"], resources.len(), "{query}");
    let counted = send(client.request("HEAD", &format!("/api/v2/keys{query}"))).await.ok(200);
    let total: u64 = counted.header("key-total").parse().unwrap();
    assert!(body["metadata"].get("totalCount").is_none(), "every key would have to be looked at");
    let query =
        if query.is_empty() { "?totalCount=true" } else { &format!("{query}&totalCount=true") };
    let with_total = client.get(&format!("/api/v2/keys{query}")).await.ok(200).json();
    assert_eq!(with_total["metadata"]["totalCount"], total, "{query}");
    assert_eq!(with_total["resources"], body["resources"]);
    assert!(resources.iter().all(|key| key.get("payload").is_none()));
    let name = |key: &Value| key["name"].as_str().unwrap().to_owned();
    let mut names: Vec<_> = resources.iter().map(name).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_and_filtered() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    assert_eq!(names(&client, "").await, [""; 0]);
    for name in ["Alpha", "beta", "not:one"] {
        client.root_key(name).await;
    }
    let id = client.standard_key("gamma", "AAAA").await;
    let deleted = client.root_key("zeta").await;
    client.delete(&format!("/api/v2/keys/{deleted}")).await.ok(204);
    let all = ["Alpha", "beta", "gamma", "not:one"];
    for (query, wanted) in [
        // The Python client sends an empty state.
        ("?state=", &all[..]),
        ("?state=0%2C1%2C2%2C3", &all),
        ("?state=5", &["zeta"]),
        ("?state=1,5&limit=5000", &["Alpha", "beta", "gamma", "not:one", "zeta"]),
        ("?state=0,2", &[]),
        ("?extractable=True", &["gamma"]),
        ("?extractable=false", &["Alpha", "beta", "not:one"]),
        ("?search=alpha", &["Alpha"]),
        ("?search=ET", &["beta"]),
        ("?search=exact:bet", &[]),
        ("?search=name:exact:BETA", &["beta"]),
        ("?search=not:eta", &["Alpha", "gamma", "not:one"]),
        ("?search=escape:not:", &["not:one"]),
        ("?search=alias:beta", &[]),
        ("?search=not:alias:beta", &all),
        (&format!("?search={id}"), &["gamma"]),
        (&format!("?search=name:{id}"), &[]),
        ("?search=a&extractable=false", &["Alpha", "beta"]),
    ] {
        assert_eq!(names(&client, query).await, wanted, "{query}");
    }
    let said = client.get("/api/v2/keys?search=not:name:x").await.json();
    let understood = json!({ "query": "x", "scopes": ["name"], "not": true, "exact": false });
    assert_eq!(said["metadata"]["searchQuery"], understood);
    pages(&client, &["limit=3", "limit=2&extractable=false", "limit=1&search=a"]).await;
}

/// Pages of a list are the list.
async fn pages(client: &Client, queries: &[&str]) {
    for query in queries {
        let limit: u64 = query[6..7].parse().unwrap();
        let (mut offset, mut seen) = (0, Vec::new());
        let total = loop {
            let path = format!("/api/v2/keys?{query}&offset={offset}&totalCount=true");
            let body = client.get(&path).await.ok(200).json();
            let keys = body["resources"].as_array().unwrap();
            assert!(keys.len() as u64 <= limit);
            seen.extend(keys.iter().map(|key| key["id"].to_string()));
            offset += limit;
            if offset >= body["metadata"]["totalCount"].as_u64().unwrap() {
                break body["metadata"]["totalCount"].as_u64().unwrap();
            }
        };
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len() as u64, total, "{query}");
        assert!(total > limit, "{query} has one page only");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_named() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let key = client.root_key("one").await;
    for (query, target) in [
        ("limit=0", "limit"),
        ("limit=5001", "limit"),
        ("limit=ten", "limit"),
        ("offset=-1", "offset"),
        ("state=4", "state"),
        ("state=1,,5", "state"),
        ("state=1,%205", "state"),
        ("extractable=maybe", "extractable"),
        ("search=not:", "search"),
    ] {
        let said = client.get(&format!("/api/v2/keys?{query}")).await;
        said.refused_for(400, "INVALID_QUERY_PARAM_ERR", target);
    }
    for target in ["sort", "filter"] {
        let said = client.get(&format!("/api/v2/keys?{target}=id")).await;
        said.refused_for(501, "NOT_IMPLEMENTED_ERR", target);
    }
    let key = format!("/api/v2/keys/{key}");
    let said = client.delete(&format!("{key}?force=perhaps")).await;
    said.refused_for(400, "INVALID_QUERY_PARAM_ERR", "force");
    let said = client.get(&format!("{key}/versions?limit=0")).await;
    said.refused_for(400, "INVALID_QUERY_PARAM_ERR", "limit");
    for query in ["", "?action=", "?action=melt"] {
        let said = client.post(&format!("{key}{query}"), json!({})).await;
        said.refused_for(400, "INVALID_QUERY_PARAM_ERR", "action");
    }
}

/// What the keystore cannot select is selected out of 5,000 keys at most, on all pages or on none.
#[tokio::test(flavor = "multi_thread")]
async fn out_of_more_than_5000_keys_none_are_searched_for() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let batch = json!({ "keys": vec![json!({ "name": "many" }); 1_000] });
    for _ in 0..5 {
        client.post("/v1/key-batches", batch.clone()).await.ok(201);
    }
    let kinds = [("extractable=false", "extractable"), ("search=many", "search")];
    for (query, _) in kinds {
        let path = format!("/api/v2/keys?{query}&offset=4999&totalCount=true");
        let body = client.get(&path).await.ok(200).json();
        assert_eq!(body["metadata"]["collectionTotal"], 1, "{query}");
        assert_eq!(body["metadata"]["totalCount"], 5_000, "{query}");
    }
    let last = client.root_key("many").await;
    for (query, target) in kinds {
        // Not even a first page, which would be full.
        let path = format!("/api/v2/keys?{query}&limit=1");
        client.get(&path).await.refused_for(400, "KEY_SEARCH_TOO_BROAD", target);
        let counted = send(client.request("HEAD", &path)).await;
        assert_eq!(counted.status, 400, "{query}");
        let narrow = client.get(&format!("{path}&state=5")).await.ok(200).json();
        assert_eq!(narrow["metadata"]["collectionTotal"], 0, "{query}");
    }
    // The keystore itself selects and counts these.
    let counted = send(client.request("HEAD", "/api/v2/keys?state=1")).await.ok(200);
    assert_eq!(counted.header("key-total"), "5001");
    let newest = client.get("/api/v2/keys?limit=1").await.ok(200).only();
    assert_eq!(newest["id"], last);
}
