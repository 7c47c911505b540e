//! What only a file must do: one of an earlier program goes on, one of a later program is refused.

use keystore::Keystore;

use super::fixture::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_schema_before_lists_had_an_index_goes_on() {
    let mut fixture = Fixture::sqlite().await.initialised().await;
    fixture.create_many(3).await;
    let indexes = "SELECT count(*) FROM sqlite_schema WHERE name = 'keys_newest_first'";
    assert_eq!(fixture.number(indexes).await, 1);
    fixture.execute("DROP INDEX keys_newest_first").await;
    fixture.execute("PRAGMA user_version = 2").await;
    fixture.reopen().await;
    assert_eq!(fixture.number(indexes).await, 1);
    assert_eq!(fixture.number("PRAGMA user_version").await, 3);
    fixture.create("later").await.unwrap();
    assert_eq!(fixture.names().await.len(), 4);
    fixture.assert_all_open(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_newer_program_is_refused() {
    let fixture = Fixture::sqlite().await;
    fixture.execute("PRAGMA user_version = 99").await;
    let refused = Keystore::open(&fixture.url, None).await.unwrap_err().to_string();
    assert!(refused.contains("schema 99 is newer than this program knows"), "{refused}");
}
