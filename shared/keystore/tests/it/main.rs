//! The rules of a keystore, each run on SQLite and on a real PostgreSQL. Every test has an instance
//! of its own, so that all of them may run at once in one database.
#![allow(clippy::unwrap_used, missing_docs)]

mod fixture;

mod chunks;
mod flip;
mod gate;
mod keys;
mod postgres;
mod purge;
mod quarantine;
mod sqlite;
mod stalled;
mod writers;

/// Makes a test of each rule for each store. A rule is an async function of a fixture.
macro_rules! on_both_stores {
    ($($rule:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $rule() {
                super::$rule($crate::fixture::Fixture::sqlite().await).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $rule() {
                if let Some(fixture) = $crate::fixture::Fixture::postgres().await {
                    super::$rule(fixture).await;
                }
            })+
        }
    };
}
use on_both_stores;
