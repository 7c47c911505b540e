//! One keystore over either database, chosen by its address.

use std::path::Path;

use machines::gate::{AbortRequest, OpenRequest};
use protocol::keystore::{Generation, KeystoreRow};
use protocol::order::OrderRef;
use protocol::page::ChunkRange;
use protocol::{Digest, Epoch, GenerationId, InstanceId, KeyId, KeystoreId, UnixMillis, VersionId};
use tls::Authority;

use crate::{
    ChunkRecord, Cut, KeyMeta, KeystoreError, ListQuery, NewChunk, NewKey, PageStream,
    PostgresKeystore, ScanRow, Scanned, SqliteKeystore, StoredBlob,
};

/// A keystore in either database, with the same rules. Clones share what they have open.
#[derive(Clone, Debug)]
pub enum Keystore {
    /// One file.
    Sqlite(SqliteKeystore),
    /// A database server.
    Postgres(PostgresKeystore),
}

impl From<SqliteKeystore> for Keystore {
    fn from(store: SqliteKeystore) -> Self {
        Self::Sqlite(store)
    }
}

impl From<PostgresKeystore> for Keystore {
    fn from(store: PostgresKeystore) -> Self {
        Self::Postgres(store)
    }
}

/// Calls the same method of whichever store it is.
macro_rules! either {
    ($store:ident, $method:ident($($argument:ident),*)) => {
        match $store {
            Self::Sqlite(store) => store.$method($($argument),*).await,
            Self::Postgres(store) => store.$method($($argument),*).await,
        }
    };
}

impl Keystore {
    /// Opens `sqlite:PATH` (the file is made where there is none) or
    /// `postgres://user:password@host:port/database`, and brings the schema up to date. Fails if
    /// the database is away; the caller tries again. With an authority, a server is spoken to over
    /// TLS only, and shows a certificate of it.
    pub async fn open(url: &str, authority: Option<&Authority>) -> Result<Self, KeystoreError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            return SqliteKeystore::open(Path::new(path)).await.map(Self::Sqlite);
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return PostgresKeystore::open(url, authority).await.map(Self::Postgres);
        }
        // The address is not shown: it may hold a password.
        let text = "its address begins with neither sqlite: nor postgres://".to_owned();
        Err(KeystoreError::Database(text))
    }

    /// Makes the keystore's row where there is none.
    pub async fn ensure(
        &self,
        instance: InstanceId,
        keystore: KeystoreId,
    ) -> Result<KeystoreRow, KeystoreError> {
        either!(self, ensure(instance, keystore))
    }

    /// The keystore's row, with the counts as they are; none if the instance is not known.
    pub async fn row(&self, instance: InstanceId) -> Result<Option<KeystoreRow>, KeystoreError> {
        either!(self, row(instance))
    }

    /// The keystore's row and how far an open generation has come. Not every version is counted: how
    /// many there are is as of the last opening.
    pub async fn standing(
        &self,
        instance: InstanceId,
    ) -> Result<Option<KeystoreRow>, KeystoreError> {
        either!(self, standing(instance))
    }

    /// The keystore's row as it was saved last. Nothing is counted: for a writer that asks which
    /// blobs it must supply.
    pub async fn saved_row(
        &self,
        instance: InstanceId,
    ) -> Result<Option<KeystoreRow>, KeystoreError> {
        either!(self, saved_row(instance))
    }

    /// Metadata of keys, newest first.
    pub async fn list(
        &self,
        instance: InstanceId,
        query: ListQuery,
    ) -> Result<Vec<KeyMeta>, KeystoreError> {
        either!(self, list(instance, query))
    }

    /// How many keys a list has on all its pages; it looks at each of them.
    pub async fn count(
        &self,
        instance: InstanceId,
        query: ListQuery,
    ) -> Result<u64, KeystoreError> {
        either!(self, count(instance, query))
    }

    /// Metadata of one key.
    pub async fn key(&self, instance: InstanceId, key: KeyId) -> Result<KeyMeta, KeystoreError> {
        either!(self, key(instance, key))
    }

    /// The blob of a key's version in the active generation, in one snapshot with its pattern.
    pub async fn blob(
        &self,
        instance: InstanceId,
        key: KeyId,
        version: VersionId,
    ) -> Result<StoredBlob, KeystoreError> {
        either!(self, blob(instance, key, version))
    }

    /// Versions that ought to be there, after `after` in the order of their ids, each with its
    /// blob in the active generation, or none if the row is missing.
    pub async fn scan(
        &self,
        instance: InstanceId,
        which: Scanned,
        after: VersionId,
        limit: u32,
    ) -> Result<Vec<ScanRow>, KeystoreError> {
        either!(self, scan(instance, which, after, limit))
    }

    /// Writes keys, all or none: each supplies a blob for every generation open for writing, or
    /// the caller starts again at the unit.
    pub async fn create(
        &self,
        instance: InstanceId,
        keys: Vec<NewKey>,
    ) -> Result<(), KeystoreError> {
        either!(self, create(instance, keys))
    }

    /// Deletes a key: it is refused for use, and its blob is carried through rotations.
    pub async fn delete(
        &self,
        instance: InstanceId,
        key: KeyId,
        now: UnixMillis,
    ) -> Result<(), KeystoreError> {
        either!(self, delete(instance, key, now))
    }

    /// Ends a key for everybody at once. Between the opening of a generation and *flipped* only a
    /// tombstone is written, so that no page in flight brings a blob back and the set stands still.
    pub async fn purge(&self, instance: InstanceId, key: KeyId) -> Result<(), KeystoreError> {
        either!(self, purge(instance, key))
    }

    /// Opens a generation: the gate closes, the set is counted and the table is made, all in one
    /// transaction.
    pub async fn open_generation(
        &self,
        instance: InstanceId,
        request: OpenRequest,
    ) -> Result<KeystoreRow, KeystoreError> {
        either!(self, open_generation(instance, request))
    }

    /// Marks the generation that was filled complete, if its chunks tile the key space and sum to the set.
    pub async fn complete(
        &self,
        instance: InstanceId,
        order: OrderRef,
        filled: GenerationId,
    ) -> Result<KeystoreRow, KeystoreError> {
        either!(self, complete(instance, order, filled))
    }

    /// Moves the active row to the new generation and opens the gate.
    pub async fn flip(
        &self,
        instance: InstanceId,
        order: OrderRef,
        epoch: Epoch,
    ) -> Result<KeystoreRow, KeystoreError> {
        either!(self, flip(instance, order, epoch))
    }

    /// Saves that the flip was read back and the root over the keys that were read, and applies
    /// the tombstones.
    pub async fn mark_flipped(
        &self,
        instance: InstanceId,
        order: OrderRef,
        key_root: Digest,
    ) -> Result<KeystoreRow, KeystoreError> {
        either!(self, mark_flipped(instance, order, key_root))
    }

    /// Ends a rotation before its flip: its table goes, tombstones are applied, the gate opens.
    pub async fn abort(
        &self,
        instance: InstanceId,
        request: AbortRequest,
    ) -> Result<KeystoreRow, KeystoreError> {
        either!(self, abort(instance, request))
    }

    /// Lets go of retired generations. A table that is being read at the moment is dropped as soon
    /// as it can be.
    pub async fn drop_retired(
        &self,
        instance: InstanceId,
        order: OrderRef,
        epoch: Epoch,
    ) -> Result<KeystoreRow, KeystoreError> {
        either!(self, drop_retired(instance, order, epoch))
    }

    /// Every chunk of a generation that is written, and what is not, in ascending order.
    pub async fn chunks(
        &self,
        instance: InstanceId,
        number: u32,
    ) -> Result<Vec<ChunkRecord>, KeystoreError> {
        either!(self, chunks(instance, number))
    }

    /// How many chunks of a generation are written.
    pub async fn chunk_count(
        &self,
        instance: InstanceId,
        number: u32,
    ) -> Result<u64, KeystoreError> {
        either!(self, chunk_count(instance, number))
    }

    /// Reads the rows of each range out of generation `number`, but those born under generation
    /// `not_born`, in the order given, cut into pages; a few are read ahead.
    pub fn pages(
        &self,
        instance: InstanceId,
        number: u32,
        ranges: Vec<ChunkRange>,
        not_born: u32,
        cut: Cut,
    ) -> PageStream {
        match self {
            Self::Sqlite(store) => store.pages(instance, number, ranges, not_born, cut),
            Self::Postgres(store) => store.pages(instance, number, ranges, not_born, cut),
        }
    }

    /// Writes chunks, each once: the record first (written before: done already), then its blobs.
    /// Nothing is written unless this very generation is being built: its number alone does not say so, where
    /// the database was set back behind its opening and has opened another.
    pub async fn write_chunks(
        &self,
        instance: InstanceId,
        generation: &Generation,
        chunks: Vec<NewChunk>,
    ) -> Result<(), KeystoreError> {
        either!(self, write_chunks(instance, generation, chunks))
    }
}
