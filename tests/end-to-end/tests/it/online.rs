//! Goal: what clients write while a rotation in mode online runs is in no page that a unit has re-wrapped, so
//! a unit opens it before the old master key may go; what does not open is named and waits. Method:
//! the rotation is held before its flip, keys are made, and a bit of one is flipped in PostgreSQL.

use std::time::{Duration, Instant};

use end_to_end::cluster::text_of;
use end_to_end::keys::Client;
use end_to_end::process::PATIENCE;
use end_to_end::{Cluster, Flavour};

use crate::gate::{hold, until_phase};
use crate::recover::explained;
use crate::{started, words};

const ROTATE: &str = "auto-mk-rotate --mode online --yes --passphrase-file passphrase";

/// Changes the last byte of a key's blob in the newest generation, or changes it back.
async fn flip_bit(cluster: &Cluster, key: &str) {
    let tables = cluster.database.wrapped_tables().await.unwrap();
    let number = |table: &String| table.rsplit('_').next().unwrap().parse::<u32>().unwrap();
    let newest = tables.iter().max_by_key(|table| number(table)).unwrap();
    cluster.database.flip_bit(newest, key).await.unwrap();
}

/// The keys that do not open are named, and what comes of it.
async fn until_named(cluster: &Cluster, key: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = explained(cluster).await.to_string();
        if said.contains("were written while the rotation ran") && said.contains(key) {
            return;
        }
        assert!(Instant::now() < until, "nobody names {key}: {said}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_while_a_rotation_runs_is_opened_before_the_old_key_goes() {
    let Some(cluster) = started(Flavour::Testing).await else { return };
    let client = Client::of(&cluster).await.unwrap();
    client.create("before", 20).await.unwrap();
    hold(&cluster, Some("flip")).await;
    let rotation = cluster.begin(&words(ROTATE)).unwrap();
    until_phase(&cluster, "flip").await;
    let written = client.create("meanwhile", 2).await.unwrap();
    let wrapped = client.wrap(&written[0], "aGVsbG8=", "").await.unwrap();
    flip_bit(&cluster, &written[1]).await;
    hold(&cluster, None).await;

    until_named(&cluster, &written[1]).await;
    assert!(!rotation.is_finished(), "the old master key is kept");
    flip_bit(&cluster, &written[1]).await;
    let ended = rotation.await.unwrap().unwrap();
    assert!(ended.status.success(), "{}", text_of(&ended));

    cluster.expect(0, &words("keys check")).await.unwrap();
    assert_eq!(client.unwrap(&written[0], &wrapped, "").await.unwrap(), "aGVsbG8=");
    client.wrap(&written[1], "aGVsbG8=", "").await.unwrap();
    cluster.stop().await.unwrap();
}
