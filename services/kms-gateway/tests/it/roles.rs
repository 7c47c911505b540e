//! Who may do what: every role at every verb.

use identity::Role;
use serde_json::{Value, json};

use crate::client::{Client, collection, send};
use crate::cluster::Cluster;

/// A verb, its request, and the roles that may do it.
struct Verb {
    name: &'static str,
    method: &'static str,
    path: String,
    body: Value,
    roles: &'static [Role],
    /// Where it is allowed: a purge of a key that is not deleted is a conflict.
    status: u16,
}

const READERS: &[Role] = &[Role::Reader, Role::ReaderPlus, Role::Writer, Role::Manager];
const PAYLOAD_READERS: &[Role] = &[Role::ReaderPlus, Role::Writer, Role::Manager];
const WRITERS: &[Role] = &[Role::Writer, Role::Manager];

async fn verbs(cluster: &Cluster) -> Vec<Verb> {
    let client = Client::new(cluster, &cluster.token(&[Role::Manager]));
    let root = format!("/api/v2/keys/{}", client.root_key("root").await);
    let standard = format!("/api/v2/keys/{}", client.standard_key("standard", "AAAA").await);
    let wrapped = client.post(&format!("{root}/actions/wrap"), json!({})).await.ok(200).json();
    let verb = |name, method, path: &str, body, roles, status| Verb {
        name,
        method,
        path: path.to_owned(),
        body,
        roles,
        status,
    };
    let unwrap = json!({ "ciphertext": wrapped["ciphertext"] });
    let batch = json!({ "keys": [{ "name": "batched" }] });
    let made = collection(json!({ "name": "made" }));
    let imported = collection(json!({ "name": "imported", "payload": "AAAA" }));
    let none = Value::Null;
    let checkers = &[Role::Manager, Role::CryptoUnitAdministrator];
    vec![
        verb("list", "GET", "/api/v2/keys", none.clone(), READERS, 200),
        verb("count", "HEAD", "/api/v2/keys", none.clone(), READERS, 200),
        verb("metadata", "GET", &format!("{standard}/metadata"), none.clone(), READERS, 200),
        verb("versions", "GET", &format!("{root}/versions"), none.clone(), READERS, 200),
        verb("get root", "GET", &root, none.clone(), READERS, 200),
        verb("get payload", "GET", &standard, none.clone(), PAYLOAD_READERS, 200),
        verb("wrap", "POST", &format!("{root}/actions/wrap"), json!({}), READERS, 200),
        verb("unwrap", "POST", &format!("{root}/actions/unwrap"), unwrap, READERS, 200),
        verb("wrap, legacy", "POST", &format!("{root}?action=wrap"), json!({}), READERS, 200),
        verb("create", "POST", "/api/v2/keys", made, WRITERS, 201),
        verb("import", "POST", "/api/v2/keys", imported, WRITERS, 201),
        verb("batch", "POST", "/v1/key-batches", batch, WRITERS, 201),
        verb("check", "POST", "/v1/key-checks", none.clone(), checkers, 200),
        verb("purge", "DELETE", &format!("{root}/purge"), none.clone(), &[Role::KeyPurge], 409),
        verb("delete", "DELETE", &standard, none, &[Role::Manager], 204),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_does_what_it_may_and_nothing_else() {
    let cluster = Cluster::founded().await;
    let verbs = verbs(&cluster).await;
    let heads: String = Role::ALL.iter().map(|role| format!(" {:>12.12}", role.name())).collect();
    println!("{:<14}{heads} {:>12}", "", "none");
    for verb in &verbs {
        let mut line = String::new();
        let everybody = Role::ALL.iter().map(|role| vec![*role]).chain([Vec::new()]);
        for roles in everybody {
            let client = Client::new(&cluster, &cluster.token(&roles));
            let mut request = client.request(verb.method, &verb.path);
            if !verb.body.is_null() {
                request = request.body(verb.body.to_string());
            }
            let said = send(request).await;
            let is_allowed = roles.first().is_some_and(|role| verb.roles.contains(role));
            let wanted = if is_allowed { verb.status } else { 403 };
            line.push_str(&format!(" {:>12}", said.status.as_u16()));
            assert_eq!(said.status.as_u16(), wanted, "{} by {roles:?}: {}", verb.name, said.text);
            if !is_allowed && verb.method != "HEAD" {
                said.refused(403, "UNAUTHORIZED_ERR");
            }
        }
        println!("{:<14}{line}", verb.name);
    }
}
