//! Key requests of gateways: making, importing, handing out, wrapping, unwrapping, checking. A
//! unit decides from what a blob is bound to, never from metadata.

use crypto::blob::{self, BlobHeader, KeyAttributes, OpenedKey, WrapKeys};
use crypto::data::{self, DataError};
use protocol::page::WrappedRow;
use protocol::session::{CreateItem, KeyAnswer, KeyRefusal, KeyRequest, SecretBytes};
use protocol::{InstanceId, Pattern};
use rand::CryptoRng;

use super::keyring::Keyring;
use super::page::{self, binding};

/// Most keys in one request.
pub const MAX_ITEMS: usize = 1_000;
/// Lengths of a root key that is imported.
const ROOT_KEY_LENGTHS: [usize; 3] = [16, 24, 32];

/// Does one request.
pub fn answer<R: CryptoRng>(keyring: &Keyring, request: KeyRequest, rng: &mut R) -> KeyAnswer {
    let done = match (keyring.not_serving, keyring.instance) {
        (Some(reason), _) => Err(KeyRefusal::NotServing(reason.to_owned())),
        (None, None) => Err(KeyRefusal::NotServing("imprint mode".to_owned())),
        (None, Some(instance)) => obey(keyring, instance, request, rng),
    };
    done.unwrap_or_else(KeyAnswer::Refused)
}

fn obey<R: CryptoRng>(
    keyring: &Keyring,
    instance: InstanceId,
    request: KeyRequest,
    rng: &mut R,
) -> Result<KeyAnswer, KeyRefusal> {
    match request {
        KeyRequest::Create { items, patterns } => create(keyring, instance, items, &patterns, rng),
        KeyRequest::Payload { row } => {
            let (key, attributes) = open(keyring, instance, &row)?;
            if attributes.is_root || !attributes.is_extractable {
                return Err(not_allowed("a root key never leaves the crypto units"));
            }
            Ok(KeyAnswer::Payload(SecretBytes::new(key.expose().to_vec())))
        }
        KeyRequest::Wrap { row, plaintext, aad } => {
            let (key, attributes) = open(keyring, instance, &row)?;
            if !attributes.is_root {
                return Err(not_allowed("only a root key wraps data"));
            }
            let generated = plaintext.is_none().then(|| {
                let mut bytes = vec![0; 32];
                rng.fill_bytes(&mut bytes);
                SecretBytes::new(bytes)
            });
            let text = plaintext.as_ref().or(generated.as_ref());
            let text = text.map_or(&[][..], SecretBytes::expose);
            let ciphertext = data::wrap_data(key.expose(), row.key, row.version, &aad, text, rng)
                .map_err(data_refusal)?;
            Ok(KeyAnswer::Wrapped { ciphertext, generated })
        }
        KeyRequest::Unwrap { row, ciphertext, aad } => {
            let (key, attributes) = open(keyring, instance, &row)?;
            if !attributes.is_root {
                return Err(not_allowed("only a root key unwraps data"));
            }
            data::unwrap_data(key.expose(), row.key, row.version, &aad, &ciphertext)
                .map(|text| KeyAnswer::Unwrapped(SecretBytes::new(text.to_vec())))
                .map_err(data_refusal)
        }
        KeyRequest::Check { rows } => {
            let (opened_count, unopened) =
                page::check_rows(keyring, rows.iter().map(WrappedRow::as_ref), std::iter::empty());
            Ok(KeyAnswer::Checked { opened_count, unopened })
        }
    }
}

fn create<R: CryptoRng>(
    keyring: &Keyring,
    instance: InstanceId,
    items: Vec<CreateItem>,
    patterns: &[Pattern],
    rng: &mut R,
) -> Result<KeyAnswer, KeyRefusal> {
    if items.len() > MAX_ITEMS {
        return Err(KeyRefusal::OutOfBounds(format!("at most {MAX_ITEMS} keys in a request")));
    }
    let keys: Vec<&WrapKeys> = patterns
        .iter()
        .map(|pattern| keyring.keys(*pattern).ok_or(KeyRefusal::PatternNotHeld(*pattern)))
        .collect::<Result<_, _>>()?;
    let mut created = Vec::with_capacity(items.len());
    for item in items {
        let attributes = attributes_of(item.attributes)?;
        if attributes.is_imported != item.payload.is_some() {
            return Err(not_allowed("an imported key has a payload, a made one has none"));
        }
        let key = item.payload.unwrap_or_else(|| {
            let mut bytes = vec![0; 32];
            rng.fill_bytes(&mut bytes);
            SecretBytes::new(bytes)
        });
        let length = key.expose().len();
        if attributes.is_root && !ROOT_KEY_LENGTHS.contains(&length) {
            let text = format!("a root key has 16, 24 or 32 bytes, not {length}");
            return Err(KeyRefusal::OutOfBounds(text));
        }
        let row = WrappedRow {
            version: item.version,
            key: item.key,
            attributes: item.attributes,
            blob: Vec::new(),
        };
        let bound = binding(instance, row.as_ref());
        let blobs = keys
            .iter()
            .map(|keys| blob::seal_blob(keys, &bound, key.expose(), rng))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| KeyRefusal::OutOfBounds(error.to_string()))?;
        created.push(blobs);
    }
    Ok(KeyAnswer::Created(created))
}

fn open(
    keyring: &Keyring,
    instance: InstanceId,
    row: &WrappedRow,
) -> Result<(OpenedKey, KeyAttributes), KeyRefusal> {
    let refuse = |error: blob::BlobError| KeyRefusal::BlobDoesNotOpen(error.to_string());
    let header = BlobHeader::parse(&row.blob).map_err(refuse)?;
    let keys = keyring.keys(header.pattern).ok_or(KeyRefusal::PatternNotHeld(header.pattern))?;
    let key = blob::open_blob(keys, &binding(instance, row.as_ref()), &row.blob).map_err(refuse)?;
    // Authentic now: the attributes are part of the blob's additional data.
    Ok((key, attributes_of(row.attributes)?))
}

fn attributes_of(byte: u8) -> Result<KeyAttributes, KeyRefusal> {
    KeyAttributes::from_byte(byte)
        .ok_or_else(|| not_allowed("these attributes of a key contradict each other"))
}

fn not_allowed(text: &str) -> KeyRefusal {
    KeyRefusal::NotAllowed(text.to_owned())
}

fn data_refusal(error: DataError) -> KeyRefusal {
    match error {
        DataError::Malformed | DataError::NotAuthentic => KeyRefusal::Ciphertext,
        DataError::Length => KeyRefusal::OutOfBounds(error.to_string()),
    }
}
