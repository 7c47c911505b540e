//! Connections to PostgreSQL and the settings that every one of ours has.

use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime,
};
use tls::Authority;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Config, NoTls};

use super::database;
use crate::RecordsError;

/// A coordinator writes one thing at a time; the others are for people who read.
const MAX_CONNECTIONS: usize = 4;

/// How long a connection may take to come about, or to become free.
const TIMEOUT: Duration = Duration::from_secs(10);

/// For how long a server may leave bytes unanswered before its connection is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// A coordinator that stands still, or whose network is gone, in the midst of a write holds the
/// row of the lease: the server ends its transaction, so that another can take the lease. And what
/// was committed is on the disk: a verdict is published as soon as it is saved. A setting that is stronger
/// than `on` (`remote_apply`) stays.
const SETTINGS: &str = "
    SET idle_in_transaction_session_timeout = '10s';
    SET lock_timeout = '15s';
    SET statement_timeout = '60s';
    SELECT set_config('synchronous_commit', 'on', FALSE)
        WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write');
";

/// A pool for a URL; nothing is connected yet.
pub(super) fn open(url: &str, authority: Option<&Authority>) -> Result<Pool, RecordsError> {
    // The parser's own message repeats parts of the URL, which may be parts of the password.
    let mut config: Config =
        url.parse().map_err(|_| RecordsError::Url("it is no URL of PostgreSQL"))?;
    // Of several servers the one that takes writes: another would refuse the lease.
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(TIMEOUT);
    }
    // A server that has vanished is noticed now, and not after the system's two hours.
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE).keepalives_idle(SILENCE);
    }
    if config.get_application_name().is_none() {
        config.application_name("keyhelm-coordinator");
    }
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let prepare = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move { client.batch_execute(SETTINGS).await.map_err(HookError::Backend) })
    });
    let manager = match authority {
        Some(authority) => {
            config.ssl_mode(SslMode::Require);
            Manager::from_config(config, authority.postgres(), recycling)
        }
        None => Manager::from_config(config, NoTls, recycling),
    };
    Pool::builder(manager)
        .max_size(MAX_CONNECTIONS)
        .runtime(Runtime::Tokio1)
        .create_timeout(Some(TIMEOUT))
        .wait_timeout(Some(TIMEOUT))
        .post_create(prepare)
        .build()
        .map_err(|error| RecordsError::Database(error.to_string()))
}

/// Why there is no connection.
pub(super) fn error(error: PoolError) -> RecordsError {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            database(error)
        }
        PoolError::Timeout(_) => {
            let text = format!("no connection within {} s", TIMEOUT.as_secs());
            RecordsError::Database(text)
        }
        error => RecordsError::Database(error.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The test database with one more option; none, said aloud, where there is none.
    fn postgres_url(option: &str) -> Option<String> {
        let Ok(url) = std::env::var("KEYHELM_TEST_POSTGRES_URL") else {
            let required = std::env::var("KEYHELM_REQUIRE").unwrap_or_default();
            assert!(!required.contains("postgres"), "KEYHELM_TEST_POSTGRES_URL is required");
            println!("NOT RUN: PostgreSQL (KEYHELM_TEST_POSTGRES_URL unset)");
            return None;
        };
        let separator = if url.contains('?') { '&' } else { '?' };
        Some(format!("{url}{separator}options=-c{option}"))
    }

    #[tokio::test]
    async fn commits_are_synchronous_whatever_the_role_is_set_to() {
        for (set, kept) in [
            ("off", "on"),
            ("local", "on"),
            ("remote_write", "on"),
            ("on", "on"),
            ("remote_apply", "remote_apply"),
        ] {
            let Some(url) = postgres_url(&format!("synchronous_commit%3D{set}")) else { return };
            let client = open(&url, None).unwrap().get().await.unwrap();
            let row = client.query_one("SHOW synchronous_commit", &[]).await.unwrap();
            assert_eq!(row.get::<_, &str>(0), kept, "{set}");
        }
    }

    #[tokio::test]
    async fn a_server_that_takes_no_writes_is_passed_over() {
        let Some(url) = postgres_url("default_transaction_read_only%3Don") else { return };
        let refused = open(&url, None).unwrap().get().await.map(|_| ()).map_err(error);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("read-only") || refused.contains("not allow writes"), "{refused}");
    }
}
