//! Goal: whoever was killed, the cluster is afterwards, seen from outside, as it was before, but for
//! its master key.
//! Method: the list of keys, a payload and a ciphertext are noted before anything is killed, and asked
//! for again after each recovery; a key is made, used and deleted; the command line's own words for the
//! registers of all crypto units and for the check of all keys are read.

use std::collections::BTreeSet;

use chaos::compose::UNITS;
use chaos::{Gateway, Shell};
use serde_json::Value;

/// What is read and unwrapped again (base64).
const PAYLOAD: &str = "YSBwYXlsb2FkIHRoYXQgaXMga25vd24=";
const PLAINTEXT: &str = "YSBwbGFpbnRleHQgdGhhdCBpcyBrbm93bg==";
const AAD: &str = "of the witness";
/// Keys that are listed, and those that are deleted and still there.
const LISTED: &str = "1";
const KEPT: &str = "1,5";

/// What was there before.
#[derive(Clone)]
pub struct Witness {
    /// Ids of all keys.
    pub ids: BTreeSet<String>,
    /// A key whose payload is known.
    pub standard: String,
    root: String,
    ciphertext: String,
}

impl Witness {
    /// Makes what is looked at later, and notes it.
    pub async fn of(gateway: &Gateway) -> Self {
        let standard = gateway.create("standard-witness", Some(PAYLOAD)).await.unwrap();
        let root = gateway.create("root-witness", None).await.unwrap();
        let ciphertext = gateway.wrap(&root, PLAINTEXT, AAD).await.unwrap();
        let ids = gateway.ids(LISTED).await.unwrap();
        assert!(ids.len() > 2, "there are no keys but ours: {ids:?}");
        Self { ids, standard, root, ciphertext }
    }

    /// Whether an answer to a client is what it was before.
    pub fn is_payload(answer: &Value) -> bool {
        answer["resources"][0]["payload"] == PAYLOAD
    }

    /// The same of what was wrapped.
    pub fn is_plaintext(answer: &Value) -> bool {
        answer["plaintext"] == PLAINTEXT
    }

    /// Path and body of the request that unwraps.
    pub fn unwrapping(&self) -> (String, Value) {
        let body = serde_json::json!({ "ciphertext": self.ciphertext, "aad": [AAD] });
        (format!("/api/v2/keys/{}/actions/unwrap", self.root), body)
    }

    /// Everything is as it was, and can be used.
    pub async fn check(&self, gateway: &Gateway, shell: &Shell, after: &str) {
        gateway.until_served(&self.standard).await.unwrap();
        let payload = gateway.payload(&self.standard).await.unwrap();
        assert_eq!(payload, PAYLOAD, "{after}: what was imported before");
        let text = gateway.unwrap(&self.root, &self.ciphertext, AAD).await.unwrap();
        assert_eq!(text, PLAINTEXT, "{after}: what was wrapped before");
        made_and_deleted(gateway, after).await;
        let ids = gateway.ids(LISTED).await.unwrap();
        let differ: Vec<_> = self.ids.symmetric_difference(&ids).collect();
        assert!(differ.is_empty(), "{after}: keys have come or gone: {differ:?}");
        let kept = gateway.ids(KEPT).await.unwrap().len();
        // Each takes most of its time to be started.
        let (compared, checked) = tokio::join!(
            shell.expect("cryptounit-compare --json"),
            shell.expect("keys check --json")
        );
        one_master_key(&object(&compared.unwrap()), after);
        all_open(&object(&checked.unwrap()), kept, after);
    }
}

/// A key that is made now is of use.
async fn made_and_deleted(gateway: &Gateway, after: &str) {
    let id = gateway.create("made-and-deleted", None).await.unwrap();
    let ciphertext = gateway.wrap(&id, PLAINTEXT, AAD).await.unwrap();
    let text = gateway.unwrap(&id, &ciphertext, AAD).await.unwrap();
    assert_eq!(text, PLAINTEXT, "{after}: what is wrapped now");
    gateway.delete(&id).await.unwrap();
}

/// The one object that a command has answered.
fn object(said: &str) -> Value {
    let mut lines = said.lines();
    let object = lines.next().and_then(|line| serde_json::from_str(line).ok());
    assert_eq!(lines.next(), None, "more than one object: {said}");
    object.unwrap_or_else(|| panic!("no object: {said}"))
}

/// One current pattern in all units and in the keystore, nothing left over, and all could begin anew.
fn one_master_key(view: &Value, after: &str) {
    let units = view["units"].as_array().unwrap();
    assert_eq!(units.len(), UNITS.len(), "{after}: {view}");
    let current = &units[0]["state"]["registers"]["current"];
    assert!(current.is_string(), "{after}: {view}");
    for unit in units {
        let registers = &unit["state"]["registers"];
        assert!(registers.is_object(), "{after}: {} does not answer", unit["member"]["name"]);
        assert_eq!(&registers["current"], current, "{after}: {view}");
        assert!(registers["new"].is_null() && registers["retiring"].is_null(), "{after}: {view}");
    }
    let keystores = view["keystores"].as_array().unwrap();
    assert_eq!(keystores.len(), 1, "{after}: {view}");
    assert_eq!(&keystores[0]["active"]["pattern"], current, "{after}: {view}");
    assert!(keystores[0]["open"].is_null(), "{after}: {view}");
    assert_eq!(keystores[0]["retired"].as_array().map(Vec::len), Some(0), "{after}: {view}");
    assert_eq!(view["unmet"].as_array().map(Vec::len), Some(0), "{after}: {view}");
}

/// Each of the keys that are there was opened, and no other.
fn all_open(view: &Value, kept: usize, after: &str) {
    assert!(kept > 0, "{after}: no keys");
    assert_eq!(view["opened"].as_u64(), Some(kept as u64), "{after}: {view}");
    assert_eq!(view["checked"], view["opened"], "{after}: {view}");
    for list in ["quarantined", "failures"] {
        assert_eq!(view[list].as_array().map(Vec::len), Some(0), "{after}: {view}");
    }
}
