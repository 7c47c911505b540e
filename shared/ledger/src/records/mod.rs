//! The coordinator's store: rotation records, documents, the hash-chained audit log, the requests
//! that were answered, and the lease that says which coordinator may write. In SQLite for one
//! process, in PostgreSQL for coordinators that stand by for each other: the same tables, the same
//! constraints.

/// The same call on whichever store it is.
macro_rules! on {
    ($records:ident.$method:ident($($argument:expr),*)) => {
        match &$records.store {
            Store::Sqlite(store) => store.$method($($argument),*).await,
            Store::Postgres(store) => store.$method($($argument),*).await,
        }
    };
}

mod audit;
mod batch;
mod error;
mod lease;
mod postgres;
mod receipts;
mod rows;
mod sqlite;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use machines::rotation::record::Record;
use protocol::api::AuditView;
use protocol::manifest::SignedManifest;
use protocol::order::SignedStandingOrder;
use protocol::{InstanceId, ProcessId, RotationId, UnixMillis};
use tls::Authority;

pub use self::audit::AuditQuery;
pub use self::batch::{Batch, Saved};
pub use self::error::RecordsError;
pub use self::lease::{Acquired, MAX_LEASE_MS};

use self::lease::Lease;
use self::postgres::PostgresRecords;
use self::rows::{malformed, read, read_record, request_key};
use self::sqlite::SqliteRecords;

/// Most answers to requests that are remembered.
pub const MAX_REQUESTS: u32 = 10_000;

const MANIFESTS: &str = "manifests";
const STANDING_ORDER: &str = "standing-order";

/// The coordinator's store. Clones share one lease.
///
/// Every write checks the lease in its own transaction. A handle that has acquired one writes
/// until another coordinator has taken it, and is then refused with [`RecordsError::Fenced`] until
/// it acquires the lease anew; a handle that never has writes only while nobody holds one.
#[derive(Clone, Debug)]
pub struct Records {
    store: Store,
    held: Arc<Mutex<Option<Lease>>>,
}

#[derive(Clone, Debug)]
enum Store {
    Sqlite(SqliteRecords),
    Postgres(PostgresRecords),
}

impl Records {
    /// Opens what the URL names: `sqlite:PATH` or `postgres://...`. With an authority, a server is
    /// spoken to over TLS only, and shows a certificate of it.
    pub async fn connect(url: &str, authority: Option<&Authority>) -> Result<Self, RecordsError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.is_empty() {
                true => Err(RecordsError::Url("it has no path")),
                false => Self::open(Path::new(path)).await,
            };
        }
        match url.starts_with("postgres://") || url.starts_with("postgresql://") {
            true => Ok(Self::new(Store::Postgres(PostgresRecords::connect(url, authority).await?))),
            false => Err(RecordsError::Url("it is neither sqlite: nor postgres://")),
        }
    }

    /// Opens the SQLite file, or makes it.
    pub async fn open(path: &Path) -> Result<Self, RecordsError> {
        Ok(Self::new(Store::Sqlite(SqliteRecords::open(path).await?)))
    }

    fn new(store: Store) -> Self {
        Self { store, held: Arc::new(Mutex::new(None)) }
    }

    /// Takes the lease for `ttl_ms` (at most [`MAX_LEASE_MS`]) if nobody else holds it, always
    /// under a new number. What this handle wrote under an older number is refused from then on.
    ///
    /// A number that is one more than the last that this handle held says that nobody else has
    /// written meanwhile; after any other, what was read before must be read again.
    pub async fn acquire(&self, who: ProcessId, ttl_ms: u64) -> Result<Acquired, RecordsError> {
        let ttl_ms = ttl_ms.min(MAX_LEASE_MS);
        let acquired = on!(self.acquire(who, ttl_ms))?;
        if let Acquired::Ours(number) = acquired {
            let lease = Lease { number, holder: who, ttl_ms };
            *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease);
        }
        Ok(acquired)
    }

    /// Makes the lease last for its whole time again, even one that is over if nobody else has
    /// taken it.
    pub async fn renew(&self) -> Result<(), RecordsError> {
        let held = self.held();
        on!(self.renew(held))
    }

    /// Gives the lease up, so that another coordinator need not wait for its end. Nothing can be
    /// written through this handle then until it acquires one.
    pub async fn release(&self) -> Result<(), RecordsError> {
        match self.held() {
            Some(held) => on!(self.release(held)),
            None => Ok(()),
        }
    }

    fn held(&self) -> Option<Lease> {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves a rotation's record.
    pub async fn save(&self, instance: InstanceId, record: &Record) -> Result<(), RecordsError> {
        let mut batch = Batch::default();
        batch.record(instance, record, None)?;
        self.save_all(batch).await.map(drop)
    }

    /// Records of an instance, newest first, at most `limit`.
    pub async fn list(
        &self,
        instance: InstanceId,
        limit: u32,
    ) -> Result<Vec<Record>, RecordsError> {
        let found = on!(self.list(instance, limit))?;
        found.iter().map(|bytes| read_record(bytes)).collect()
    }

    /// The unfinished rotation of an instance.
    pub async fn unfinished(&self, instance: InstanceId) -> Result<Option<Record>, RecordsError> {
        let found = on!(self.unfinished(instance))?;
        found.map(|bytes| read_record(&bytes)).transpose()
    }

    /// One rotation of any instance.
    pub async fn rotation(&self, rotation: RotationId) -> Result<Option<Record>, RecordsError> {
        let found = on!(self.rotation(rotation))?;
        found.map(|bytes| read_record(&bytes)).transpose()
    }

    /// Saves what administrators have signed: the chain of manifests and the standing order. A
    /// standing order that was saved before stays where none is given.
    pub async fn save_documents(
        &self,
        instance: InstanceId,
        name: String,
        chain: Vec<SignedManifest>,
        standing: Option<SignedStandingOrder>,
    ) -> Result<(), RecordsError> {
        let mut batch = Batch::default();
        batch.documents(instance, name, &chain, standing.as_ref());
        self.save_all(batch).await.map(drop)
    }

    /// The chain of manifests, oldest first; empty if there is none.
    pub async fn manifests(
        &self,
        instance: InstanceId,
    ) -> Result<Vec<SignedManifest>, RecordsError> {
        let bytes = on!(self.document(instance, MANIFESTS))?;
        bytes.map_or(Ok(Vec::new()), |bytes| read(&bytes, "manifest"))
    }

    /// The standing order.
    pub async fn standing(
        &self,
        instance: InstanceId,
    ) -> Result<Option<SignedStandingOrder>, RecordsError> {
        let bytes = on!(self.document(instance, STANDING_ORDER))?;
        bytes.map(|bytes| read(&bytes, "standing order")).transpose()
    }

    /// Instances that have a document, with their names.
    pub async fn instances(&self) -> Result<Vec<(InstanceId, String)>, RecordsError> {
        on!(self.instances())
    }

    /// Appends to the audit log. Each entry's hash covers the one before it.
    pub async fn audit(
        &self,
        instance: InstanceId,
        at: UnixMillis,
        actor: String,
        action: String,
        details: serde_json::Value,
    ) -> Result<AuditView, RecordsError> {
        let mut batch = Batch::default();
        batch.entry(instance, at, actor, action, &details);
        let mut saved = self.save_all(batch).await?;
        saved.entries.pop().ok_or_else(|| RecordsError::Database("no entry was written".to_owned()))
    }

    /// Entries of the audit log, which is verified from its beginning to its end.
    pub async fn audit_entries(
        &self,
        instance: InstanceId,
        query: AuditQuery,
    ) -> Result<Vec<AuditView>, RecordsError> {
        on!(self.audit_entries(instance, query))
    }

    /// The answer that a request was given before.
    pub async fn answered(&self, request: String) -> Result<Option<String>, RecordsError> {
        on!(self.answered(request_key(request)))
    }

    /// Remembers the first answer to a request; the oldest are forgotten beyond [`MAX_REQUESTS`].
    pub async fn remember(
        &self,
        request: String,
        at: UnixMillis,
        answer: String,
    ) -> Result<(), RecordsError> {
        let mut batch = Batch::default();
        batch.answer(request, at, answer);
        self.save_all(batch).await.map(drop)
    }
}
