//! Connections: what an address may say, and the settings that every session of ours has.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
    TimeoutType,
};
use tls::Authority;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Config, NoTls};

use super::{database, with_causes};
use crate::KeystoreError;

/// Most connections of one process.
const CONNECTIONS: usize = 16;
/// So many of them may wait for an instance's queue: the others are left for those who only read.
const WRITERS: usize = CONNECTIONS * 3 / 4;
/// How long a connection may take to be made, and to become free.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);
/// After so long without a sign of life the other side counts as gone.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// A setting that is stronger than `on` (`remote_apply`) stays, and so does a shorter time. A process
/// that stalls in a transaction, or whose machine is gone, must not hold up a rotation: the server ends
/// its session. One that stalls in the midst of a COPY is not idle to the server: whoever waits for it
/// gives up, so that no queue grows behind him, and is asked again.
const SESSION: &str = "
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write');
    SELECT set_config(name, most, false) FROM (VALUES
            ('idle_in_transaction_session_timeout', '30s'), ('lock_timeout', '15s')) ours (name, most)
        WHERE current_setting(name)::interval NOT BETWEEN '1 ms' AND most::interval;
    SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
";

/// A pool of connections to one database.
pub(super) struct Connections {
    pool: Pool,
    writers: Arc<Semaphore>,
    /// Where to, for a person: never a password.
    server: String,
    /// Whether a task is at work that drops tables which are left over.
    pub(super) is_dropping: AtomicBool,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connections({})", self.server)
    }
}

impl Connections {
    /// Reads the address. Nothing is connected yet.
    pub(super) fn new(url: &str, authority: Option<&Authority>) -> Result<Self, KeystoreError> {
        let mut config = parse(url)?;
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(GONE_AFTER);
        }
        config.keepalives_idle(config.get_keepalives_idle().min(GONE_AFTER));
        if config.get_application_name().is_none() {
            config.application_name("keyhelm");
        }
        let server = named(&config);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let settle = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
            Box::pin(async move { client.batch_execute(SESSION).await.map_err(HookError::Backend) })
        });
        let manager = match authority {
            Some(authority) => {
                config.ssl_mode(SslMode::Require);
                Manager::from_config(config, authority.postgres(), recycling)
            }
            None => Manager::from_config(config, NoTls, recycling),
        };
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CONNECT_TIMEOUT))
            .wait_timeout(Some(WAIT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .post_create(settle)
            .build()
            .map_err(|error| KeystoreError::Database(error.to_string()))?;
        let writers = Arc::new(Semaphore::new(WRITERS));
        Ok(Self { pool, writers, server, is_dropping: AtomicBool::new(false) })
    }

    /// A connection out of the pool.
    pub(super) async fn client(&self) -> Result<Object, KeystoreError> {
        self.pool.get().await.map_err(|error| self.away(error))
    }

    /// A connection for a write that waits for an instance's queue, once there is a place for it.
    pub(super) async fn writer(&self) -> Result<Writer, KeystoreError> {
        let place = tokio::time::timeout(WAIT_TIMEOUT, self.writers.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(KeystoreError::Busy) };
        Ok(Writer { client: self.client().await?, _place: place })
    }

    fn away(&self, error: PoolError) -> KeystoreError {
        let reason = match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                match database(error) {
                    KeystoreError::Database(text) => text,
                    other => other.to_string(),
                }
            }
            PoolError::Timeout(TimeoutType::Wait) => {
                format!("all {CONNECTIONS} connections are at work")
            }
            PoolError::Timeout(_) => "it does not answer".to_owned(),
            other => with_causes(&other),
        };
        KeystoreError::Database(format!("PostgreSQL at {} cannot be used: {reason}", self.server))
    }
}

/// A connection that may wait for an instance's queue, and its place among those that may.
pub(super) struct Writer {
    client: Object,
    _place: OwnedSemaphorePermit,
}

impl Deref for Writer {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.client
    }
}

impl DerefMut for Writer {
    fn deref_mut(&mut self) -> &mut Object {
        &mut self.client
    }
}

/// The address's parts. Errors show nothing of what stands before the last `@`.
fn parse(url: &str) -> Result<Config, KeystoreError> {
    let refused = |reason: String| {
        Err(KeystoreError::Database(format!(
            "its address is not understood ({reason}): \
             postgres://user:password@host:port/database, special characters percent-encoded"
        )))
    };
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let (has_user, public) = match rest.rsplit_once('@') {
        Some((_, public)) => (true, public),
        None => (false, rest),
    };
    if let Err(error) = Config::from_str(&format!("postgres://{public}")) {
        return match has_user {
            true => refused(with_causes(&error)),
            false => refused("it has no @".to_owned()),
        };
    }
    let Ok(config) = Config::from_str(url) else {
        return refused("in its user name or password".to_owned());
    };
    let is_torn = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
    match config.get_hosts().iter().any(is_torn) {
        true => refused("it has more than one @".to_owned()),
        false => Ok(config),
    }
}

/// Where an address leads, for a person.
fn named(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(index)),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    });
    let hosts: Vec<_> = hosts.collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("{}/{database}", hosts.join(","))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let connections =
            Connections::new("postgres://me:s3cret@db.example:6000/keys", None).unwrap();
        assert_eq!(format!("{connections:?}"), "Connections(db.example:6000/keys)");
    }

    #[test]
    fn an_address_that_is_not_understood_shows_no_password() {
        for url in [
            "postgres://me:s3cret@host:port/keys",
            "postgres://me:s3cret@db.example/keys?s3=cret",
            "postgres://me:s3cr%et@db.example/keys",
            "postgres://me:x@s3cret@db.example/keys",
            "postgres://me:s3cret",
            "postgres://me:s3cret?a=b",
            "s3cret",
        ] {
            let error = match Connections::new(url, None) {
                Err(error) => error.to_string(),
                Ok(connections) => format!("{connections:?}"),
            };
            assert!(!error.contains("s3cr"), "{error}");
        }
    }

    /// The test database, ready for one more option; none, said aloud, where there is none.
    fn postgres_url() -> Option<String> {
        let Ok(url) = std::env::var("KEYHELM_TEST_POSTGRES_URL") else {
            let required = std::env::var("KEYHELM_REQUIRE").unwrap_or_default();
            assert!(!required.contains("postgres"), "KEYHELM_TEST_POSTGRES_URL is required");
            println!("NOT RUN: PostgreSQL (KEYHELM_TEST_POSTGRES_URL unset)");
            return None;
        };
        let separator = if url.contains('?') { '&' } else { '?' };
        Some(format!("{url}{separator}"))
    }

    #[tokio::test]
    async fn commits_are_synchronous_whatever_the_role_is_set_to() {
        let Some(url) = postgres_url() else { return };
        for (set, kept) in [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")] {
            let url = format!("{url}options=-csynchronous_commit%3D{set}");
            let client = Connections::new(&url, None).unwrap().client().await.unwrap();
            let row = client.query_one("SHOW synchronous_commit", &[]).await.unwrap();
            assert_eq!(row.get::<_, &str>(0), kept, "{set}");
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_long_unless_the_role_waits_shorter() {
        let Some(url) = postgres_url() else { return };
        for name in ["lock_timeout", "idle_in_transaction_session_timeout"] {
            let ours = if name == "lock_timeout" { "15s" } else { "30s" };
            for (set, kept) in [("0", ours), ("1h", ours), ("700ms", "700ms")] {
                let url = format!("{url}options=-c{name}%3D{set}");
                let client = Connections::new(&url, None).unwrap().client().await.unwrap();
                let row = client.query_one(&format!("SHOW {name}"), &[]).await.unwrap();
                assert_eq!(row.get::<_, &str>(0), kept, "{name} {set}");
            }
        }
    }

    #[test]
    fn an_unknown_option_is_named() {
        let error =
            Connections::new("postgres://me:s3cret@h/keys?sslrootcert=x", None).unwrap_err();
        assert!(error.to_string().contains("sslrootcert"), "{error}");
    }
}
