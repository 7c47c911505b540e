//! Who is asked for a second look, and what may be left where two units have seen that it does not open.

use machines::rewrap;
use protocol::page::{UnopenedRow, WrappedRow};
use protocol::{KeyId, Role, Rows, VersionId};

use crate::world::{OP_1, REC_1, World, role_of, unit_id};

#[test]
fn whoever_serves_is_asked_before_a_backup_and_nobody_twice_nor_about_his_own_work() {
    let world = World::initialised();
    let trust = &world.units[OP_1].state().trust;
    let count = world.units.len();
    let mut first_asked = Vec::new();
    for turn in 0..count {
        let asked = rewrap::lookers(trust, unit_id(OP_1), turn);
        let mut expected: Vec<_> = (0..count)
            .filter(|unit| *unit != OP_1)
            .map(|unit| (unit_id(unit), role_of(unit)))
            .collect();
        let is_backup = |(_, role): &(_, Role)| *role == Role::RecoveryUnit;
        // One whose serving units give no look is not stuck: the backups follow.
        assert!(asked.iter().skip_while(|unit| !is_backup(unit)).all(is_backup), "{asked:?}");
        assert!(asked.iter().any(is_backup));
        first_asked.push(asked[0].0);
        let mut sorted = asked.clone();
        sorted.sort();
        expected.sort();
        assert_eq!(sorted, expected);
    }
    first_asked.dedup();
    let serving = (0..REC_1).count() - 1;
    assert!(serving < 2 || first_asked.len() > 1, "not always the same one first");
}

#[test]
fn only_rows_of_the_page_whose_keys_the_order_names_go_into_quarantine() {
    let (named, other) = (KeyId::from_bytes([1; 16]), KeyId::from_bytes([2; 16]));
    let version = |number| VersionId::from_bytes([number; 16]);
    let row = |number, key| WrappedRow {
        version: version(number),
        key,
        attributes: 1,
        blob: vec![number],
    };
    let page = Rows::from(vec![row(1, named), row(2, other), row(3, named)]);
    let unopened =
        |number, key| UnopenedRow { version: version(number), key, reason: "changed".to_owned() };
    let may = |rows: &[UnopenedRow]| rewrap::may_quarantine(&[named], &page, rows);
    assert!(may(&[unopened(1, named)]) && may(&[unopened(1, named), unopened(3, named)]));
    for refused in [
        vec![],
        vec![unopened(2, other)],
        vec![unopened(1, named), unopened(2, other)],
        // Not of this page, or another key's.
        vec![unopened(4, named)],
        vec![unopened(2, named)],
        vec![unopened(1, named); 4],
    ] {
        assert!(!may(&refused), "{refused:?}");
    }
    assert!(!rewrap::may_quarantine(&[], &page, &[unopened(1, named)]));
}
