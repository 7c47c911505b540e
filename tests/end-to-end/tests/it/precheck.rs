//! What keeps a rotation from starting changes nothing, is all named, and is mended as it says.

use std::collections::BTreeMap;

use end_to_end::cluster::text_of;
use end_to_end::{Cluster, Flavour};

use crate::{started, words};

/// Everything that a rotation could have changed: sealed states, and all rows.
async fn everything(cluster: &Cluster) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for process in &cluster.processes {
        let path = cluster.folder.path().join(process.name()).join("unit.sealed");
        if let Ok(bytes) = std::fs::read(&path) {
            found.insert(path.display().to_string(), bytes);
        }
    }
    let rows = cluster.database.everything().await.unwrap();
    // The lease is renewed all the time; it is no state of a rotation.
    let is_lease = |line: &&[u8]| line.starts_with(b"(1,") || line.starts_with(b"(t,");
    let rows: Vec<_> = rows.split(|byte| *byte == b'\n').filter(|line| !is_lease(line)).collect();
    found.insert("rows".to_owned(), rows.join(&b'\n'));
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_units_are_all_named_nothing_changes_and_starting_them_mends_it() {
    let Some(mut cluster) = started(Flavour::Release).await else { return };
    cluster.expect(0, &words("keys create --count 10")).await.unwrap();
    let before = everything(&cluster).await;
    let cases: [&[&str]; 3] = [&["op-2"], &["op-2", "rec-1"], &["op-1", "op-3", "rec-2"]];
    for stopped in cases {
        for name in stopped {
            assert_eq!(cluster.process(name).unwrap().terminate().await.unwrap(), 0);
        }
        for line in ["auto-mk-rotate --dry-run", "auto-mk-rotate --yes"] {
            let said = text_of(&cluster.keyhelm(&words(line)).await.unwrap());
            assert!(said.starts_with("exit status: 3"), "{line}: {said}");
            for name in stopped {
                assert!(said.contains(name), "{line} does not name {name}: {said}");
            }
        }
        let now = everything(&cluster).await;
        assert!(before == now, "something has changed");
        for name in stopped {
            cluster.process(name).unwrap().start().unwrap();
            cluster.process(name).unwrap().says("starts").await.unwrap();
        }
        cluster.expect(0, &words("auto-mk-rotate --dry-run")).await.unwrap();
    }
    cluster.expect(0, &words("auto-mk-rotate --yes")).await.unwrap();
    cluster.expect(0, &words("keys check")).await.unwrap();
    cluster.stop().await.unwrap();
}
