//! What only a server with many processes must do: queue, start together, drop beside readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keystore::{Keystore, KeystoreError, NewKey};
use machines::gate::GateRefusal;
use protocol::page::ChunkRange;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::fixture::{Fixture, Page, SOON, postgres_url, raw, rotation, until, written};

/// Number of the instance's advisory lock, spelled out once more: it is shared by all versions of
/// the program that run beside each other.
pub fn queue_of(fixture: &Fixture) -> i64 {
    let bytes = fixture.instance.uuid().as_u128();
    ((bytes >> 64) as u64 ^ bytes as u64) as i64
}

/// How many sessions hold, or wait for, the instance's advisory lock in this way.
async fn locks(fixture: &Fixture, how: &str) -> i64 {
    let queue = queue_of(fixture) as u64;
    let sql = format!(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {how}
         AND classid::bigint = {} AND objid::bigint = {}",
        queue >> 32,
        queue & 0xffff_ffff
    );
    fixture.number(&sql).await
}

/// How many sessions wait for it.
pub async fn waiting(fixture: &Fixture) -> i64 {
    locks(fixture, "NOT granted").await
}

/// Whether somebody holds the instance's advisory lock alone, or waits to.
async fn asks_alone(fixture: &Fixture) -> bool {
    locks(fixture, "mode = 'ExclusiveLock'").await > 0
}

/// A writer that holds what every writer holds, and stays in its transaction.
pub async fn writer_in_flight(fixture: &Fixture) -> tokio_postgres::Client {
    let writer = raw(&fixture.url).await;
    let sql = format!(
        "BEGIN; SELECT pg_advisory_xact_lock_shared({});
         SELECT row FROM keystores WHERE instance = {} FOR SHARE",
        queue_of(fixture),
        fixture.me()
    );
    writer.batch_execute(&sql).await.unwrap();
    writer
}

/// Writes a key's blob into generation 1 by hand.
fn insertion(fixture: &Fixture, key: &NewKey) -> String {
    format!(
        "INSERT INTO {} (version, key, attributes, born, blob) VALUES ('{}', '{}', 5, 0, '\\x{}')",
        fixture.table(1),
        key.meta.version,
        key.meta.key,
        key.blobs[0].blob.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    )
}

pub async fn in_time<T>(task: JoinHandle<T>) -> T {
    tokio::time::timeout(SOON, task).await.expect("in time").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_waits_for_a_writer_in_flight() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let fixture = Arc::new(fixture.initialised().await);
    let writer = writer_in_flight(&fixture).await;
    let key = fixture.new_key("in flight", &fixture.targets().await);
    let opener = fixture.clone();
    let opening = tokio::spawn(async move { opener.open(&rotation(2)).await });
    until("the opening waits", async || waiting(&fixture).await == 1).await;
    // What the writer writes is in the set.
    writer.batch_execute(&insertion(&fixture, &key)).await.unwrap();
    assert!(!opening.is_finished());
    writer.batch_execute("COMMIT").await.unwrap();
    assert_eq!(in_time(opening).await.unwrap().open.unwrap().set_count, 1);
}

/// Waits until `session` holds up exactly one other.
async fn until_it_blocks_one(fixture: &Fixture, session: &tokio_postgres::Client) {
    let pid: i32 = session.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let blocked =
        format!("SELECT count(*) FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))");
    until("one waits for the row", async || fixture.number(&blocked).await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_lock_alone_stops_opening_flip_and_abort() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let fixture = Arc::new(fixture.initialised().await);
    let me = fixture.me();
    for step in ["open", "flip", "abort"] {
        // A writer that is in no queue, as a session that has lost its way would be.
        let writer = raw(&fixture.url).await;
        let sql = format!("BEGIN; SELECT row FROM keystores WHERE instance = {me} FOR SHARE");
        writer.batch_execute(&sql).await.unwrap();
        let mover = fixture.clone();
        let moving = tokio::spawn(async move {
            match step {
                "open" => mover.open(&rotation(2)).await,
                "flip" => mover.flip(&rotation(2)).await,
                _ => mover.abort(&rotation(3)).await,
            }
        });
        until_it_blocks_one(&fixture, &writer).await;
        if step == "open" {
            let key = fixture.new_key("in no queue", &fixture.targets().await);
            writer.batch_execute(&insertion(&fixture, &key)).await.unwrap();
        }
        assert!(!moving.is_finished());
        writer.batch_execute("COMMIT").await.unwrap();
        let row = in_time(moving).await.unwrap();
        match step {
            "open" => {
                // Counted after the wait.
                assert_eq!(row.open.unwrap().set_count, 1);
                fixture.fill().await;
                fixture.complete(&rotation(2)).await.unwrap();
            }
            "flip" => drop(fixture.mark_flipped(&rotation(2)).await.unwrap()),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_key_space_is_written_by_one_at_a_time() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let fixture = Arc::new(fixture.initialised().await);
    fixture.create_many(3).await;
    fixture.open(&rotation(2)).await.unwrap();
    let pages = fixture.pages().await;
    let end = ChunkRange::WHOLE.upto;
    // Another reencryptor, which cuts otherwise: all is one chunk. It has not committed yet.
    let other = raw(&fixture.url).await;
    let (me, queue) = (fixture.me(), queue_of(&fixture));
    let sql = format!(
        "BEGIN; SELECT pg_advisory_xact_lock({}, {});
         INSERT INTO chunks (instance, generation, after, upto, done, new_digest, receipt)
         VALUES ({me}, 2, {}, {}, 3, '', '')",
        (queue >> 32) as i32,
        queue as i32,
        fixture.literal(ChunkRange::WHOLE.after.uuid()),
        fixture.literal(end.uuid())
    );
    other.batch_execute(&sql).await.unwrap();
    // A last chunk without versions has none in common with it.
    let range = ChunkRange { after: pages[0].rows[2].version, upto: end };
    let page = Page { range, written: written(0), rows: Vec::new(), quarantined: Vec::new() };
    let writer = fixture.clone();
    let writing = tokio::spawn(async move { writer.write(2, vec![page]).await });
    until_it_blocks_one(&fixture, &other).await;
    other.batch_execute("COMMIT").await.unwrap();
    let refused = in_time(writing).await;
    assert!(matches!(refused, Err(KeystoreError::Overlap)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_lock_alone_stops_a_writer() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let fixture = Arc::new(fixture.initialised().await);
    let row_text = async || {
        let sql = format!("SELECT row FROM keystores WHERE instance = {}", fixture.me());
        raw(&fixture.url).await.query_one(&sql, &[]).await.unwrap().get::<_, String>(0)
    };
    let update = format!("UPDATE keystores SET row = $1 WHERE instance = {}", fixture.me());
    let (before, next) = (row_text().await, rotation(2));
    let key = fixture.new_key("in no queue", &fixture.targets().await);
    fixture.open(&next).await.unwrap();
    let opened = row_text().await;
    // Back to before the opening, which then happens once more by hand, in no queue.
    let mover = raw(&fixture.url).await;
    mover.execute(&update, &[&before]).await.unwrap();
    mover.batch_execute("BEGIN").await.unwrap();
    mover.execute(&update, &[&opened]).await.unwrap();
    let writer = fixture.clone();
    let writing =
        tokio::spawn(async move { writer.store.create(writer.instance, vec![key]).await });
    until_it_blocks_one(&fixture, &mover).await;
    mover.batch_execute("COMMIT").await.unwrap();
    match in_time(writing).await {
        Err(KeystoreError::Gate(refusal)) => {
            assert_eq!(refusal, GateRefusal::GateClosed(next.order.rotation));
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_stalls_across_an_opening_is_refused() {
    let Some(fixture) = Fixture::postgres().await else { return };
    for next in [rotation(2), rotation(2).online()] {
        let fixture = Fixture::with_url(&fixture.url).await.initialised().await;
        let fixture = Arc::new(fixture);
        let ahead = writer_in_flight(&fixture).await;
        let opener = fixture.clone();
        let opening = tokio::spawn(async move { opener.open(&next).await });
        until("the opening waits", async || waiting(&fixture).await == 1).await;
        // Its blobs are made; it comes to the row only after the opening.
        let key = fixture.new_key("stalled", &fixture.targets().await);
        let stalled = fixture.clone();
        let writing =
            tokio::spawn(async move { stalled.store.create(stalled.instance, vec![key]).await });
        until("the writer waits behind it", async || waiting(&fixture).await == 2).await;
        ahead.batch_execute("COMMIT").await.unwrap();
        assert_eq!(in_time(opening).await.unwrap().open.unwrap().set_count, 0);
        let expected = match next.mode {
            protocol::keystore::GateMode::Online => GateRefusal::GenerationsChanged,
            protocol::keystore::GateMode::Strict => GateRefusal::GateClosed(next.order.rotation),
        };
        match in_time(writing).await {
            Err(KeystoreError::Gate(refusal)) => assert_eq!(refusal, expected),
            other => panic!("not refused: {other:?}"),
        }
        assert_eq!(fixture.row().await.version_count, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_is_not_starved_by_a_stream_of_writers() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let fixture = Arc::new(fixture.initialised().await);
    let opener = Keystore::open(&fixture.url, None).await.unwrap();
    let written = Arc::new(AtomicU64::new(0));
    let targets = fixture.targets().await;
    let writers: Vec<_> = (0..16)
        .map(|_| {
            let (fixture, targets, written) = (fixture.clone(), targets.clone(), written.clone());
            tokio::spawn(async move {
                loop {
                    let key = fixture.new_key("stream", &targets);
                    match fixture.store.create(fixture.instance, vec![key]).await {
                        Ok(()) => written.fetch_add(1, Ordering::Relaxed),
                        Err(refusal) => return refusal,
                    };
                }
            })
        })
        .collect();
    until("the stream flows", async || written.load(Ordering::Relaxed) > 64).await;
    let instance = fixture.instance;
    let opening =
        tokio::spawn(async move { opener.open_generation(instance, rotation(2).request()).await });
    // Until it has connected and asked for the lock, it is in nobody's way.
    let has_asked = async || opening.is_finished() || asks_alone(&fixture).await;
    until("the opening asks for the lock", has_asked).await;
    let before = (written.load(Ordering::Relaxed), Instant::now());
    in_time(opening).await.unwrap();
    let (during, took) = (written.load(Ordering::Relaxed) - before.0, before.1.elapsed());
    // Each writer may finish what it holds, and one that was queued before the opening.
    assert!(during <= 64, "{during} writes passed the opening");
    assert!(took < Duration::from_secs(5), "{took:?}");
    for writer in writers {
        let refusal = in_time(writer).await;
        assert!(matches!(refusal, KeystoreError::Gate(GateRefusal::GateClosed(_))), "{refusal}");
    }
    let set_count = fixture.row().await.open.unwrap().set_count;
    assert_eq!(set_count, written.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_being_read_is_dropped_later() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let fixture = fixture.initialised().await;
    fixture.create_many(3).await;
    let next = rotation(2);
    fixture.build(&next).await;
    fixture.flip(&next).await.unwrap();
    fixture.mark_flipped(&next).await.unwrap();
    // As a backup does.
    let backup = raw(&fixture.url).await;
    let sql = format!("BEGIN; SELECT count(*) FROM {}", fixture.table(1));
    backup.batch_execute(&sql).await.unwrap();
    let row = tokio::time::timeout(SOON, fixture.drop_retired(&next)).await.unwrap().unwrap();
    assert!(row.retired.is_empty());
    assert!(fixture.has_table(1).await);
    backup.batch_execute("COMMIT").await.unwrap();
    until("the table is dropped", async || !fixture.has_table(1).await).await;
    fixture.assert_all_open(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_left_over_by_a_crash_is_dropped_at_the_next_start() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let mut fixture = fixture.initialised().await;
    fixture.create_many(3).await;
    // The crash came between the row's transaction and the drop.
    let list = async |number: u32| {
        let sql = format!(
            "INSERT INTO tables_to_drop (instance, generation) VALUES ({}, {number})",
            fixture.me()
        );
        fixture.execute(&sql).await
    };
    fixture.execute(&format!("CREATE TABLE {} (version UUID)", fixture.table(7))).await;
    list(7).await;
    // And one that the row names is never dropped, whoever listed it.
    list(1).await;
    let listed = format!("SELECT count(*) FROM tables_to_drop WHERE instance = {}", fixture.me());
    fixture.reopen().await;
    until("the table is dropped", async || !fixture.has_table(7).await).await;
    until("the list is empty", async || fixture.number(&listed).await == 0).await;
    fixture.assert_all_open(3).await;
}

/// An address of the test database with a schema of its own.
async fn url_with_own_schema(url: &str) -> String {
    let schema = format!("own_{}", Uuid::new_v4().simple());
    raw(url).await.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options=-csearch_path%3D{schema}")
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_may_start_at_once() {
    let Some(url) = postgres_url() else { return };
    let url = url_with_own_schema(&url).await;
    let starting: Vec<_> = (0..8)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { Keystore::open(&url, None).await })
        })
        .collect();
    for start in starting {
        in_time(start).await.unwrap();
    }
    let fixture = Fixture::with_url(&url).await.initialised().await;
    fixture.create("first").await.unwrap();
    fixture.assert_all_open(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_a_newer_program_is_refused() {
    let Some(url) = postgres_url() else { return };
    let url = url_with_own_schema(&url).await;
    drop(Keystore::open(&url, None).await.unwrap());
    let change = "UPDATE keystore_schema SET version = 999";
    assert_eq!(raw(&url).await.execute(change, &[]).await.unwrap(), 1);
    let refused = Keystore::open(&url, None).await.unwrap_err().to_string();
    assert!(refused.contains("schema 999 is newer than this program knows"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_named_without_the_password() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("postgres://keyhelm:s3cret@{address}/keys");
    let refused = Keystore::open(&url, None).await.unwrap_err().to_string();
    assert!(refused.contains(&address.to_string()), "{refused}");
    assert!(refused.contains("refused"), "{refused}");
    assert!(!refused.contains("s3cret"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_the_server_has_ended_are_made_again() {
    let Some(url) = postgres_url() else { return };
    let name = format!("ended-{}", Uuid::new_v4().simple());
    let separator = if url.contains('?') { '&' } else { '?' };
    let fixture = Fixture::with_url(&format!("{url}{separator}application_name={name}")).await;
    let fixture = fixture.initialised().await;
    fixture.create("before").await.unwrap();
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE application_name = '{name}' AND pid <> pg_backend_pid()"
    );
    assert!(fixture.number(&end).await > 0);
    // A call that meets the end may fail; the database is not away, so that a later one does not.
    until("it is served again", async || fixture.store.row(fixture.instance).await.is_ok()).await;
    fixture.create("after").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_says_is_passed_on() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let wrong = fixture.url.replacen("://", "://nobody-", 1);
    let refused = Keystore::open(&wrong, None).await.unwrap_err().to_string();
    assert!(refused.contains("nobody-") && refused.contains("SQLSTATE 28"), "{refused}");
    let missing = fixture.read(77, ChunkRange::WHOLE, 0).await;
    let missing = missing.unwrap_err().to_string();
    assert!(missing.contains(&fixture.table(77)) && missing.contains("42P01"), "{missing}");
}
