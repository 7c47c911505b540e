//! Who is asked for a second look.

use machines::rewrap;
use protocol::Role;

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
