//! Dropping tables that no generation has any more. The row lets go of a table first and lists it in
//! `tables_to_drop`, in one transaction; it is dropped afterwards, with a lock time-out, so that a
//! long reader (a backup) delays the drop and neither the rotation nor other readers. What is left
//! is tried again: here, at the next opening, abort or drop, and at every start.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use deadpool_postgres::Transaction;
use protocol::InstanceId;
use protocol::keystore::{Generation, KeystoreRow};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use super::connect::Connections;
use super::{PostgresKeystore, commit, database, has_code, parsed_row, table};
use crate::KeystoreError;

/// First and longest pause before what is left is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Lists a generation's table for dropping and forgets its chunks.
pub(super) async fn let_go(
    tx: &Transaction<'_>,
    instance: InstanceId,
    generation: &Generation,
) -> Result<(), KeystoreError> {
    let number = i64::from(generation.number);
    for sql in [
        "DELETE FROM chunks WHERE instance = $1 AND generation = $2",
        "INSERT INTO tables_to_drop (instance, generation) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    ] {
        tx.execute_typed(sql, &[(&instance.uuid(), Type::UUID), (&number, Type::INT8)])
            .await
            .map_err(database)?;
    }
    Ok(())
}

impl PostgresKeystore {
    /// Drops the listed tables that can be dropped now; the others go later, by themselves.
    pub(super) async fn drop_left_over(&self) {
        match self.drop_listed().await {
            Ok(true) => {}
            Ok(false) => self.drop_left_over_later(),
            Err(error) => {
                tracing::warn!(%error, "tables of old generations are dropped later");
                self.drop_left_over_later();
            }
        }
    }

    /// Drops the listed tables in the background, with pauses, until none is left or the last
    /// clone of this keystore is gone.
    pub(super) fn drop_left_over_later(&self) {
        if !self.inner.is_dropping.swap(true, Ordering::AcqRel) {
            tokio::spawn(drop_until_none_is_left(Arc::downgrade(&self.inner)));
        }
    }

    /// Whether every listed table is gone.
    async fn drop_listed(&self) -> Result<bool, KeystoreError> {
        let listed = self
            .client()
            .await?
            .query_typed("SELECT instance, generation FROM tables_to_drop ORDER BY 1, 2", &[])
            .await
            .map_err(database)?;
        let mut is_all_gone = true;
        for row in listed {
            let instance = InstanceId::from_uuid(row.try_get(0).map_err(database)?);
            let number: i64 = row.try_get(1).map_err(database)?;
            is_all_gone &= self.drop_one(instance, number as u32).await?;
        }
        Ok(is_all_gone)
    }

    /// Drops one listed table; false if a reader holds it.
    async fn drop_one(&self, instance: InstanceId, number: u32) -> Result<bool, KeystoreError> {
        let mut client = self.client().await?;
        let tx = client.transaction().await.map_err(database)?;
        tx.batch_execute("SET LOCAL lock_timeout = '200ms'").await.map_err(database)?;
        let dropped = drop_in(&tx, instance, number).await;
        match dropped {
            Ok(()) => commit(tx, fail_points::Transaction::KeystoreDropTable).await.map(|()| true),
            Err(error) if has_code(&error, &SqlState::LOCK_NOT_AVAILABLE) => {
                tx.rollback().await.map_err(database)?;
                Ok(false)
            }
            Err(error) => Err(database(error)),
        }
    }
}

async fn drop_in(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<(), tokio_postgres::Error> {
    let listed: &[(&(dyn ToSql + Sync), Type)] =
        &[(&instance.uuid(), Type::UUID), (&i64::from(number), Type::INT8)];
    // Held, so that of several processes one drops it.
    let sql = "DELETE FROM tables_to_drop WHERE instance = $1 AND generation = $2";
    if tx.execute_typed(sql, listed).await? == 0 {
        return Ok(());
    }
    let sql = "SELECT row FROM keystores WHERE instance = $1";
    let rows = tx.query_typed(sql, &[(&instance.uuid(), Type::UUID)]).await?;
    let is_in_use = match rows.first() {
        None => false,
        // A row that cannot be read may name it.
        Some(row) => parsed_row(row.try_get(0)?).map_or(true, |row| names(&row, number)),
    };
    if is_in_use {
        let table = table(instance, number);
        tracing::error!(table, "a table in use was listed for dropping: it stays");
        return Ok(());
    }
    tx.batch_execute(&format!("DROP TABLE IF EXISTS {}", table(instance, number))).await
}

fn names(row: &KeystoreRow, number: u32) -> bool {
    row.active.iter().chain(&row.open).chain(&row.retired).any(|found| found.number == number)
}

async fn drop_until_none_is_left(connections: Weak<Connections>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(inner) = connections.upgrade() else { return };
        // Whoever lists a table from here on starts a task of its own: this one may not see it.
        inner.is_dropping.store(false, Ordering::Release);
        let store = PostgresKeystore { inner };
        match store.drop_listed().await {
            Ok(true) => return,
            Ok(false) => {
                tracing::info!("a table of an old generation is being read: it goes later")
            }
            Err(error) => tracing::warn!(%error, "tables of old generations are dropped later"),
        }
        if store.inner.is_dropping.swap(true, Ordering::AcqRel) {
            return;
        }
        // The task must not keep the connections alive while it waits.
        drop(store);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
