//! Opening a store: its schema is brought up to date once, one of a newer program is refused, and
//! no message repeats a password.

use ledger::{Records, RecordsError};
use machines::rotation::record::Verdict;
use serde_json::json;

use crate::setup::{NOW, TestStore, audit_log, instance, on_each_store, record};

on_each_store!(a_newer_schema_is_refused, many_may_open_a_new_store_at_once);

async fn a_newer_schema_is_refused(store: TestStore) {
    drop(store.open().await);
    let newer =
        store.either("PRAGMA user_version = 99", "UPDATE coordinator_schema SET version = 99");
    store.sql(newer).await.unwrap();
    let refused = Records::connect(&store.url(), None).await.unwrap_err().to_string();
    assert!(refused.contains("schema 99 is newer") && refused.contains("upgrade"), "{refused}");
    let tables = store.either(
        "SELECT COUNT(*) FROM sqlite_master WHERE name LIKE 'coordinator_%' AND type = 'table'",
        "SELECT COUNT(*) FROM pg_tables WHERE tablename LIKE 'coordinator_%'
         AND schemaname = current_schema()",
    );
    assert!(store.count(tables).await >= 7, "it was left as it was");
}

async fn many_may_open_a_new_store_at_once(store: TestStore) {
    let opened: Vec<_> = (0..6)
        .map(|_| {
            let url = store.url();
            tokio::spawn(async move { Records::connect(&url, None).await })
        })
        .collect();
    for task in opened {
        let records = task.await.unwrap().unwrap();
        assert_eq!(records.list(instance(1), 1).await.unwrap(), []);
    }
}

/// Files of the first schema: without a lease, and without the head of the audit log.
#[tokio::test]
async fn a_file_of_the_first_schema_goes_on() {
    let store = TestStore::sqlite();
    let records = store.open().await;
    let id = instance(1);
    records.save(id, &record(id, 1)).await.unwrap();
    for action in ["one", "two"] {
        records.audit(id, NOW, "ann".to_owned(), action.to_owned(), json!({})).await.unwrap();
    }
    drop(records);
    store
        .sql(
            "DROP TABLE coordinator_lease; DROP TABLE coordinator_audit_heads;
             DROP INDEX coordinator_by_rotation; DROP INDEX coordinator_requests_by_age;
             DROP TABLE coordinator_receipts;",
        )
        .await
        .unwrap();
    store.sql(WITHOUT_SERIALS_SQLITE).await.unwrap();
    store.sql("PRAGMA user_version = 1").await.unwrap();

    let records = store.open().await;
    assert_eq!(records.unfinished(id).await.unwrap(), Some(record(id, 1)));
    let third = records.audit(id, NOW, "ann".to_owned(), "three".to_owned(), json!({})).await;
    assert_eq!(third.unwrap().seq, 3);
    assert_eq!(audit_log(&records, id, 0).await.unwrap().len(), 3);
    records.acquire(crate::setup::process(1), 1_000).await.unwrap();
}

#[tokio::test]
async fn a_url_that_is_not_understood_is_refused_without_repeating_it() {
    let urls = [
        "",
        "coordinator.db",
        "sqlite:",
        "mysql://ann:s3cret@host/db",
        "postgres://ann:p@host/db?s3cret=1",
        "postgres://ann:s3cret@host:port/db",
    ];
    for url in urls {
        let refused = Records::connect(url, None).await.unwrap_err();
        let text = format!("{refused} {refused:?}");
        assert!(matches!(refused, RecordsError::Url(_)), "{url}: {text}");
        assert!(text.contains("sqlite:PATH") && !text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_without_a_password() {
    // A port that was free a moment ago; nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://ann:s3cret@127.0.0.1:{port}/db");
    let refused = Records::connect(&url, None).await.unwrap_err();
    let text = format!("{refused} {refused:?}");
    assert!(matches!(refused, RecordsError::Database(_)), "{text}");
    assert!(text.contains("refused") && !text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_sqlite_url_is_the_file_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    for url in [format!("sqlite:{}", path.display()), format!("sqlite://{}", path.display())] {
        Records::connect(&url, None).await.unwrap();
        assert!(path.exists());
    }
    Records::open(&path).await.unwrap();
}

/// What a database refuses is told in its own words, and a handle shows nothing of its URL.
#[tokio::test]
async fn postgres_tells_its_own_words() {
    let Some(store) = TestStore::postgres().await else { return };
    let records = store.open().await;
    let url = store.url();
    let password = url.split([':', '@']).nth(2).unwrap();
    assert!(!format!("{records:?}").contains(password));
    store.sql("DROP TABLE coordinator_documents").await.unwrap();
    let refused = records.instances().await.unwrap_err().to_string();
    assert!(
        refused.contains("relation \"coordinator_documents\" does not exist (42P01)"),
        "{refused}"
    );
    drop(records);
    store.remove().await;
}

/// Databases of the schema before receipts.
#[tokio::test]
async fn a_database_of_the_schema_before_receipts_goes_on() {
    for store in [Some(TestStore::sqlite()), TestStore::postgres().await].into_iter().flatten() {
        let id = instance(1);
        let records = store.open().await;
        records.save(id, &record(id, 1)).await.unwrap();
        drop(records);
        let earlier = store.either(
            "DROP TABLE coordinator_receipts; PRAGMA user_version = 2;",
            "DROP TABLE coordinator_receipts; UPDATE coordinator_schema SET version = 1;",
        );
        store.sql(earlier).await.unwrap();
        store.sql(without_serials(&store)).await.unwrap();
        let records = store.open().await;
        assert_eq!(records.unfinished(id).await.unwrap(), Some(record(id, 1)));
        assert_eq!(records.last_receipt(id).await.unwrap(), None);
        drop(records);
        store.remove().await;
    }
}

/// As the schema was before verdicts had the serial of their manifest.
const WITHOUT_SERIALS_SQLITE: &str = "DROP TRIGGER coordinator_verdict_stands;
    ALTER TABLE coordinator_rotations DROP COLUMN verdict_under;
    CREATE TRIGGER coordinator_verdict_stands BEFORE UPDATE ON coordinator_rotations
        WHEN OLD.is_decided > NEW.is_decided OR OLD.is_aborted > NEW.is_aborted
        BEGIN SELECT RAISE(ABORT, 'a verdict is never taken back'); END;";
const WITHOUT_SERIALS_POSTGRES: &str =
    "DROP TRIGGER coordinator_verdict_stands ON coordinator_rotations;
    ALTER TABLE coordinator_rotations DROP COLUMN verdict_under;
    CREATE TRIGGER coordinator_verdict_stands BEFORE UPDATE ON coordinator_rotations
        FOR EACH ROW WHEN (OLD.is_decided AND NOT NEW.is_decided
            OR OLD.is_aborted AND NOT NEW.is_aborted)
        EXECUTE FUNCTION coordinator_verdict_stands();";

fn without_serials(store: &TestStore) -> &'static str {
    store.either(WITHOUT_SERIALS_SQLITE, WITHOUT_SERIALS_POSTGRES)
}

/// Databases of the schema before verdicts had the serial of their manifest.
#[tokio::test]
async fn a_database_of_the_schema_before_turned_verdicts_goes_on() {
    for store in [Some(TestStore::sqlite()), TestStore::postgres().await].into_iter().flatten() {
        let id = instance(1);
        let records = store.open().await;
        let mut decided = record(id, 1);
        decided.verdict = Verdict::Decided;
        records.save(id, &decided).await.unwrap();
        drop(records);
        store.sql(without_serials(&store)).await.unwrap();
        let earlier =
            store.either("PRAGMA user_version = 3", "UPDATE coordinator_schema SET version = 2");
        store.sql(earlier).await.unwrap();
        let records = store.open().await;
        assert_eq!(records.unfinished(id).await.unwrap(), Some(decided.clone()));
        let mut turned = decided;
        turned.verdict = Verdict::Aborted { because: "one side was removed".to_owned() };
        assert_eq!(records.save(id, &turned).await, Err(RecordsError::VerdictStands));
        turned.verdict_under = Some(2);
        records.save(id, &turned).await.unwrap();
        drop(records);
        store.remove().await;
    }
}
