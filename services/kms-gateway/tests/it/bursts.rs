//! Many requests at once, and a gateway that is told to stop while it has some in hand.

use futures_util::future::join_all;
use identity::Role;
use protocol::topology::exchange_of;
use serde_json::json;

use crate::client::Client;
use crate::cluster::Cluster;

/// As many requests as find no session with any unit, at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_first_requests_is_served() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let names: Vec<_> = (0..64).map(|number| format!("burst {number}")).collect();
    let ids = join_all(names.iter().map(|name| client.root_key(name))).await;
    assert_eq!(ids.len(), names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_unit_is_answered_before_the_gateway_stops() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let root = client.root_key("root").await;
    // The gateway is told to stop while the request is on its way to a unit.
    let door = cluster.door.clone();
    cluster.memory.tap(move |message| {
        if message.exchange == exchange_of(protocol::Role::OperationalUnit) {
            door.trigger();
        }
    });
    let text = json!({ "plaintext": "c2VjcmV0" });
    client.post(&format!("/api/v2/keys/{root}/actions/wrap"), text).await.ok(200);
    assert!(cluster.door.is_requested());
}
