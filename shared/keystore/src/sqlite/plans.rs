//! How statements find their rows: what is done for one key or one chunk costs the same however many there
//! are.
#![allow(clippy::unwrap_used)]

use protocol::keystore::{Generation, GenerationState};
use protocol::{GenerationId, InstanceId, Pattern};
use rusqlite::{Connection, StatementStatus, params};

use super::{chunks, generations, read, schema, table, write};
use crate::ListQuery;

const INSTANCE: InstanceId = InstanceId::from_bytes([1; 16]);

/// A new keystore with one generation.
fn keystore() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&connection).unwrap();
    let generation = Generation {
        number: 1,
        id: GenerationId::from_bytes([2; 16]),
        pattern: Pattern([3; 32]),
        state: GenerationState::Building,
        set_count: 0,
        done_count: 0,
        quarantined_count: 0,
    };
    let tx = connection.transaction().unwrap();
    generations::create_table(&tx, INSTANCE, &generation).unwrap();
    tx.commit().unwrap();
    connection
}

/// How a statement would be run.
fn plan(sql: &str) -> String {
    let connection = keystore();
    let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let mut rows = explained.raw_query();
    let mut plan = String::new();
    while let Some(row) = rows.next().unwrap() {
        plan += &row.get::<_, String>(3).unwrap();
        plan.push('\n');
    }
    plan
}

#[test]
fn a_key_is_removed_without_a_search_through_all_blobs() {
    let table = table(INSTANCE, 1);
    let plan = plan(&write::deletion(&table));
    assert!(plan.contains(&format!("SEARCH {table} USING PRIMARY KEY")), "{plan}");
    assert!(plan.contains("versions_of_key") && !plan.contains("SCAN"), "{plan}");
}

#[test]
fn a_list_is_read_in_its_order() {
    let query = ListQuery { limit: 10, offset: 0, states: Vec::new(), search: None };
    let plan = plan(&read::list(&query));
    assert!(plan.contains("keys_newest_first"), "{plan}");
    assert!(!plan.contains("USE TEMP B-TREE FOR ORDER BY"), "{plan}");
}

#[test]
fn a_chunk_is_compared_with_two_others_however_many_there_are() {
    let connection = keystore();
    let mut insert = connection
        .prepare(
            "INSERT INTO chunks (instance, generation, after, upto, done) VALUES (?, 1, ?, ?, 1)",
        )
        .unwrap();
    let at = |number: u128| number.to_be_bytes();
    let mut cost = Vec::new();
    for number in 0..2000 {
        insert.execute(params![INSTANCE.bytes(), at(number), at(number + 1)]).unwrap();
        let mut look = connection.prepare(chunks::OVERLAPPING).unwrap();
        let bound = params![INSTANCE.bytes(), 1, at(number + 1), at(number + 2)];
        assert_eq!(look.query_row(bound, |row| row.get::<_, i64>(0)).unwrap(), 0);
        cost.push(look.get_status(StatementStatus::VmStep));
    }
    assert_eq!(cost[10], cost[1999], "steps of the database");
}
