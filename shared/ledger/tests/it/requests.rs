//! Requests that were answered: the first answer stays, and memory of them has an end.

use ledger::records::MAX_REQUESTS;

use crate::setup::{NOW, TestStore, on_each_store};

on_each_store!(the_first_answer_stays, the_oldest_are_forgotten, any_id_is_remembered);

async fn the_first_answer_stays(store: TestStore) {
    let records = store.open().await;
    assert_eq!(records.answered("r".to_owned()).await.unwrap(), None);
    records.remember("r".to_owned(), NOW, "first".to_owned()).await.unwrap();
    records.remember("r".to_owned(), NOW.plus_ms(5), "second".to_owned()).await.unwrap();
    assert_eq!(records.answered("r".to_owned()).await.unwrap().as_deref(), Some("first"));
    assert_eq!(records.answered("other".to_owned()).await.unwrap(), None);
}

async fn the_oldest_are_forgotten(store: TestStore) {
    let records = store.open().await;
    let fill = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MAX_REQUESTS})
         INSERT INTO coordinator_requests (id, at, answer)
         SELECT 'r-' || i, 1000000 + i, 'taken' FROM n"
    );
    store.sql(&fill).await.unwrap();
    records.remember("newest".to_owned(), NOW, "taken".to_owned()).await.unwrap();
    let count = store.count("SELECT COUNT(*) FROM coordinator_requests").await;
    assert_eq!(count, i64::from(MAX_REQUESTS));
    assert!(records.answered("newest".to_owned()).await.unwrap().is_some());
    assert!(records.answered("r-1".to_owned()).await.unwrap().is_none(), "the oldest");
    assert!(records.answered("r-2".to_owned()).await.unwrap().is_some());
}

async fn any_id_is_remembered(store: TestStore) {
    let records = store.open().await;
    // So long that no index would take it, even if it were compressed.
    let long: String = (0..60_000_u32)
        .map(|i| char::from(b'!' + (i.wrapping_mul(2_654_435_761) >> 25) as u8 % 90))
        .collect();
    for id in [long.clone(), "with \0 in it".to_owned(), String::new()] {
        records.remember(id.clone(), NOW, format!("answer to {}", id.len())).await.unwrap();
        let answer = records.answered(id.clone()).await.unwrap();
        assert_eq!(answer, Some(format!("answer to {}", id.len())));
    }
    assert_eq!(records.answered(format!("{long}x")).await.unwrap(), None);
}
