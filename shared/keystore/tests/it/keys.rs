//! Keys as clients see them.

use keystore::{KeyState, KeystoreError, ListQuery, Scanned};
use machines::gate::GateRefusal;
use protocol::page::ChunkRange;
use protocol::{InstanceId, KeyId, Pattern, UnixMillis};
use uuid::Uuid;

use super::fixture::{Fixture, blob, rotation};
use super::on_both_stores;

on_both_stores!(
    a_key_is_created_listed_read_and_scanned,
    a_list_is_paged_searched_and_chosen_by_state,
    a_key_and_a_version_exist_once,
    many_keys_are_written_all_or_none,
    a_blob_carries_its_generations_pattern,
    what_is_not_there_is_named,
    a_deleted_key_cannot_be_deleted_again,
    ensure_leaves_a_row_as_it_is,
);

async fn a_key_is_created_listed_read_and_scanned(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let (store, instance) = (&fixture.store, fixture.instance);
    let meta = fixture.create("payments").await.unwrap();
    assert_eq!(fixture.names().await, ["payments"]);
    assert_eq!(store.key(instance, meta.key).await.unwrap(), meta);

    let pattern = Pattern([1; 32]);
    let found = store.blob(instance, meta.key, meta.version).await.unwrap();
    assert_eq!(found.blob, blob(pattern, meta.version));
    assert_eq!((found.pattern, found.attributes), (pattern, meta.attributes));
    assert_eq!((found.key, found.version), (meta.key, meta.version));

    let scanned = store.scan(instance, Scanned::All, ChunkRange::WHOLE.after, 10).await.unwrap();
    assert_eq!(scanned.len(), 1);
    assert_eq!(scanned[0].name, "payments");
    assert_eq!(scanned[0].blob, Some(found.blob));
    assert!(store.scan(instance, Scanned::All, meta.version, 10).await.unwrap().is_empty());
    assert_eq!(fixture.row().await.version_count, 1);
    assert_eq!(store.saved_row(instance).await.unwrap().unwrap().active.unwrap().pattern, pattern);

    // A version whose blob is missing is scanned all the same.
    fixture.execute(&format!("DELETE FROM {}", fixture.table(1))).await;
    let scanned = store.scan(instance, Scanned::All, ChunkRange::WHOLE.after, 10).await.unwrap();
    assert_eq!(scanned[0].blob, None);
}

async fn a_list_is_paged_searched_and_chosen_by_state(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let (store, instance) = (&fixture.store, fixture.instance);
    let targets = fixture.targets().await;
    let mut keys = Vec::new();
    for (index, name) in ["red 1", "blue 1", "red 2", "blue 2"].into_iter().enumerate() {
        let mut key = fixture.new_key(name, &targets);
        key.meta.created_at = UnixMillis(1000 + index as u64);
        keys.push(key);
    }
    let deleted = keys[1].meta.key;
    store.create(instance, keys).await.unwrap();
    store.delete(instance, deleted, UnixMillis(5000)).await.unwrap();

    let list = async |limit, offset, states: &[KeyState], search: Option<&str>| {
        let search = search.map(str::to_owned);
        let query = ListQuery { limit, offset, states: states.to_vec(), search };
        let total = store.count(instance, query.clone()).await.unwrap();
        let keys = store.list(instance, query).await.unwrap();
        (keys.into_iter().map(|key| key.name).collect::<Vec<_>>(), total)
    };
    assert_eq!(list(10, 0, &[], None).await.0, ["blue 2", "red 2", "red 1"]);
    let (page, total) = list(1, 1, &[], None).await;
    assert_eq!((page, total), (vec!["red 2".to_owned()], 3));
    assert_eq!(list(10, 0, &[], Some("red")).await.0, ["red 2", "red 1"]);
    assert_eq!(list(10, 0, &[], Some("%")).await.1, 0);
    assert_eq!(list(10, 0, &[KeyState::Destroyed], None).await.0, ["blue 1"]);
    let both = [KeyState::Active, KeyState::Destroyed];
    assert_eq!(list(10, 0, &both, Some("blue")).await.0, ["blue 2", "blue 1"]);
    let meta = store.key(instance, deleted).await.unwrap();
    assert_eq!((meta.state, meta.deleted_at), (KeyState::Destroyed, Some(UnixMillis(5000))));
}

async fn a_key_and_a_version_exist_once(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let key = fixture.new_key("first", &fixture.targets().await);
    fixture.store.create(fixture.instance, vec![key.clone()]).await.unwrap();
    let again = fixture.store.create(fixture.instance, vec![key.clone()]).await;
    assert!(matches!(again, Err(KeystoreError::Duplicate)), "{again:?}");
    let mut same_version = key;
    same_version.meta.key = KeyId::from_uuid(Uuid::new_v4());
    let again = fixture.store.create(fixture.instance, vec![same_version]).await;
    assert!(matches!(again, Err(KeystoreError::Duplicate)), "{again:?}");
    fixture.assert_all_open(1).await;
}

async fn many_keys_are_written_all_or_none(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let there = fixture.create_many(1).await;
    let targets = fixture.targets().await;
    let mut keys: Vec<_> = (0..5).map(|_| fixture.new_key("many", &targets)).collect();
    keys[3].meta.version = there[0].version;
    let refused = fixture.store.create(fixture.instance, keys).await;
    assert!(matches!(refused, Err(KeystoreError::Duplicate)), "{refused:?}");
    assert_eq!(fixture.row().await.version_count, 1);
    fixture.create_many(5).await;
    fixture.assert_all_open(6).await;
}

async fn a_blob_carries_its_generations_pattern(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let mut key = fixture.new_key("wrong", &fixture.targets().await);
    key.blobs[0].blob = blob(Pattern([2; 32]), key.meta.version);
    let refused = fixture.store.create(fixture.instance, vec![key.clone()]).await;
    assert!(matches!(refused, Err(KeystoreError::PatternCheck)), "{refused:?}");
    key.blobs[0].blob = vec![1, 1];
    let refused = fixture.store.create(fixture.instance, vec![key]).await;
    assert!(matches!(refused, Err(KeystoreError::PatternCheck)), "{refused:?}");
    assert_eq!(fixture.row().await.version_count, 0);
    assert!(fixture.names().await.is_empty());
}

async fn what_is_not_there_is_named(fixture: Fixture) {
    let (store, instance) = (&fixture.store, fixture.instance);
    let key = KeyId::from_uuid(Uuid::new_v4());
    let early = fixture.create("early").await;
    let not_initialised = KeystoreError::Gate(GateRefusal::NotInitialised).to_string();
    assert_eq!(early.unwrap_err().to_string(), not_initialised);

    fixture.rotate(&rotation(1)).await;
    let meta = fixture.create("there").await.unwrap();
    for refused in [
        store.key(instance, key).await.map(|_| ()),
        store.blob(instance, key, meta.version).await.map(|_| ()),
        store.delete(instance, key, UnixMillis(1)).await,
        store.purge(instance, key).await,
    ] {
        assert!(matches!(refused, Err(KeystoreError::NoKey(found)) if found == key), "{refused:?}");
    }
    let stranger = InstanceId::from_uuid(Uuid::new_v4());
    assert!(store.row(stranger).await.unwrap().is_none());
    assert!(store.saved_row(stranger).await.unwrap().is_none());
    for refused in [
        store.blob(stranger, key, meta.version).await.map(|_| ()),
        store.scan(stranger, Scanned::All, ChunkRange::WHOLE.after, 1).await.map(|_| ()),
        store.create(stranger, Vec::new()).await,
        store.delete(stranger, meta.key, UnixMillis(1)).await,
        store.purge(stranger, meta.key).await,
    ] {
        assert!(matches!(refused, Err(KeystoreError::NoInstance)), "{refused:?}");
    }
    // Another instance's key is no key of this one.
    let other = store.key(stranger, meta.key).await;
    assert!(matches!(other, Err(KeystoreError::NoKey(_))), "{other:?}");
}

async fn a_deleted_key_cannot_be_deleted_again(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let meta = fixture.create("short-lived").await.unwrap();
    fixture.store.delete(fixture.instance, meta.key, UnixMillis(1)).await.unwrap();
    let again = fixture.store.delete(fixture.instance, meta.key, UnixMillis(2)).await;
    assert!(matches!(again, Err(KeystoreError::State { .. })), "{again:?}");
    assert!(fixture.names().await.is_empty());
    assert_eq!(fixture.row().await.version_count, 1);
}

async fn ensure_leaves_a_row_as_it_is(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let before = fixture.row().await;
    let other = protocol::KeystoreId::from_uuid(Uuid::new_v4());
    let ensured = fixture.store.ensure(fixture.instance, other).await.unwrap();
    assert_eq!(ensured.keystore, before.keystore);
    assert_eq!(fixture.row().await, before);
}
