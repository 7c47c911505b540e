//! Goal: what a rotation leaves behind as proof holds for two verifiers that share no code, and no
//! field of it can be another one. Method: receipts of a real cluster; each field is changed alone,
//! as anybody could, and once more signed anew by the coordinator itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use crypto::domain;
use crypto::identity::Identity;
use crypto::random::process_rng;
use ledger::Folder;
use machines::receipt::{holds, receipt_hash, verify};
use protocol::receipt::{ManifestFile, RotationReceipt, canonical};
use serde_json::Value;

use crate::binary::text;
use crate::cluster::Dev;
use crate::with_cluster::objects;

/// A cluster that has been rotated once, stopped, and what it has left: files in its home.
struct Left {
    dev: Dev,
    first: PathBuf,
    second: PathBuf,
    manifests: PathBuf,
}

impl Left {
    fn behind() -> Self {
        let dev = Dev::ready(&["--standing-order", "0"]);
        dev.good(&["keys", "create", "--count", "25"]);
        let line = dev.good(&["auto-mk-rotate"]);
        let list = objects(&dev.good(&["rotations", "--json"]));
        let [second, first] = [0, 1].map(|index| list[index]["rotation"].as_str().unwrap());
        let hash = list[0]["receipt"].as_str().unwrap();
        assert!(line.ends_with(&format!("Receipt: {}...\n", &hash[..8])), "{line}");
        assert!(dev.good(&["rotations", second]).contains(&format!("receipt     {hash}")));
        let path = |name: &str| dev.home.path(name);
        let files = ["first.json", "second.json", "manifests.json"].map(path);
        for (rotation, file) in [(first, &files[0]), (second, &files[1])] {
            let said = dev.good(&["receipt", rotation, "--out", text(file)]);
            assert!(said.contains("not verified"), "{said}");
            let shown: Value = serde_json::from_str(&dev.good(&["receipt", rotation])).unwrap();
            assert_eq!(shown, read(file));
            assert_eq!(objects(&dev.good(&["receipt", rotation, "--json"])), [shown]);
        }
        let again = dev.run(&["receipt", first, "--out", text(&files[0])]);
        assert_eq!((again.code, again.err.contains("no file was overwritten")), (1, true));
        let unknown = dev.run(&["receipt", "01890000-0000-7000-8000-000000000000"]);
        assert_eq!((unknown.code, unknown.err.contains("no rotation")), (1, true), "{unknown:?}");
        assert!(dev.good(&["manifest", "--out", text(&files[2])]).contains("digest"));
        let [first, second, manifests] = files;
        let mut left = Self { dev, first, second, manifests };
        left.dev.crash();
        left
    }

    fn coordinator(&self) -> Identity {
        let place = self.dev.home.path("dev/coordinator");
        let mut rng = process_rng();
        Folder::open(&place, None, &mut rng).unwrap().identity(&mut rng).unwrap()
    }

    /// Whether each receipt holds, by our own code.
    fn ours(&self, receipts: &[Value], previous: Option<&Path>) -> Vec<bool> {
        let bytes = std::fs::read(&self.manifests).unwrap();
        let manifests: ManifestFile = serde_json::from_slice(&bytes).unwrap();
        let previous = previous.map(|path| {
            let bytes = std::fs::read(path).unwrap();
            RotationReceipt::read(&bytes).unwrap()
        });
        let of_one = |receipt: &Value| {
            RotationReceipt::read(receipt.to_string().as_bytes())
                .is_ok_and(|receipt| holds(&verify(&receipt, &manifests.chain, previous.as_ref())))
        };
        receipts.iter().map(of_one).collect()
    }

    /// The same by the Python program; none where there is no Python and none is required.
    fn theirs(&self, receipts: &[Value], previous: Option<&Path>) -> Option<Vec<bool>> {
        let lines: Vec<_> = receipts.iter().map(Value::to_string).collect();
        let list = self.dev.home.write("receipts.jsonl", &lines.join("\n"));
        let one = self.dev.home.path("one.json");
        let script = format!(
            "import sys; sys.path.insert(0, {folder:?}); sys.dont_write_bytecode = True\n\
             import verify\n\
             rest = sys.argv[2:]\n\
             for line in open(sys.argv[1], encoding='utf-8'):\n\
            \x20   open({one:?}, 'w', encoding='utf-8').write(line)\n\
            \x20   print('RESULT', int(verify.main([{one:?}, *rest]) is None))\n",
            folder = verifier().parent().unwrap(),
        );
        let mut arguments = vec![list, self.manifests.clone()];
        arguments.extend(previous.map(Path::to_owned));
        let out = python(Command::new("python3").arg("-c").arg(script).args(arguments))?;
        let results = out.0.lines().filter_map(|line| line.strip_prefix("RESULT "));
        Some(results.map(|result| result == "1").collect())
    }

    /// Whether each receipt holds, by both.
    fn agree(&self, receipts: &[(String, Value)], previous: Option<&Path>) -> Vec<bool> {
        let (names, receipts): (Vec<_>, Vec<_>) = receipts.iter().cloned().unzip();
        let ours = self.ours(&receipts, previous);
        if let Some(theirs) = self.theirs(&receipts, previous) {
            assert_eq!(theirs.len(), receipts.len());
            let differ = |index: &usize| ours[*index] != theirs[*index];
            let differ: Vec<_> = (0..ours.len()).filter(differ).map(|at| &names[at]).collect();
            assert_eq!(differ, [""; 0], "one of both is content, the other is not");
        }
        ours
    }
}

fn verifier() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/receipt/verify.py")
}

/// What it wrote and its exit code.
fn python(command: &mut Command) -> Option<(String, i32)> {
    let required = std::env::var("KEYHELM_REQUIRE").unwrap_or_default().contains("python");
    match command.output() {
        Ok(output) => {
            let all = [output.stdout, output.stderr].concat();
            Some((String::from_utf8_lossy(&all).into_owned(), output.status.code().unwrap()))
        }
        Err(_) if !required => {
            println!("NOT RUN: receipts in Python (no python3)");
            None
        }
        Err(error) => panic!("python3 is required: {error}"),
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Another value of the same kind.
fn other(value: &Value) -> Value {
    match value {
        Value::Null => Value::from("ab".repeat(32)),
        Value::Number(number) => Value::from(number.as_u64().unwrap() + 1),
        Value::String(text) => {
            // The last digit of an id, digest or blob; else a letter more.
            let (head, last) = text.split_at(text.len() - 1);
            let is_hex =
                text.len() >= 32 && text.bytes().all(|it| it == b'-' || it.is_ascii_hexdigit());
            Value::from(match (is_hex, last) {
                (false, _) => format!("{text}x"),
                (true, "0") => format!("{head}1"),
                (true, _) => format!("{head}0"),
            })
        }
        Value::Array(items) => {
            let mut items = items.clone();
            items.insert(0, items[0].clone());
            Value::from(items)
        }
        Value::Object(fields) => {
            let mut fields = fields.clone();
            fields.insert("more".to_owned(), Value::from(1));
            Value::from(fields)
        }
        Value::Bool(_) => panic!("a receipt has none"),
    }
}

/// The receipt with each of its values changed, emptied and taken away alone, and what was done.
fn tampered(receipt: &Value) -> Vec<(String, Value)> {
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        let inner: Vec<_> = match value {
            Value::Array(items) => {
                items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
            }
            Value::Object(fields) => {
                fields.iter().map(|(name, item)| (name.clone(), item)).collect()
            }
            _ => Vec::new(),
        };
        for (name, item) in inner {
            let at = format!("{at}/{name}");
            found.push(at.clone());
            places(item, &at, found);
        }
    }
    let mut found = Vec::new();
    places(receipt, "", &mut found);
    let mut all = vec![(" other".to_owned(), other(receipt))];
    for at in found {
        let mut changed = receipt.clone();
        let value = changed.pointer_mut(&at).unwrap();
        *value = other(value);
        all.push((format!("{at} other"), changed));
        if !receipt.pointer(&at).unwrap().is_null() {
            let mut changed = receipt.clone();
            *changed.pointer_mut(&at).unwrap() = Value::Null;
            all.push((format!("{at} null"), changed));
        }
        let mut changed = receipt.clone();
        let (parent, name) = at.rsplit_once('/').unwrap();
        match changed.pointer_mut(parent).unwrap() {
            Value::Array(items) => drop(items.remove(name.parse().unwrap())),
            Value::Object(fields) => drop(fields.remove(name)),
            _ => panic!("{at}"),
        }
        all.push((format!("{at} gone"), changed));
    }
    all
}

fn sign(coordinator: &Identity, receipt: &mut Value) {
    let mut message = receipt.clone();
    message.as_object_mut().unwrap().remove("signature");
    let signature = coordinator.sign(domain::ROTATION_RECEIPT, &canonical(&message));
    receipt["signature"] = Value::from(hex::encode(signature.0));
}

/// What the coordinator alone says, and a signature of the order that is there twice: signed anew,
/// that is as good.
fn is_as_good(what: &str, last_phase: usize) -> bool {
    const PLAIN: [&str; 8] = [
        "/audit/seq other",
        "/audit/hash other",
        "/gate_closed_ms other",
        "/gate_closed_ms null",
        "/previous other",
        "/previous null",
        "/order/authority/quorum other",
        "/order/authority/standing/standing/signatures other",
    ];
    let of_phase = |index| {
        what == format!("/phases/{index}/1 other") || what == format!("/phases/{index} gone")
    };
    PLAIN.contains(&what) || (0..last_phase).any(of_phase)
}

#[test]
fn two_verifiers_agree_on_every_field_of_a_receipt() {
    let left = Left::behind();
    let coordinator = left.coordinator();
    let (first, second) = (read(&left.first), read(&left.second));
    let both = [("first".to_owned(), first.clone()), ("second".to_owned(), second.clone())];
    assert_eq!(left.agree(&both, None), [true, true]);
    assert_eq!(left.agree(&both[1..], Some(&left.first)), [true]);
    assert_eq!(left.agree(&both, Some(&left.second)), [false, false]);

    for (receipt, only) in [(&second, ""), (&first, "/order")] {
        let last_phase = receipt["phases"].as_array().unwrap().len() - 1;
        let all: Vec<_> =
            tampered(receipt).into_iter().filter(|(what, _)| what.starts_with(only)).collect();
        assert!(all.len() > 20, "{}", all.len());
        let found = left.agree(&all, None);
        for ((what, _), holds) in all.iter().zip(found) {
            assert!(!holds, "{what}, not signed anew");
        }
        let mut anew: Vec<_> =
            all.into_iter().filter(|(what, _)| !what.starts_with("/signature")).collect();
        for (_, receipt) in &mut anew {
            sign(&coordinator, receipt);
        }
        let found = left.agree(&anew, None);
        for ((what, _), holds) in anew.iter().zip(found) {
            assert_eq!(holds, is_as_good(what, last_phase), "{what}, signed anew");
        }
    }
    // What is its word alone is found as soon as the former receipt is shown.
    let mut changed = second;
    changed["previous"] = other(&changed["previous"]);
    sign(&coordinator, &mut changed);
    assert_eq!(left.agree(&[("previous".to_owned(), changed)], Some(&left.first)), [false]);
}

#[test]
fn a_receipt_is_verified_without_any_server_and_says_what_was_looked_at() {
    let left = Left::behind();
    let dev = &left.dev;
    // Nor is a context wanted: one that cannot be read is no obstacle.
    dev.home.write(".config/keyhelm/config.toml", "not = [toml");
    let manifests = text(&left.manifests);
    let good = dev.good(&[
        "verify-receipt",
        text(&left.second),
        "--manifest",
        manifests,
        "--previous",
        text(&left.first),
    ]);
    let receipt = RotationReceipt::read(&std::fs::read(&left.second).unwrap()).unwrap();
    let hash = receipt_hash(&receipt);
    let last = format!("OK  Receipt {}... holds.\n", hash.short());
    assert!(good.ends_with(&last), "{good}");
    for word in
        ["CHECKED", "manifests", "order", "op-1, op-2", "25 key versions", "former receipt", "ok"]
    {
        assert!(good.contains(word), "{word}: {good}");
    }
    let listed =
        dev.good(&["verify-receipt", text(&left.second), "--manifest", manifests, "--json"]);
    let listed = &objects(&listed)[0];
    assert_eq!((&listed["holds"], listed["checks"].as_array().unwrap().len()), (&true.into(), 10));

    let mut forged = read(&left.second);
    forged["keystores"][0]["key_versions"] = Value::from(26);
    sign(&left.coordinator(), &mut forged);
    let path = dev.home.write("forged.json", &forged.to_string());
    let refused = dev.run(&["verify-receipt", text(&path), "--manifest", manifests]);
    let is_named = refused.err.contains("counts other key versions");
    assert_eq!((refused.code, is_named), (1, true), "{refused:?}");
    assert!(refused.out.contains("FAILED"), "{refused:?}");
    let torn = dev.home.write("torn.json", "{\"type\":\"keyhelm.rotation-receipt\"");
    for (file, manifests, code, word) in [
        (text(&torn), manifests, 1, "does not hold"),
        (text(&left.manifests), manifests, 1, "no rotation receipt"),
        (text(&left.second), text(&left.first), 2, "holds no manifests"),
        ("nowhere.json", manifests, 2, "cannot be read"),
    ] {
        let refused = dev.run(&["verify-receipt", file, "--manifest", manifests]);
        assert_eq!((refused.code, refused.err.contains(word)), (code, true), "{refused:?}");
    }

    let script = verifier();
    let run = |receipt: &Path| {
        python(Command::new("python3").arg("-B").arg(&script).arg(receipt).arg(&left.manifests))
    };
    if let (Some(good), Some(bad)) = (run(&left.second), run(&path)) {
        assert_eq!((good.1, good.0.contains(&hash.to_string())), (0, true), "{good:?}");
        assert_eq!((bad.1, bad.0.contains("other keys are active")), (1, true), "{bad:?}");
    }
}
