//! A new, empty store for each test, and a way into it that goes past the code under test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ledger::{AuditQuery, Records, RecordsError};
use machines::rotation::record::Record;
use protocol::api::AuditView;
use protocol::codec;
use protocol::ids::OrderNumber;
use protocol::keystore::GateMode;
use protocol::order::{Authority, Order, Purpose, SignedOrder};
use protocol::{Epoch, InstanceId, ProcessId, RotationId, UnixMillis};
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// Runs each test over both stores. Over PostgreSQL it is said aloud where there is none, and an
/// error where `KEYHELM_REQUIRE` names it.
macro_rules! on_each_store {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::setup::TestStore::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                if let Some(store) = $crate::setup::TestStore::postgres().await {
                    let used = store.clone();
                    super::$test(store).await;
                    used.remove().await;
                }
            })*
        }
    };
}
pub(crate) use on_each_store;

/// All of the audit log after an entry.
pub async fn audit_log(
    records: &Records,
    instance: InstanceId,
    after: u64,
) -> Result<Vec<AuditView>, RecordsError> {
    records.audit_entries(instance, AuditQuery { after, ..AuditQuery::default() }).await
}

/// Where a test's store is.
#[derive(Clone)]
pub enum TestStore {
    Sqlite(Arc<TempDir>),
    Postgres { url: String, schema: String },
}

static SCHEMAS: AtomicU32 = AtomicU32::new(0);

impl TestStore {
    pub fn sqlite() -> Self {
        Self::Sqlite(Arc::new(tempfile::tempdir().unwrap()))
    }

    /// A schema of its own in the database of `KEYHELM_TEST_POSTGRES_URL`.
    pub async fn postgres() -> Option<Self> {
        let Ok(url) = std::env::var("KEYHELM_TEST_POSTGRES_URL") else {
            let required = std::env::var("KEYHELM_REQUIRE").unwrap_or_default();
            assert!(!required.contains("postgres"), "KEYHELM_TEST_POSTGRES_URL is required");
            println!("NOT RUN: PostgreSQL (KEYHELM_TEST_POSTGRES_URL unset)");
            return None;
        };
        let number = SCHEMAS.fetch_add(1, Ordering::Relaxed);
        let schema = format!("ledger_{}_{number}", std::process::id());
        run_postgres(&url, &format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await.unwrap();
        run_postgres(&url, &format!("CREATE SCHEMA {schema}")).await.unwrap();
        let joint = if url.contains('?') { '&' } else { '?' };
        let options = format!("options=-csearch_path%3D{schema}&application_name={schema}");
        Some(Self::Postgres { url: format!("{url}{joint}{options}"), schema })
    }

    /// Removes what the test has made; one that fails leaves it to be looked at.
    pub async fn remove(self) {
        if let Self::Postgres { url, schema } = self {
            run_postgres(&url, &format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
        }
    }

    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite:{}", folder.path().join("r.db").display()),
            Self::Postgres { url, .. } => url.clone(),
        }
    }

    /// Opens the store as a process would.
    pub async fn open(&self) -> Records {
        Records::connect(&self.url(), None).await.unwrap()
    }

    /// Runs SQL past the code under test; the database's refusal as text.
    pub async fn sql(&self, sql: &str) -> Result<(), String> {
        match self {
            Self::Sqlite(folder) => rusqlite::Connection::open(folder.path().join("r.db"))
                .and_then(|connection| connection.execute_batch(sql))
                .map_err(|error| error.to_string()),
            Self::Postgres { url, .. } => run_postgres(url, sql).await,
        }
    }

    /// Gives the one of two texts that this store's SQL has.
    pub fn either<'a>(&self, sqlite: &'a str, postgres: &'a str) -> &'a str {
        match self {
            Self::Sqlite(_) => sqlite,
            Self::Postgres { .. } => postgres,
        }
    }

    /// A number out of the store.
    pub async fn count(&self, sql: &str) -> i64 {
        match self {
            Self::Sqlite(folder) => rusqlite::Connection::open(folder.path().join("r.db"))
                .and_then(|connection| connection.query_row(sql, [], |row| row.get(0)))
                .unwrap(),
            Self::Postgres { url, .. } => {
                let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
                tokio::spawn(connection);
                client.query_one(sql, &[]).await.unwrap().get(0)
            }
        }
    }

    /// Ends whatever lease there is, as time would.
    pub async fn let_lease_expire(&self) {
        let past = self.either("1", "'epoch'");
        self.sql(&format!("UPDATE coordinator_lease SET expires_at = {past}")).await.unwrap();
    }
}

async fn run_postgres(url: &str, sql: &str) -> Result<(), String> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(sql).await.map_err(|error| match error.as_db_error() {
        Some(refusal) => refusal.message().to_owned(),
        None => error.to_string(),
    })
}

/// Asks until the answer is there.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "no answer in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub const NOW: UnixMillis = UnixMillis(1_750_000_000_000);

pub fn instance(number: u8) -> InstanceId {
    InstanceId::from_bytes([number; 16])
}

pub fn process(number: u8) -> ProcessId {
    ProcessId::from_bytes([number; 16])
}

pub fn rotation(number: u8) -> RotationId {
    RotationId::from_bytes([number; 16])
}

/// The record of a rotation that has just begun.
pub fn record(instance: InstanceId, number: u8) -> Record {
    let order = Order {
        instance,
        rotation: rotation(number),
        number: OrderNumber { manifest_serial: 1, number: u64::from(number) },
        purpose: Purpose::Rotate,
        from: None,
        generator: process(1),
        joining: Vec::new(),
        quarantined: Vec::new(),
        mode: GateMode::Strict,
        hold_after_commit_s: 0,
        hold_before_clear_s: 0,
        issued_at: NOW,
        expires_at: NOW.plus_ms(60_000),
    };
    let signed =
        SignedOrder { bytes: codec::encode(&order), authority: Authority::Quorum(Vec::new()) };
    let epoch = Epoch { manifest_serial: 1, number: 1 };
    Record::new(signed, epoch, "an operator".to_owned(), NOW)
}
