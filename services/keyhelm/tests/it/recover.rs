//! `auto-mk-recover` against a cluster in which units have lost their master key.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::binary::Home;
use crate::cluster::{Dev, until};
use crate::with_cluster::objects;

/// The saved states of these units, wherever the cluster keeps them; their identities lie elsewhere.
fn states(folder: &Path, unit: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_unit = folder.file_name().is_some_and(|name| name == unit);
        if path.is_dir() {
            states(&path, unit, found);
        } else if is_unit && path.file_name().is_some_and(|name| name == "unit.sealed") {
            found.push(path);
        }
    }
}

/// The cluster is stopped, these units lose their state, and it is started again.
fn forget(dev: &mut Dev, units: &[&str]) {
    dev.crash();
    for unit in units {
        let mut found = Vec::new();
        states(&dev.home.path("dev"), unit, &mut found);
        assert_eq!(found.len(), 1, "{unit}: {found:?}");
        std::fs::remove_file(&found[0]).unwrap();
    }
    dev.restart();
}

fn explained(dev: &Dev) -> Value {
    objects(&dev.run(&["explain", "--json"]).out).remove(0)
}

fn next_is(dev: &Dev, command: &str) -> bool {
    until(|| {
        let ran = dev.run(&["explain", "--json"]);
        ran.out.contains(&format!("\"next_command\":\"{command}\""))
    })
}

/// Each unit's name and whether its current register is Valid.
fn valid(dev: &Dev) -> Vec<bool> {
    let view = &objects(&dev.good(&["cryptounit-mks", "--json"]))[0];
    let units = view["units"].as_array().unwrap().iter();
    units.map(|unit| unit["state"]["registers"]["current"].is_string()).collect()
}

#[test]
fn it_goes_by_the_name_of_ibms_command_table_too() {
    let home = Home::new();
    assert_eq!(home.run(&["auto-recover", "--help"]).code, 0, "IBM's command table calls it so");
}

#[test]
fn where_every_unit_is_valid_it_says_so_and_changes_nothing() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    let before = dev.good(&["cryptounit-mks", "--json"]);
    let counters = |text: &str| -> Vec<u64> {
        let view = &objects(text)[0];
        let units = view["units"].as_array().unwrap().iter();
        units.map(|unit| unit["state"]["state_counter"].as_u64().unwrap()).collect()
    };
    for args in [&["auto-mk-recover"][..], &["auto-mk-recover", "--unit", "op-1"]] {
        let said = dev.good(args);
        assert!(said.contains("Valid: nothing to recover."), "{said}");
    }
    let said = &objects(&dev.good(&["auto-mk-recover", "--json"]))[0];
    assert_eq!(said["type"], "nothing-to-recover");
    assert_eq!(counters(&before), counters(&dev.good(&["cryptounit-mks", "--json"])));
    let unknown = dev.run(&["auto-mk-recover", "--unit", "op-9"]);
    assert_eq!((unknown.code, unknown.err.contains("op-9 is no crypto unit")), (2, true));
    assert_eq!(objects(&dev.good(&["rotations", "--json"])).len(), 1, "only the founding");
}

#[test]
fn units_that_forgot_their_master_key_get_it_back() {
    let mut dev = Dev::ready(&["--standing-order", "0"]);
    dev.good(&["keys", "create", "--count", "50"]);
    dev.good(&["auto-mk-rotate"]);
    forget(&mut dev, &["op-2"]);
    let command = "keyhelm auto-mk-recover --unit op-2";
    assert!(next_is(&dev, command), "{:#}", explained(&dev));
    assert_eq!(dev.run(&["explain"]).code, 3);
    let tried = dev.good(&["auto-mk-recover", "--dry-run"]);
    for word in ["CURRENT MASTER KEY REGISTERS TO BE FILLED", "op-2", "Empty", "rec-", "dry run"] {
        assert!(tried.contains(word), "{word}: {tried}");
    }
    // Nobody signs: nothing has changed.
    let unsigned = dev.run(&["auto-mk-recover", "--unit", "op-2"]);
    assert_eq!((unsigned.code, unsigned.err.contains("--passphrase-file")), (2, true));
    let unfit = dev.signed(&["auto-mk-recover", "--unit", "op-2", "--from", "op-1"]);
    assert_eq!(
        (unfit.code, unfit.err.contains("op-1 is no recovery unit")),
        (3, true),
        "{unfit:?}"
    );
    assert_eq!(valid(&dev).iter().filter(|valid| !**valid).count(), 1);
    let done = dev.signed(&["auto-mk-recover", "--unit", "op-2", "--from", "rec-2"]);
    assert_eq!(done.code, 0, "{done:?}");
    for word in ["CURRENT MASTER KEY REGISTER", "Valid", "recovered in 1 of 1 crypto units"] {
        assert!(done.out.contains(word), "{word}: {done:?}");
    }
    assert!(valid(&dev).iter().all(|valid| *valid));
    let list = objects(&dev.good(&["rotations", "--json"]));
    assert!(list[0]["purpose"]["recover"].is_object() && list[0]["phase"] == "done", "{list:?}");
    let shown = dev.good(&["rotations", list[0]["rotation"].as_str().unwrap()]);
    assert!(shown.contains("recover") && shown.contains("master key recovered"), "{shown}");
    dev.good(&["keys", "check"]);

    // Several at once, a recovery unit among them, each by an order of its own.
    forget(&mut dev, &["op-1", "op-3", "rec-1"]);
    assert!(next_is(&dev, "keyhelm auto-mk-recover --unit op-1"), "{:#}", explained(&dev));
    let all_are_known = || valid(&dev).iter().filter(|valid| !**valid).count() == 3;
    assert!(until(all_are_known));
    let lines = objects(&dev.signed(&["auto-mk-recover", "--json"]).out);
    assert_eq!(lines.iter().filter(|line| line["type"] == "plan").count(), 3, "{lines:?}");
    assert_eq!(lines.last().unwrap()["type"], "done");
    assert!(valid(&dev).iter().all(|valid| *valid));
    let rotated = dev.good(&["auto-mk-rotate"]);
    assert!(rotated.starts_with("OK  Master key rotated: 50 keys, 0 failed, 5 of 5"), "{rotated}");
    dev.good(&["keys", "check"]);
}
