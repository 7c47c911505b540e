//! One page of keys: as many as the gateway takes at once, all of which it writes, or none.

use std::iter::Peekable;

use crypto::random::{process_rng, uuid_v4};
use protocol::KeyId;
use protocol::key_api::{BatchKey, BatchRequest, MAX_BATCH};

use crate::client::CallError;
use crate::client::gateway::Gateway;

/// Most bytes of keys in a page, as the gateway takes them.
const MAX_BYTES: usize = 1024 * 1024;

/// Keys that are written together.
pub struct Page {
    /// What the gateway is asked for; each key has an id.
    pub request: BatchRequest,
    /// An id that was drawn for this page: nobody else has it.
    drawn: Option<KeyId>,
}

impl Page {
    /// Takes the next keys: at most 1,000, and 1 MiB of their bytes; at least one.
    pub fn next(from: &mut Peekable<impl Iterator<Item = BatchKey>>) -> Self {
        let (mut rng, mut drawn, mut bytes) = (process_rng(), None, 0);
        let mut keys: Vec<BatchKey> = Vec::new();
        while keys.len() < MAX_BATCH
            && let Some(mut key) = from.next_if(|key| {
                bytes += payload_bytes(key);
                keys.is_empty() || bytes <= MAX_BYTES
            })
        {
            if key.id.is_none() {
                let id = KeyId::from_uuid(uuid_v4(&mut rng));
                (key.id, drawn) = (Some(id), Some(id));
            }
            keys.push(key);
        }
        Self { request: BatchRequest { keys }, drawn }
    }

    /// Whether the gateway has it. An id that was drawn for it says so by itself; where a file has given
    /// all ids, every one of them must be there.
    pub async fn is_there(&self, gateway: &Gateway) -> Result<bool, CallError> {
        let given = self.request.keys.iter().filter_map(|key| key.id);
        let ids: Vec<_> = match self.drawn {
            Some(id) => vec![id],
            None => given.collect(),
        };
        for id in ids {
            match gateway.show(&id.to_string(), false).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// How many bytes its payload decodes to.
fn payload_bytes(key: &BatchKey) -> usize {
    let text = key.payload.as_deref().unwrap_or_default();
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}
