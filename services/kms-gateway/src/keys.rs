//! What clients do with keys. Every write reads the generations that are open, has a unit make a
//! blob for each, and starts again if they have changed when it is written.

use std::sync::Arc;

use crypto::blob::KeyAttributes;
use crypto::random::process_rng;
use keystore::{
    KeyMeta, KeyState, KeystoreError, ListQuery, NewBlob, NewKey, SqliteKeystore, StoredBlob,
};
use machines::gate::{self, GateRefusal};
use machines::unit::keys::MAX_ITEMS;
use protocol::keystore::Generation;
use protocol::page::{ChunkRange, WrappedRow};
use protocol::session::{CreateItem, KeyAnswer, KeyRefusal, KeyRequest, SecretBytes};
use protocol::{InstanceId, KeyId, VersionId};

use crate::units::{Units, UnitsError};

/// How often a write starts again when the generations change under it.
const MAX_TRIES: usize = 5;
/// Versions in one page of a check.
const CHECK_PAGE: u32 = 500;

/// Why a client does not get what it asks for.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The keystore: no such key, its state, the gate.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// A unit refused it.
    #[error(transparent)]
    Refused(#[from] KeyRefusal),
    /// No unit answers, or too many requests wait for one.
    #[error("{0}")]
    Units(String),
    /// A unit answered something else than it was asked.
    #[error("a crypto unit gave an unexpected answer")]
    Unexpected,
    /// Too many keys at once, or none.
    #[error("{0}")]
    OutOfBounds(String),
}

impl From<UnitsError> for GatewayError {
    fn from(error: UnitsError) -> Self {
        Self::Units(error.to_string())
    }
}

impl From<GateRefusal> for GatewayError {
    fn from(refusal: GateRefusal) -> Self {
        Self::Keystore(refusal.into())
    }
}

impl GatewayError {
    /// Whether it is because a master key rotation is running: the caller may try again.
    pub const fn is_gate_closed(&self) -> bool {
        matches!(self, Self::Keystore(KeystoreError::Gate(GateRefusal::GateClosed(_))))
    }
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

/// A version that does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckFailure {
    /// The key.
    pub key: KeyId,
    /// Its name.
    pub name: String,
    /// The version.
    pub version: VersionId,
    /// Why.
    pub reason: String,
}

/// What a check came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Versions that ought to be there.
    pub checked: u64,
    /// Versions that opened.
    pub opened: u64,
    /// The others.
    pub failures: Vec<CheckFailure>,
}

/// The keys of one instance.
#[derive(Clone)]
pub struct Keys {
    instance: InstanceId,
    store: SqliteKeystore,
    units: Arc<Units>,
}

impl Keys {
    pub(crate) const fn new(
        instance: InstanceId,
        store: SqliteKeystore,
        units: Arc<Units>,
    ) -> Self {
        Self { instance, store, units }
    }

    /// Makes root (or standard) keys inside a unit, all or none; at most 1,000 at once.
    pub async fn create(
        &self,
        names: &[String],
        is_extractable: bool,
        actor: &str,
    ) -> Result<Vec<KeyMeta>, GatewayError> {
        let metas = self.metas(names.iter().map(|name| (None, name)), is_extractable, false, actor);
        self.write(metas, |_| None).await
    }

    /// Takes keys in, all or none; at most 1,000 at once.
    pub async fn import(
        &self,
        keys: &[ImportKey],
        actor: &str,
    ) -> Result<Vec<KeyMeta>, GatewayError> {
        let mut metas = Vec::with_capacity(keys.len());
        for key in keys {
            let one = std::iter::once((key.id, &key.name));
            metas.extend(self.metas(one, key.is_extractable, true, actor));
        }
        self.write(metas, |index| {
            keys.get(index).map(|key| SecretBytes::new(key.payload.expose().to_vec()))
        })
        .await
    }

    fn metas<'a>(
        &self,
        keys: impl Iterator<Item = (Option<KeyId>, &'a String)>,
        is_extractable: bool,
        is_imported: bool,
        actor: &str,
    ) -> Vec<KeyMeta> {
        let mut rng = process_rng();
        let now = service::now();
        let attributes = KeyAttributes { is_root: !is_extractable, is_extractable, is_imported };
        keys.map(|(id, name)| KeyMeta {
            key: id.unwrap_or_else(|| KeyId::from_uuid(crypto::random::uuid_v4(&mut rng))),
            version: VersionId::from_uuid(crypto::random::uuid_v4(&mut rng)),
            name: name.clone(),
            attributes: attributes.to_byte(),
            state: KeyState::Active,
            created_at: now,
            created_by: actor.to_owned(),
            deleted_at: None,
        })
        .collect()
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
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_write(&metas, &payload).await {
                Err(error) if tries < MAX_TRIES && is_stale(&error) => {}
                done => return done.map(|()| metas),
            }
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
        Ok(self.store.create(self.instance, keys.collect()).await?)
    }

    async fn targets(&self) -> Result<Vec<Generation>, GatewayError> {
        let row = self.store.row(self.instance).await?.ok_or(KeystoreError::NoInstance)?;
        Ok(gate::write_targets(&row)?)
    }

    async fn asked(&self, request: &KeyRequest) -> Result<KeyAnswer, GatewayError> {
        match self.units.ask(request).await? {
            KeyAnswer::Refused(refusal) => Err(refusal.into()),
            answer => Ok(answer),
        }
    }

    /// Metadata of keys, newest first, and how many there are in all.
    pub async fn list(&self, query: ListQuery) -> Result<(Vec<KeyMeta>, u64), GatewayError> {
        Ok(self.store.list(self.instance, query).await?)
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
        self.targets().await?;
        let mut is_second = false;
        loop {
            let blob = self.store.blob(self.instance, key, meta.version).await?;
            match self.asked(&request(row_of(blob))).await {
                Err(GatewayError::Refused(KeyRefusal::PatternNotHeld(_))) if !is_second => {
                    is_second = true;
                }
                done => return done,
            }
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

    /// Opens every key version in the units. What is missing or does not open is named.
    pub async fn check(&self) -> Result<Checked, GatewayError> {
        let mut checked = Checked::default();
        let mut after = ChunkRange::WHOLE.after;
        loop {
            let found = self.store.scan(self.instance, after, CHECK_PAGE).await?;
            let Some(last) = found.last() else { return Ok(checked) };
            after = last.version;
            checked.checked += found.len() as u64;
            let mut rows = Vec::with_capacity(found.len());
            for row in &found {
                match &row.blob {
                    Some(blob) => rows.push(WrappedRow {
                        version: row.version,
                        key: row.key,
                        attributes: row.attributes,
                        blob: blob.clone(),
                    }),
                    None => checked.failures.push(CheckFailure {
                        key: row.key,
                        name: row.name.clone(),
                        version: row.version,
                        reason: "its wrapped key is missing".to_owned(),
                    }),
                }
            }
            let KeyAnswer::Checked { opened_count, unopened } =
                self.asked(&KeyRequest::Check { rows }).await?
            else {
                return Err(GatewayError::Unexpected);
            };
            checked.opened += opened_count;
            for failure in unopened {
                let name = found.iter().find(|row| row.version == failure.version);
                checked.failures.push(CheckFailure {
                    key: failure.key,
                    name: name.map(|row| row.name.clone()).unwrap_or_default(),
                    version: failure.version,
                    reason: failure.reason,
                });
            }
        }
    }
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
