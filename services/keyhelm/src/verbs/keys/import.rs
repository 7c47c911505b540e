//! Files of keys to import, pure: every line is judged before anything is sent. What is said of a
//! bad line never holds a part of its payload.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::KeyId;
use protocol::key_api::BatchKey;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// Longest key, as crypto units take it.
const MAX_KEY_BYTES: usize = crypto::blob::MAX_KEY_BYTES;
/// Lengths of a root key.
const ROOT_KEY_BYTES: [usize; 3] = [16, 24, 32];
/// Names, as Key Protect takes them.
const NAME_CHARS: std::ops::RangeInclusive<usize> = 2..=90;
/// All fields of a line.
const FIELDS: [&str; 4] = ["name", "payload", "extractable", "id"];

/// A line that is not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub number: usize,
    /// Why, without its payload.
    pub reason: String,
}

/// What a file holds.
#[derive(Default)]
pub struct ImportFile {
    /// Keys that can be imported, in order.
    pub keys: Vec<BatchKey>,
    /// The other lines.
    pub bad: Vec<BadLine>,
}

/// Reads JSON lines; empty ones are no lines.
pub fn parse(text: &str) -> ImportFile {
    let mut file = ImportFile::default();
    let mut ids: BTreeMap<KeyId, usize> = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() {
            continue;
        }
        let judged = key_of(line).and_then(|key| match key.id.map(|id| (id, ids.get(&id))) {
            Some((id, Some(first))) => Err(format!("its id {id} is that of line {first} too")),
            _ => Ok(key),
        });
        match judged {
            Ok(key) => {
                if let Some(id) = key.id {
                    ids.insert(id, number);
                }
                file.keys.push(key);
            }
            Err(reason) => file.bad.push(BadLine { number, reason }),
        }
    }
    file
}

/// The library's own errors quote what they found, so none of them is passed on.
fn key_of(line: &str) -> Result<BatchKey, String> {
    let value: Value = serde_json::from_str(line)
        .map_err(|error| format!("it is no JSON (at column {})", error.column()))?;
    let Value::Object(mut fields) = value else { return Err("it is no JSON object".to_owned()) };
    let payload = payload_of(&mut fields);
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let shown: String = unknown.chars().take(30).collect();
        return Err(format!("it has an unknown field {shown:?}; known: {}", FIELDS.join(", ")));
    }
    let name = name_of(&fields)?;
    let extractable = match fields.get("extractable") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(extractable)) => *extractable,
        Some(_) => return Err("extractable is neither true nor false".to_owned()),
    };
    let id = match fields.get("id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id.parse().map_err(|_| "its id is no UUID".to_owned())?),
        Some(_) => return Err("its id is no text".to_owned()),
    };
    let mut payload = payload?;
    check_payload(&payload, extractable)?;
    Ok(BatchKey { name, extractable, payload: Some(std::mem::take(&mut payload)), id })
}

fn payload_of(fields: &mut Map<String, Value>) -> Result<Zeroizing<String>, String> {
    match fields.remove("payload") {
        Some(Value::String(payload)) => Ok(Zeroizing::new(payload)),
        None | Some(Value::Null) => Err("it has no payload".to_owned()),
        Some(_) => Err("its payload is no text".to_owned()),
    }
}

fn name_of(fields: &Map<String, Value>) -> Result<String, String> {
    let Some(Value::String(name)) = fields.get("name") else {
        return Err("it has no name".to_owned());
    };
    match NAME_CHARS.contains(&name.chars().count()) && !name.contains(char::is_control) {
        true => Ok(name.clone()),
        false => {
            let (least, most) = (NAME_CHARS.start(), NAME_CHARS.end());
            Err(format!("its name has not {least} to {most} characters"))
        }
    }
}

fn check_payload(payload: &str, extractable: bool) -> Result<(), String> {
    let bytes = STANDARD
        .decode(payload)
        .map(Zeroizing::new)
        .map_err(|_| "its payload is no base64".to_owned())?;
    let length = bytes.len();
    match extractable {
        false if !ROOT_KEY_BYTES.contains(&length) => {
            Err(format!("a root key has 16, 24 or 32 bytes, this one {length}"))
        }
        true if length == 0 || length > MAX_KEY_BYTES => {
            Err(format!("a standard key has 1 to {MAX_KEY_BYTES} bytes, this one {length}"))
        }
        _ => Ok(()),
    }
}
