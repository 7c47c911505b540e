//! Who may do what: tokens, roles, instances.

use identity::{Issuer, Role};
use protocol::api::{InstanceView, StartRotation};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::api::{problem, token};
use crate::cluster::INSTANCE;
use crate::founding::{founded, path, rotated};

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_what_the_table_says_and_nothing_else() {
    let (cluster, _) = founded().await;
    let rotation = rotated(&cluster.api).await.rotation;
    let see = [
        "/v1/instances".to_owned(),
        path("rotations"),
        path("explain"),
        format!("/v1/rotations/{rotation}"),
        format!("/v1/rotations/{rotation}/events"),
        format!("/v1/rotations/{rotation}/receipt"),
    ];
    let operate = ["units", "compare", "members", "manifest", "audit"].map(path);
    let operate = [&operate[..], &[format!("/v1/rotations/{rotation}/reports")]].concat();
    let posts = [
        path("manifests"),
        path("standing-orders"),
        path("order-drafts"),
        path("rotations"),
        format!("/v1/rotations/{rotation}/abort"),
        format!("/v1/rotations/{rotation}/hold-end"),
    ];
    for (role, may_see, may_operate) in [
        (Role::Reader, true, false),
        (Role::ReaderPlus, true, false),
        (Role::Writer, true, false),
        (Role::Manager, true, true),
        (Role::KeyPurge, false, false),
        (Role::CryptoUnitAdministrator, true, true),
    ] {
        let api = cluster.api.with(Some(token(&cluster.issuer, "bob", &[role], &[INSTANCE])));
        for (paths, may) in [(&see[..], may_see), (&operate[..], may_operate)] {
            for path in paths {
                let response = api.get(path).await;
                match may {
                    true => assert_eq!(response.status(), StatusCode::OK, "{role} {path}"),
                    false => {
                        let found = problem(response, StatusCode::FORBIDDEN, "role-lacking").await;
                        assert!(found.detail.starts_with("bob "), "{}", found.detail);
                    }
                }
            }
        }
        for path in &posts {
            let response = api.post(path, &body_for(path)).await;
            let is_forbidden = response.status() == StatusCode::FORBIDDEN;
            assert_eq!(is_forbidden, !may_operate, "{role} {path} {}", response.status());
        }
    }
}

/// A sound body that comes to nothing.
fn body_for(path: &str) -> serde_json::Value {
    let unsigned = |bytes: Vec<u8>| json!({ "bytes": hex::encode(bytes), "signatures": [] });
    match path.rsplit('/').next().unwrap() {
        "manifests" => unsigned(protocol::codec::encode(&crate::refusals::empty_manifest())),
        "standing-orders" => unsigned(protocol::codec::encode(&crate::refusals::ended_standing())),
        "hold-end" => unsigned(Vec::new()),
        "order-drafts" => json!({ "purpose": "rotate", "mode": "strict", "valid_for_s": 60 }),
        "rotations" => json!(StartRotation { dry_run: true, ..StartRotation::default() }),
        _ => json!({ "because": "a test" }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_that_is_believed_nothing_is_shown() {
    let (cluster, _) = founded().await;
    let foreign =
        Issuer::create(&cluster.folder.path().join("foreign"), &mut crypto::random::process_rng());
    let foreign = token(&foreign.unwrap(), "mallory", &[Role::Manager], &["*"]);
    for given in [None, Some(String::new()), Some("not.a.token".to_owned()), Some(foreign)] {
        let api = cluster.api.with(given);
        for path in ["/v1/instances".to_owned(), path("units"), path("audit")] {
            let response = api.get(&path).await;
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            problem(response, StatusCode::UNAUTHORIZED, "unauthenticated").await;
        }
        let response = api.post(&path("rotations"), &json!({})).await;
        problem(response, StatusCode::UNAUTHORIZED, "unauthenticated").await;
    }
    let basic = cluster.api.with(None).request(Method::GET, "/v1/instances");
    let response = basic.header("authorization", "Basic YTpi").send().await.unwrap();
    problem(response, StatusCode::UNAUTHORIZED, "unauthenticated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_instance_shows_nothing_of_this_one() {
    let (cluster, _) = founded().await;
    let rotation = rotated(&cluster.api).await.rotation;
    let other = token(&cluster.issuer, "carol", &[Role::Manager], &["test"]);
    let api = cluster.api.with(Some(other));
    assert!(api.read::<Vec<InstanceView>>("/v1/instances").await.is_empty());
    for path in [
        path("units"),
        path("explain"),
        path("rotations"),
        path("audit"),
        format!("/v1/rotations/{rotation}"),
        format!("/v1/rotations/{rotation}/events"),
        format!("/v1/rotations/{rotation}/reports"),
    ] {
        problem(api.get(&path).await, StatusCode::FORBIDDEN, "instance-not-covered").await;
    }
    for (path, body) in [
        (path("rotations"), json!({})),
        (format!("/v1/rotations/{rotation}/abort"), json!({ "because": "a test" })),
        (format!("/v1/rotations/{rotation}/hold-end"), json!({ "bytes": "", "signatures": [] })),
    ] {
        let response = api.post(&path, &body).await;
        problem(response, StatusCode::FORBIDDEN, "instance-not-covered").await;
    }
    let all = token(&cluster.issuer, "dave", &[Role::Reader], &["*"]);
    let all: Vec<InstanceView> = cluster.api.with(Some(all)).read("/v1/instances").await;
    assert_eq!(all.len(), 1);
}
