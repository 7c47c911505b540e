//! Goal: a person sees every reason why a rotation does not start, at once, each with its mend.
//! Method: a survey in which all is well, broken in one way, in two, in three, and in all.

use std::sync::LazyLock;

use machines::rotation::precheck::{Findings, MAX_SKEW_MS, Surveyed, precheck};
use protocol::api::Unmet;
use protocol::keystore::{
    Generation, GenerationState, KeystoreRotation, KeystoreRow, KeystoreStanding,
};
use protocol::manifest::{Manifest, Member};
use protocol::order::{OrderRef, Purpose};
use protocol::report::{KeystoreReport, NewRegister, Standing, UnitReport, UnitRotation};
use protocol::topology::PROTOCOL_VERSION;
use protocol::{
    Digest, GenerationId, KeystoreId, OrderNumber, Pattern, ProcessId, Role, RotationId,
};

use crate::world::{NOW, World, coordinator, id_of};

const CURRENT: Pattern = Pattern([1; 32]);
const OTHER: Pattern = Pattern([2; 32]);
const ROTATION: RotationId = RotationId::from_bytes([0x42; 16]);
/// One whose order no unit has.
const FOREIGN: RotationId = RotationId::from_bytes([0x43; 16]);

/// Everything that answered; each break has a unit or keystore of its own.
#[derive(Clone)]
struct Survey {
    manifest: Manifest,
    units: Vec<UnitReport>,
    keystores: Vec<KeystoreReport>,
    announced: Vec<Member>,
    running: Option<RotationId>,
    purpose: Purpose,
    joining: Vec<ProcessId>,
    expect_current: Option<Pattern>,
    counted_before: u64,
}

const UNITS: usize = 20;
const KEYSTORES: usize = 4;

impl Survey {
    /// All is well, for a rotation or for an initialisation.
    fn well(purpose: Purpose) -> Self {
        let world = World::initialised();
        let report = world.units[0].report(NOW, None);
        let mut manifest = world.units[0].state().trust.newest().unwrap().clone();
        let member = manifest.members[0].clone();
        let is_first = purpose == Purpose::Initialise;
        let (mut members, mut units) = (Vec::new(), Vec::new());
        for number in 0..UNITS {
            let mut member = member.clone();
            member.id = ProcessId::from_bytes([number as u8 + 1; 16]);
            member.name = format!("unit-{number}");
            member.role = if number % 2 == 0 { Role::OperationalUnit } else { Role::RecoveryUnit };
            let mut report = UnitReport { unit: member.id, role: member.role, ..report.clone() };
            report.registers.current = (!is_first).then_some(CURRENT);
            report.rotation = None;
            members.push(member);
            units.push(report);
        }
        members.extend(manifest.of_role(Role::Coordinator).cloned());
        manifest.members = members;
        manifest.keystores = (0..KEYSTORES).map(keystore_id).collect();
        let keystores = (0..KEYSTORES)
            .map(|number| {
                let mut row = machines::gate::new_row(manifest.instance, keystore_id(number));
                row.active = (!is_first).then(|| generation(CURRENT, GenerationState::Active));
                keystore_report(row)
            })
            .collect();
        let (announced, running, expect_current) = (Vec::new(), None, None);
        let (joining, counted_before) = (Vec::new(), 0);
        Self {
            manifest,
            units,
            keystores,
            announced,
            running,
            purpose,
            joining,
            expect_current,
            counted_before,
        }
    }

    fn find(&self) -> Findings {
        precheck(&Surveyed {
            coordinator: id_of(&coordinator()),
            manifest: Some(&self.manifest),
            units: self.units.iter().map(|report| (report, NOW)).collect(),
            keystores: self.keystores.iter().map(|report| (report, NOW)).collect(),
            announced: self.announced.iter().collect(),
            running: self.running,
            purpose: self.purpose,
            joining: &self.joining,
            expect_current: self.expect_current,
            counted_before: self.counted_before,
        })
    }

    fn unit(&mut self, number: usize) -> &mut UnitReport {
        let id = self.manifest.members[number].id;
        self.units.iter_mut().find(|report| report.unit == id).unwrap()
    }

    fn silence_unit(&mut self, number: usize) {
        let id = self.manifest.members[number].id;
        self.units.retain(|report| report.unit != id);
    }

    fn row(&mut self, number: usize) -> &mut KeystoreRow {
        let mut rows = self.keystores.iter_mut().filter_map(|report| report.row.as_mut());
        rows.find(|row| row.keystore == keystore_id(number)).unwrap()
    }
}

fn keystore_id(number: usize) -> KeystoreId {
    KeystoreId::from_bytes([number as u8 + 1; 16])
}

fn generation(pattern: Pattern, state: GenerationState) -> Generation {
    let id = GenerationId::from_bytes([3; 16]);
    Generation { number: 1, id, pattern, state, set_count: 0, done_count: 0, quarantined_count: 0 }
}

fn keystore_report(row: KeystoreRow) -> KeystoreReport {
    KeystoreReport {
        reencryptor: ProcessId::from_bytes([0xaa; 16]),
        manifest_serial: 1,
        row: Some(row),
        receipts_digest: None,
        hold_ends: Vec::new(),
        unopened: Vec::new(),
        answering: None,
        clock: NOW,
        check: None,
    }
}

static BOUND: LazyLock<UnitRotation> = LazyLock::new(|| {
    let mut world = World::initialised();
    let run = world.inspected(Purpose::Rotate, 2);
    let mut rotation = world.units[0].report(NOW, None).rotation.unwrap();
    rotation.order = OrderRef { rotation: ROTATION, ..run.reference };
    rotation
});

/// A unit's rotation in this standing.
fn in_rotation(standing: Standing) -> UnitRotation {
    UnitRotation { standing, ..BOUND.clone() }
}

struct Break {
    code: &'static str,
    subject: &'static str,
    mend: &'static str,
    /// A piece of the sentence.
    says: &'static str,
    how: fn(&mut Survey),
}

const BREAKS: &[Break] = &[
    Break {
        code: "silent",
        subject: "unit-1",
        mend: "start recovery-unit unit-1",
        says: "does not answer",
        how: |it| it.silence_unit(1),
    },
    Break {
        code: "protocol-version",
        subject: "unit-2",
        mend: "upgrade the coordinator",
        says: "speaks protocol",
        how: |it| it.unit(2).facts.protocol_version = PROTOCOL_VERSION + 1,
    },
    Break {
        code: "protocol-version",
        subject: "unit-15",
        mend: "upgrade recovery-unit unit-15",
        says: "speaks protocol",
        how: |it| it.unit(15).facts.protocol_version = PROTOCOL_VERSION - 1,
    },
    Break {
        code: "clock-skew",
        subject: "unit-3",
        mend: "set the clock of unit-3",
        says: "31 s off",
        how: |it| it.unit(3).facts.clock = NOW.plus_ms(MAX_SKEW_MS + 1_000),
    },
    Break {
        code: "clock-skew",
        subject: "unit-4",
        mend: "set the clock of unit-4",
        says: "45 s off",
        how: |it| it.unit(4).facts.clock.0 -= 45_000,
    },
    Break {
        code: "imprint-mode",
        subject: "unit-5",
        mend: "keyhelm cryptounit-retire unit-5",
        says: "imprint mode",
        how: |it| {
            let unit = it.unit(5);
            unit.facts.is_imprint = true;
            unit.registers.current = None;
            unit.manifest_serial = 0;
        },
    },
    Break {
        code: "manifest-differs",
        subject: "unit-6",
        mend: "restore the coordinator's records, and restart it",
        says: "thresholds and administrators may differ",
        how: |it| it.unit(6).manifest_serial = 9,
    },
    Break {
        code: "manifest-differs",
        subject: "unit-16",
        mend: "keyhelm cryptounit-enroll unit-16",
        says: "thresholds and administrators may differ",
        how: |it| it.unit(16).manifest_serial = 0,
    },
    Break {
        code: "bound",
        subject: "unit-7",
        mend: "keyhelm auto-mk-rotate --yes",
        says: "is bound to rotation 42424242-",
        how: |it| it.unit(7).rotation = Some(in_rotation(Standing::Bound)),
    },
    Break {
        code: "bound",
        subject: "unit-8",
        mend: "keyhelm auto-mk-rotate --yes",
        says: "is bound to rotation 42424242-",
        how: |it| {
            let unit = it.unit(8);
            unit.rotation = Some(in_rotation(Standing::Promoted));
            unit.registers.retiring = Some(OTHER);
        },
    },
    Break {
        code: "new-not-empty",
        subject: "unit-9",
        mend: "keyhelm cryptounit-retire unit-9",
        says: "is Full Uncommitted, not Empty",
        how: |it| {
            it.unit(9).registers.new = Some(NewRegister { pattern: OTHER, is_committed: false });
        },
    },
    Break {
        code: "new-not-empty",
        subject: "unit-10",
        mend: "keyhelm cryptounit-retire unit-10",
        says: "is Full Committed, not Empty",
        how: |it| {
            it.unit(10).registers.new = Some(NewRegister { pattern: OTHER, is_committed: true });
            it.unit(10).rotation = Some(in_rotation(Standing::Aborted));
        },
    },
    Break {
        code: "retiring-not-empty",
        subject: "unit-11",
        mend: "keyhelm cryptounit-retire unit-11",
        says: "is Retiring, not Empty",
        how: |it| {
            it.unit(11).registers.retiring = Some(OTHER);
            it.unit(11).rotation = Some(in_rotation(Standing::Cleared));
        },
    },
    Break {
        code: "current-empty",
        subject: "unit-12",
        mend: "keyhelm auto-mk-recover --unit unit-12",
        says: "is Empty, not Valid",
        how: |it| it.unit(12).registers.current = None,
    },
    Break {
        code: "current-differs",
        subject: "unit-13",
        mend: "keyhelm cryptounit-retire unit-13",
        says: "has pattern 02020202..., that of the keystore 01010101...",
        how: |it| it.unit(13).registers.current = Some(OTHER),
    },
    Break {
        code: "current-differs",
        subject: "unit-14",
        mend: "keyhelm cryptounit-retire unit-14",
        says: "has pattern 03030303...",
        how: |it| it.unit(14).registers.current = Some(Pattern([3; 32])),
    },
    Break {
        code: "unexpected-pattern",
        subject: "instance",
        mend: "keyhelm auto-mk-rotate --expect-current-pattern \
               0101010101010101010101010101010101010101010101010101010101010101",
        says: "as expected",
        how: |it| it.expect_current = Some(OTHER),
    },
    Break {
        code: "keystore-silent",
        subject: "keystore 01010101-0101-0101-0101-010101010101",
        mend: "start keystore-reencryptor",
        says: "no reencryptor answers",
        how: |it| {
            let is_first = |report: &KeystoreReport| {
                report.row.as_ref().is_some_and(|row| row.keystore == keystore_id(0))
            };
            it.keystores.retain(|report| !is_first(report));
        },
    },
    Break {
        code: "keystore-open",
        subject: "keystore 02020202-0202-0202-0202-020202020202",
        mend: "keyhelm auto-mk-rotate --yes",
        says: "is being re-encrypted",
        how: |it| {
            let row = it.row(1);
            row.open = Some(generation(OTHER, GenerationState::Building));
            row.rotation = Some(KeystoreRotation {
                rotation: FOREIGN,
                number: OrderNumber { manifest_serial: 1, number: 2 },
                order_digest: Digest([4; 32]),
                standing: KeystoreStanding::Open,
                from: Some(CURRENT),
                to: OTHER,
                key_root: None,
            });
        },
    },
    Break {
        code: "keystore-differs",
        subject: "keystore 03030303-0303-0303-0303-030303030303",
        mend: "restore the keystore that belongs to these units",
        says: "its units hold 01010101",
        how: |it| it.row(2).active = Some(generation(OTHER, GenerationState::Active)),
    },
    Break {
        code: "keystore-differs",
        subject: "keystore 04040404-0404-0404-0404-040404040404",
        mend: "restore the keystore that belongs to these units",
        says: "under pattern none",
        how: |it| it.row(3).active = None,
    },
];

fn named(findings: &Findings) -> Vec<(&str, &str, &str)> {
    let mut all = Vec::new();
    for Unmet { code, subject, mend, .. } in &findings.unmet {
        all.push((code.as_str(), subject.as_str(), mend.as_str()));
    }
    all.sort_unstable();
    all
}

/// Breaks these, and wants exactly these named.
fn check(well: &Survey, broken: &[&Break]) {
    let mut survey = well.clone();
    for one in broken {
        (one.how)(&mut survey);
    }
    let findings = survey.find();
    // Closed only where every unit holds the master key of the keystore.
    let differ = broken.iter().any(|it| it.code == "current-differs");
    let mend = |it: &Break| match it.code {
        "keystore-open" if differ => "restore the keystore that belongs to these units",
        _ => it.mend,
    };
    let mut expected: Vec<_> = broken.iter().map(|it| (it.code, it.subject, mend(it))).collect();
    expected.sort_unstable();
    assert_eq!(named(&findings), expected);
    for one in broken {
        let is_it = |unmet: &&Unmet| unmet.subject == one.subject;
        let text = &findings.unmet.iter().find(is_it).unwrap().text;
        assert!(text.contains(one.says), "{}: {text}", one.code);
    }
    assert!(findings.warnings.is_empty());
}

#[test]
fn each_condition_is_named_with_subject_and_mend() {
    let well = Survey::well(Purpose::Rotate);
    check(&well, &[]);
    for one in BREAKS {
        check(&well, &[one]);
    }
}

#[test]
fn two_and_three_and_all_at_once_are_all_named() {
    let well = Survey::well(Purpose::Rotate);
    for (index, one) in BREAKS.iter().enumerate() {
        for (other, two) in BREAKS.iter().enumerate().skip(index + 1) {
            check(&well, &[one, two]);
            for three in &BREAKS[other + 1..] {
                check(&well, &[one, two, three]);
            }
        }
    }
    check(&well, &BREAKS.iter().collect::<Vec<_>>());
}

#[test]
fn an_initialisation_wants_everything_empty() {
    let well = Survey::well(Purpose::Initialise);
    assert_eq!(named(&well.find()), []);
    let mut full = well.clone();
    full.unit(3).registers.current = Some(CURRENT);
    full.row(1).version_count = 12;
    let keystore = "keystore 02020202-0202-0202-0202-020202020202";
    let expected = [
        ("current-not-empty", "unit-3", "keyhelm auto-mk-rotate"),
        ("keystore-not-empty", keystore, "keyhelm auto-mk-rotate"),
    ];
    assert_eq!(named(&full.find()), expected, "the keys may be under that master key");
    full.unit(3).registers.current = None;
    let expected = [("keystore-not-empty", keystore, "give the instance an empty keystore")];
    assert_eq!(named(&full.find()), expected);
}

#[test]
fn no_manifest_is_one_finding_and_a_local_storage_key_only_a_warning() {
    let mut survey = Survey::well(Purpose::Rotate);
    let surveyed = Surveyed {
        coordinator: id_of(&coordinator()),
        manifest: None,
        units: survey.units.iter().map(|report| (report, NOW)).collect(),
        keystores: Vec::new(),
        announced: Vec::new(),
        running: None,
        purpose: Purpose::Initialise,
        joining: &[],
        expect_current: None,
        counted_before: 0,
    };
    let expected = [("not-initialised", "instance", "keyhelm auto-init")];
    assert_eq!(named(&precheck(&surveyed)), expected);
    survey.unit(0).facts.is_storage_key_local = true;
    survey.unit(1).facts.clock = NOW.plus_ms(MAX_SKEW_MS);
    let findings = survey.find();
    assert_eq!(named(&findings), [], "half a minute of skew is still none");
    let [warning] = findings.warnings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((warning.code.as_str(), warning.subject.as_str()), ("local-storage-key", "unit-0"));
}

#[test]
fn fewer_keys_than_the_last_rotation_counted_are_a_warning() {
    let mut survey = Survey::well(Purpose::Rotate);
    survey.row(0).version_count = 6;
    survey.row(1).version_count = 4;
    survey.counted_before = 10;
    assert_eq!(survey.find().warnings, []);
    survey.counted_before = 12;
    let findings = survey.find();
    let [warning] = findings.warnings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((warning.code.as_str(), named(&findings)), ("fewer-keys", vec![]));
    assert!(warning.text.contains("2 were purged since, or are lost"), "{}", warning.text);
    // While a rotation runs, and where a keystore is silent, nobody knows.
    survey.running = Some(ROTATION);
    assert_eq!(survey.find().warnings, []);
    survey.running = None;
    survey.keystores.pop();
    assert_eq!(survey.find().warnings, []);
}

const ABORT: &str = "keyhelm abort 42424242-4242-4242-4242-424242424242";
const FOLLOW: &str = "keyhelm rotations 42424242-4242-4242-4242-424242424242 --follow";

#[test]
fn a_rotation_that_is_driven_is_ended_or_waited_for_and_none_of_its_registers_is_amiss() {
    let mut survey = Survey::well(Purpose::Rotate);
    survey.running = Some(ROTATION);
    survey.unit(1).rotation = Some(in_rotation(Standing::Bound));
    survey.unit(1).registers.new = Some(NewRegister { pattern: OTHER, is_committed: true });
    let promoted = survey.unit(2);
    promoted.rotation = Some(in_rotation(Standing::Promoted));
    promoted.registers.current = Some(OTHER);
    promoted.registers.retiring = Some(CURRENT);
    let expected = [("bound", "unit-1", ABORT), ("bound", "unit-2", FOLLOW)];
    assert_eq!(named(&survey.find()), expected);
    survey.running = Some(FOREIGN);
    let take_up = "keyhelm auto-mk-rotate --yes";
    let expected = [("bound", "unit-1", take_up), ("bound", "unit-2", take_up)];
    assert_eq!(named(&survey.find()), expected);
}

#[test]
fn an_open_keystore_is_aborted_taken_up_again_or_brought_back_as_its_rotation_is_known() {
    let well = Survey::well(Purpose::Rotate);
    let open = BREAKS.iter().find(|one| one.code == "keystore-open").unwrap();
    let mend = |survey: &Survey| survey.find().unmet[0].mend.clone();
    let mut survey = well;
    (open.how)(&mut survey);
    // Whoever opened it, it is no copy of another master key's time.
    assert_eq!(mend(&survey), "keyhelm auto-mk-rotate --yes");
    survey.unit(1).registers.current = Some(OTHER);
    let restore = "restore the keystore that belongs to these units";
    let mends = survey.find().unmet;
    let is_open = |found: &&Unmet| found.code == "keystore-open";
    assert_eq!(mends.iter().find(is_open).map(|found| found.mend.as_str()), Some(restore));
    survey.unit(1).registers.current = Some(CURRENT);
    let mut aborted = in_rotation(Standing::Aborted);
    aborted.order.rotation = FOREIGN;
    survey.unit(1).rotation = Some(aborted);
    assert_eq!(mend(&survey), "keyhelm auto-mk-rotate --yes");
    survey.running = Some(FOREIGN);
    assert_eq!(mend(&survey), "keyhelm abort 43434343-4343-4343-4343-434343434343");
}

#[test]
fn whoever_holds_the_keystores_master_key_is_right_however_few_they_are() {
    let mut survey = Survey::well(Purpose::Rotate);
    for number in 1..UNITS {
        survey.unit(number).registers.current = Some(OTHER);
    }
    let findings = survey.find();
    assert_eq!(findings.unmet.len(), UNITS - 1, "{findings:?}");
    assert!(findings.unmet.iter().all(|unmet| unmet.subject != "unit-0"), "{findings:?}");
}

#[test]
fn the_last_of_a_role_is_not_retired_and_one_of_two_names_goes_by_its_id() {
    let mut survey = Survey::well(Purpose::Rotate);
    survey.unit(1).registers.new = Some(NewRegister { pattern: OTHER, is_committed: false });
    survey.manifest.members[2].name = "unit-1".to_owned();
    let id = survey.manifest.members[1].id;
    let mend = format!("keyhelm cryptounit-retire {id}");
    assert_eq!(named(&survey.find()), [("new-not-empty", "unit-1", mend.as_str())]);
    for member in &mut survey.manifest.members[2..UNITS] {
        member.role = Role::OperationalUnit;
    }
    let mend = "restore the data folder of recovery-unit unit-1";
    assert_eq!(named(&survey.find()), [("new-not-empty", "unit-1", mend)]);
    survey.unit(1).registers.new = None;
    survey.unit(1).registers.current = None;
    let mend = format!("keyhelm auto-mk-rotate --join {id}");
    assert_eq!(named(&survey.find()), [("current-empty", "unit-1", mend.as_str())]);
}

#[test]
fn a_unit_that_shall_join_must_be_empty_and_all_others_must_not() {
    let mut survey = Survey::well(Purpose::Rotate);
    survey.joining = vec![survey.manifest.members[1].id];
    assert_eq!(named(&survey.find()), [("current-not-empty", "unit-1", "keyhelm auto-mk-rotate")]);
    survey.unit(1).registers.current = None;
    assert_eq!(named(&survey.find()), []);
    survey.unit(2).registers.current = None;
    let expected = [("current-empty", "unit-2", "keyhelm auto-mk-recover --unit unit-2")];
    assert_eq!(named(&survey.find()), expected);
}

#[test]
fn a_namesake_of_a_silent_unit_says_that_its_folder_is_another() {
    let mut survey = Survey::well(Purpose::Rotate);
    survey.silence_unit(1);
    let mut namesake = survey.manifest.members[1].clone();
    survey.announced = vec![namesake.clone()];
    let mend = "start recovery-unit unit-1";
    assert_eq!(named(&survey.find()), [("silent", "unit-1", mend)], "its own announcement");
    namesake.id = ProcessId::from_bytes([0xee; 16]);
    survey.announced.push(namesake);
    let findings = survey.find();
    let mend = "restore the data folder of recovery-unit unit-1";
    assert_eq!(named(&findings), [("silent", "unit-1", mend)]);
    let text = &findings.unmet[0].text;
    assert!(text.contains("eeeeeeee-") && text.contains("cryptounit-retire unit-1"), "{text}");
}

#[test]
fn before_the_first_master_key_auto_init_is_what_is_lacking() {
    let mut survey = Survey::well(Purpose::Initialise);
    survey.unit(1).facts.is_imprint = true;
    assert_eq!(named(&survey.find()), [("imprint-mode", "unit-1", "keyhelm auto-init")]);
    survey.unit(1).facts.is_imprint = false;
    survey.purpose = Purpose::Rotate;
    let findings = survey.find();
    assert_eq!(findings.unmet.len(), UNITS, "{findings:?}");
    let is_it = |unmet: &Unmet| unmet.code == "current-empty" && unmet.mend == "keyhelm auto-init";
    assert!(findings.unmet.iter().all(is_it), "{findings:?}");
}

#[test]
fn the_reencryptors_of_a_silent_keystore_are_named() {
    let mut survey = Survey::well(Purpose::Rotate);
    survey.keystores.remove(0);
    for (number, name) in ["re-a", "re-b"].into_iter().enumerate() {
        let mut member = survey.manifest.members[0].clone();
        member.id = ProcessId::from_bytes([0xf0 + number as u8; 16]);
        member.name = name.to_owned();
        member.role = Role::Reencryptor;
        survey.manifest.members.push(member);
    }
    let keystore = "keystore 01010101-0101-0101-0101-010101010101";
    let mend = "start keystore-reencryptor re-a or re-b";
    assert_eq!(named(&survey.find()), [("keystore-silent", keystore, mend)]);
}
