//! `keyhelm explain` against a running cluster: its screen, its exit codes, its objects.

use serde_json::Value;

use crate::cluster::{Dev, ended};
use crate::with_cluster::{objects, under_way};

fn explained(dev: &Dev) -> (i32, Value) {
    let ran = dev.run(&["explain", "--json"]);
    assert_eq!(ran.err, "", "{ran:?}");
    (ran.code, objects(&ran.out).remove(0))
}

#[test]
fn from_the_founding_on_there_is_one_answer() {
    let dev = Dev::start();
    let ran = dev.run(&["explain"]);
    assert_eq!((ran.code, ran.err.as_str()), (3, ""), "{ran:?}");
    for line in [
        "DO    The instance has no manifest: its crypto units are in imprint mode.",
        "\nsafe: Nothing has changed.\n",
        "\nnext: keyhelm auto-init\n",
        "\nmore: keyhelm explain not-initialised\n",
    ] {
        assert!(ran.out.contains(line), "{line}: {}", ran.out);
    }
    drop(dev);

    let dev = Dev::ready(&["--standing-order", "0"]);
    dev.good(&["keys", "create", "--count", "30"]);
    dev.good(&["auto-mk-rotate"]);
    let told = dev.good(&["explain"]);
    for line in [
        "OK    All is well.",
        "      The last rotation, ",
        "30 key versions",
        "      The standing order allows the next rotation now",
        "\nnext: nothing\n",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(!told.contains('\u{1b}'), "no colours outside of a terminal: {told}");
    assert!(told.lines().all(|line| line.chars().count() <= 110), "{told}");
    let (code, object) = explained(&dev);
    assert_eq!(
        (code, &object["code"], &object["name"]),
        (0, &"all-well".into(), &"embedded".into())
    );
    assert_eq!((&object["next_command"], &object["needs_person"]), (&Value::Null, &false.into()));
}

#[test]
fn without_a_standing_order_the_next_command_signs_by_hand() {
    let dev = Dev::ready(&[]);
    let (code, object) = explained(&dev);
    assert_eq!((code, &object["code"]), (0, &"no-standing-order".into()), "{object}");
    assert_eq!(object["next_command"], "keyhelm auto-mk-rotate --sign");
}

#[test]
fn while_a_rotation_runs_waiting_is_right() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    dev.good(&["keys", "create", "--count", "20000"]);
    let (command, rotation) = under_way(&dev, &[]);
    let mut seen = Vec::new();
    loop {
        let (code, object) = explained(&dev);
        assert_eq!((code, &object["next_command"]), (0, &Value::Null), "{object}");
        let is_well = object["code"] == "all-well";
        if !is_well {
            assert_eq!(object["code"], "rotation-running", "{object}");
            assert!(object["details"][0].as_str().unwrap().contains(&rotation), "{object}");
        }
        seen.push(is_well);
        if is_well {
            break;
        }
    }
    assert!(seen.len() > 1, "the rotation of 20,000 keys was over before anybody looked");
    assert_eq!(ended(command).code, 0);
}
