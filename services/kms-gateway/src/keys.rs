//! What clients do with keys. Every write reads the generations that are open, has a unit make a
//! blob for each, and starts again if they have changed when it is written, or if the database did not
//! say whether it was: under the same ids, so that no key is made twice.

mod check;
mod error;
mod stall;

use std::sync::Arc;
use std::time::Duration;

use crypto::blob::KeyAttributes;
use crypto::random::process_rng;
use keystore::{
    KeyMeta, KeyState, Keystore, KeystoreError, ListQuery, NewBlob, NewKey, StoredBlob,
};
use machines::gate::{self, GateRefusal};
use machines::unit::keys::MAX_ITEMS;
use protocol::keystore::{Generation, KeystoreRow};
use protocol::page::WrappedRow;
use protocol::session::{CreateItem, KeyAnswer, KeyRefusal, KeyRequest, SecretBytes};
use protocol::{InstanceId, KeyId, VersionId};

pub use self::check::{CheckFailure, Checked};
pub use self::error::GatewayError;
use self::stall::Stall;
use crate::units::Units;

/// How often a write starts again when the generations change under it.
const MAX_TRIES: usize = 5;
/// Most bytes that are taken in at once: a unit's answer, with a blob for each of two generations,
/// stays well below the limit of a message.
const MAX_IMPORT_BYTES: usize = 1024 * 1024;

/// A key that a unit makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MakeKey {
    /// Its id; a random one if absent.
    pub id: Option<KeyId>,
    /// Its name.
    pub name: String,
    /// A standard key, whose bytes may be read; else a root key.
    pub is_extractable: bool,
}

/// A key whose bytes come from outside.
#[derive(Debug)]
pub struct ImportKey {
    /// Its id; a random one if absent.
    pub id: Option<KeyId>,
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub payload: SecretBytes,
    /// A standard key, whose bytes may be read again; else a root key.
    pub is_extractable: bool,
}

/// What a wrap answers.
#[derive(Debug)]
pub struct Wrapped {
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
    /// The plaintext, where the unit made it.
    pub generated: Option<SecretBytes>,
}

/// The keys of one instance.
#[derive(Clone)]
pub struct Keys {
    instance: InstanceId,
    store: Keystore,
    units: Arc<Units>,
    stall: Arc<Stall>,
}

impl Keys {
    pub(crate) fn new(
        instance: InstanceId,
        store: Keystore,
        units: Arc<Units>,
        stall_after: Option<Duration>,
    ) -> Self {
        Self { instance, store, units, stall: Arc::new(Stall::new(stall_after)) }
    }

    /// Which instance.
    pub const fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Whether keys can be served: the gateway has a manifest and reaches the keystore. Else why
    /// not, in a sentence.
    pub async fn ready(&self) -> Result<(), String> {
        if self.units.trust().newest().is_none() {
            return Err("the gateway has no manifest: run auto-init".to_owned());
        }
        match self.store.saved_row(self.instance).await {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the keystore cannot be read: {error}")),
        }
    }

    /// Makes root (or standard) keys inside a unit, all or none; at most 1,000 at once.
    pub async fn create(
        &self,
        names: &[String],
        is_extractable: bool,
        actor: &str,
    ) -> Result<Vec<KeyMeta>, GatewayError> {
        let make = |name: &String| MakeKey { id: None, name: name.clone(), is_extractable };
        self.make(&names.iter().map(make).collect::<Vec<_>>(), actor).await
    }

    /// Makes keys inside a unit, all or none; at most 1,000 at once.
    pub async fn make(&self, keys: &[MakeKey], actor: &str) -> Result<Vec<KeyMeta>, GatewayError> {
        let metas = keys.iter().map(|key| {
            let is_extractable = key.is_extractable;
            let attributes =
                KeyAttributes { is_root: !is_extractable, is_extractable, is_imported: false };
            meta(key.id, &key.name, attributes, actor)
        });
        self.write(metas.collect(), |_| None).await
    }

    /// Takes keys in, all or none; at most 1,000 and 1 MiB at once.
    pub async fn import(
        &self,
        keys: &[ImportKey],
        actor: &str,
    ) -> Result<Vec<KeyMeta>, GatewayError> {
        let bytes: usize = keys.iter().map(|key| key.payload.expose().len()).sum();
        if bytes > MAX_IMPORT_BYTES {
            let text = format!("at most {MAX_IMPORT_BYTES} bytes of keys at once, not {bytes}");
            return Err(GatewayError::OutOfBounds(text));
        }
        let metas = keys.iter().map(|key| {
            let is_extractable = key.is_extractable;
            let attributes =
                KeyAttributes { is_root: !is_extractable, is_extractable, is_imported: true };
            meta(key.id, &key.name, attributes, actor)
        });
        self.write(metas.collect(), |index| {
            keys.get(index).map(|key| SecretBytes::new(key.payload.expose().to_vec()))
        })
        .await
    }

    async fn write(
        &self,
        metas: Vec<KeyMeta>,
        payload: impl Fn(usize) -> Option<SecretBytes>,
    ) -> Result<Vec<KeyMeta>, GatewayError> {
        if metas.is_empty() || metas.len() > MAX_ITEMS {
            let text = format!("1 to {MAX_ITEMS} keys at once, not {}", metas.len());
            return Err(GatewayError::OutOfBounds(text));
        }
        let (mut tries, mut is_open) = (0, false);
        loop {
            tries += 1;
            let Err(error) = self.try_write(&metas, &payload).await else { return Ok(metas) };
            // An earlier try may be the one that has written them.
            is_open |= is_unclear(&error);
            if is_open && self.are_written(&metas).await? {
                return Ok(metas);
            }
            let is_once_more = if is_unclear(&error) { tries == 1 } else { is_stale(&error) };
            if tries >= MAX_TRIES || !is_once_more {
                return Err(error);
            }
        }
    }

    /// Whether an earlier try has written these keys, all or none, although the database did not say
    /// so. A version's id is drawn for one write: by it ours are told from others' of the same id.
    async fn are_written(&self, metas: &[KeyMeta]) -> Result<bool, GatewayError> {
        let Some(first) = metas.first() else { return Ok(false) };
        match self.store.key(self.instance, first.key).await {
            Ok(found) => Ok(found.version == first.version),
            Err(KeystoreError::NoKey(_)) => Ok(false),
            Err(error) => Err(unclear(metas, &error)),
        }
    }

    async fn try_write(
        &self,
        metas: &[KeyMeta],
        payload: &impl Fn(usize) -> Option<SecretBytes>,
    ) -> Result<(), GatewayError> {
        let targets = self.targets().await?;
        let items = metas.iter().enumerate().map(|(index, meta)| CreateItem {
            key: meta.key,
            version: meta.version,
            attributes: meta.attributes,
            payload: payload(index),
        });
        let request = KeyRequest::Create {
            items: items.collect(),
            patterns: targets.iter().map(|target| target.pattern).collect(),
        };
        let KeyAnswer::Created(blobs) = self.asked(&request).await? else {
            return Err(GatewayError::Unexpected);
        };
        let is_complete =
            blobs.len() == metas.len() && blobs.iter().all(|of_one| of_one.len() == targets.len());
        if !is_complete {
            return Err(GatewayError::Unexpected);
        }
        let keys = metas.iter().zip(blobs).map(|(meta, of_one)| NewKey {
            meta: meta.clone(),
            blobs: targets
                .iter()
                .zip(of_one)
                .map(|(target, blob)| NewBlob { generation: target.id, blob })
                .collect(),
        });
        match self.store.create(self.instance, keys.collect()).await {
            Err(error @ KeystoreError::Unclear(_)) => Err(unclear(metas, &error)),
            done => Ok(done?),
        }
    }

    async fn row(&self) -> Result<KeystoreRow, GatewayError> {
        Ok(self.store.saved_row(self.instance).await?.ok_or(KeystoreError::NoInstance)?)
    }

    async fn targets(&self) -> Result<Vec<Generation>, GatewayError> {
        Ok(gate::write_targets(&self.row().await?)?)
    }

    /// Whether keys may be used: a rotation that stands still keeps nobody from it.
    async fn may_use(&self) -> Result<(), GatewayError> {
        let row = self.row().await?;
        match gate::may_use(&row) {
            Err(GateRefusal::GateClosed(_))
                if self.stall.is_on(&self.store, self.instance, &row).await? =>
            {
                Ok(())
            }
            judged => Ok(judged?),
        }
    }

    async fn asked(&self, request: &KeyRequest) -> Result<KeyAnswer, GatewayError> {
        match self.units.ask(request).await? {
            KeyAnswer::Refused(refusal) => Err(refusal.into()),
            answer => Ok(answer),
        }
    }

    /// Metadata of keys, newest first.
    pub async fn list(&self, query: ListQuery) -> Result<Vec<KeyMeta>, GatewayError> {
        Ok(self.store.list(self.instance, query).await?)
    }

    /// How many keys a list has on all its pages.
    pub async fn count(&self, query: ListQuery) -> Result<u64, GatewayError> {
        Ok(self.store.count(self.instance, query).await?)
    }

    /// Metadata of one key.
    pub async fn metadata(&self, key: KeyId) -> Result<KeyMeta, GatewayError> {
        Ok(self.store.key(self.instance, key).await?)
    }

    /// Bytes of a standard key.
    pub async fn payload(&self, key: KeyId) -> Result<SecretBytes, GatewayError> {
        let request = |row| KeyRequest::Payload { row };
        match self.used(key, "read", request).await? {
            KeyAnswer::Payload(bytes) => Ok(bytes),
            _ => Err(GatewayError::Unexpected),
        }
    }

    /// Wraps data under a root key; a unit makes 32 bytes where none are given.
    pub async fn wrap(
        &self,
        key: KeyId,
        plaintext: Option<&[u8]>,
        aad: &[Vec<u8>],
    ) -> Result<Wrapped, GatewayError> {
        let request = |row| KeyRequest::Wrap {
            row,
            plaintext: plaintext.map(|text| SecretBytes::new(text.to_vec())),
            aad: aad.to_vec(),
        };
        match self.used(key, "wrap", request).await? {
            KeyAnswer::Wrapped { ciphertext, generated } => Ok(Wrapped { ciphertext, generated }),
            _ => Err(GatewayError::Unexpected),
        }
    }

    /// Unwraps data.
    pub async fn unwrap(
        &self,
        key: KeyId,
        ciphertext: &[u8],
        aad: &[Vec<u8>],
    ) -> Result<SecretBytes, GatewayError> {
        let request =
            |row| KeyRequest::Unwrap { row, ciphertext: ciphertext.to_vec(), aad: aad.to_vec() };
        match self.used(key, "unwrap", request).await? {
            KeyAnswer::Unwrapped(text) => Ok(text),
            _ => Err(GatewayError::Unexpected),
        }
    }

    /// Uses a key's blob. If no unit opens it any more, the rotation has flipped since it was read:
    /// it is read again, once.
    async fn used(
        &self,
        key: KeyId,
        verb: &'static str,
        request: impl Fn(WrappedRow) -> KeyRequest,
    ) -> Result<KeyAnswer, GatewayError> {
        let meta = self.store.key(self.instance, key).await?;
        if meta.state != KeyState::Active {
            let state = meta.state.word();
            return Err(KeystoreError::State { key, state, refused: verb }.into());
        }
        self.may_use().await?;
        let mut is_second = false;
        loop {
            let blob = self.blob(key, meta.version).await?;
            match self.asked(&request(row_of(blob))).await {
                Err(GatewayError::Refused(KeyRefusal::PatternNotHeld(_))) if !is_second => {
                    is_second = true;
                }
                done => return done,
            }
        }
    }

    /// A key's blob. A key that is there and has none is not said to be absent.
    async fn blob(&self, key: KeyId, version: VersionId) -> Result<StoredBlob, GatewayError> {
        match self.store.blob(self.instance, key, version).await {
            Err(KeystoreError::NoKey(_)) => {
                // Purged a moment ago, else lost.
                self.store.key(self.instance, key).await?;
                Err(GatewayError::Lost(key))
            }
            found => Ok(found?),
        }
    }

    /// Deletes a key: refused for use, restorable.
    pub async fn delete(&self, key: KeyId) -> Result<(), GatewayError> {
        Ok(self.store.delete(self.instance, key, service::now()).await?)
    }

    /// Ends a key for everybody at once.
    pub async fn purge(&self, key: KeyId) -> Result<(), GatewayError> {
        Ok(self.store.purge(self.instance, key).await?)
    }
}

/// Metadata of a key that is to be written now.
fn meta(id: Option<KeyId>, name: &str, attributes: KeyAttributes, actor: &str) -> KeyMeta {
    let mut rng = process_rng();
    KeyMeta {
        key: id.unwrap_or_else(|| KeyId::from_uuid(crypto::random::uuid_v4(&mut rng))),
        version: VersionId::from_uuid(crypto::random::uuid_v4(&mut rng)),
        name: name.to_owned(),
        attributes: attributes.to_byte(),
        state: KeyState::Active,
        created_at: service::now(),
        created_by: actor.to_owned(),
        deleted_at: None,
    }
}

/// The database failed while keys were written: a commit whose answer is lost may have taken place.
fn unclear(metas: &[KeyMeta], error: &KeystoreError) -> GatewayError {
    tracing::warn!(%error, "whether keys were written is not known yet");
    GatewayError::Unclear { keys: metas.iter().map(|meta| meta.key).collect() }
}

const fn is_unclear(error: &GatewayError) -> bool {
    matches!(error, GatewayError::Unclear { .. })
}

fn is_stale(error: &GatewayError) -> bool {
    matches!(
        error,
        GatewayError::Keystore(KeystoreError::Gate(GateRefusal::GenerationsChanged))
            | GatewayError::Refused(KeyRefusal::PatternNotHeld(_))
    )
}

fn row_of(blob: StoredBlob) -> WrappedRow {
    WrappedRow {
        version: blob.version,
        key: blob.key,
        attributes: blob.attributes,
        blob: blob.blob,
    }
}
