//! Goal: at every moment a person hears what goes on, what is safe, and one next command, or that
//! waiting is right. Method: a scene in which all is well, changed into each situation.

use machines::conductor::Heard;
use machines::explain::{Known, Leave, Running, Situation, explain};
use machines::rotation::desired::Wanted;
use machines::rotation::precheck::{Findings, Surveyed, precheck};
use machines::rotation::record::{Record, Verdict};
use machines::rotation::{Input, Limits, Rotation, record_view};
use protocol::api::{Explanation, RotationView};
use protocol::audit::Phase;
use protocol::codes;
use protocol::keystore::GenerationState;
use protocol::keystore::KeystoreStanding;
use protocol::manifest::{Amendment, Manifest, Member};
use protocol::order::{Order, Purpose, StandingOrder};
use protocol::report::{Announcement, Answering, KeystoreReport, Refusal, Standing, UnitReport};
use protocol::{MessageId, Pattern, RotationId, UnixMillis};

use crate::world::{
    ALL, EPOCH, KEYSTORE, NOW, OP_1, OP_2, REC_1, REC_2, Run, World, coordinator, id_of,
    reencryptor, unit_id,
};

const OTHER: Pattern = Pattern([9; 32]);
const ENROLL_COORDINATOR: &str =
    "keyhelm cryptounit-enroll 8d03e95a-5f18-8d41-8340-9d59a8f10a54 --replace";

/// What was heard, and by whom.
struct Scene {
    world: World,
    run: Run,
    manifest: Option<Manifest>,
    units: Vec<UnitReport>,
    keystore: Option<KeystoreReport>,
    /// Heard long ago, not in the survey.
    before: Vec<UnitReport>,
    announced: Vec<Member>,
    leave: Leave,
    running: Option<Rotation>,
    last: Option<RotationView>,
    now: UnixMillis,
}

impl Scene {
    /// Founded, and nothing else.
    fn well() -> Self {
        let mut world = World::new();
        let run = world.whole_rotation(Purpose::Initialise, 1);
        Self::of(world, run)
    }

    /// The last of all rotations went from one master key to another.
    fn rotated() -> Self {
        let mut world = World::initialised();
        let run = world.whole_rotation(Purpose::Rotate, 2);
        Self::of(world, run)
    }

    fn of(world: World, run: Run) -> Self {
        let manifest = world.units[OP_1].state().trust.newest().cloned();
        let keystore = Some(world.flipped(&run));
        let units = ALL.map(|unit| world.units[unit].report(NOW, None)).into();
        let last = Some(ended(&run, Phase::Done));
        let until = NOW.plus_ms(86_400_000);
        Self {
            leave: Leave::Given(standing(0, until)),
            units,
            before: Vec::new(),
            announced: Vec::new(),
            running: None,
            now: NOW.plus_ms(1_000),
            world,
            run,
            manifest,
            keystore,
            last,
        }
    }

    /// A rotation has just been asked for, and everybody has been asked to inspect its order.
    fn started() -> Self {
        let mut scene = Self::well();
        scene.run = scene.world.signed(scene.world.order(Purpose::Rotate, 2));
        let record = Record::new(scene.run.signed.clone(), EPOCH, "test".to_owned(), NOW);
        scene.drive(record);
        scene
    }

    /// A rotation that all units have promoted but one, which says nothing.
    fn decided() -> Self {
        let mut scene = Self::well();
        scene.run = scene.world.committed(Purpose::Rotate, 2);
        for unit in [OP_2, REC_1, REC_2] {
            assert_eq!(scene.world.promote(unit, &scene.run).code(), "taken");
        }
        let mut record = Record::new(scene.run.signed.clone(), EPOCH, "test".to_owned(), NOW);
        record.verdict = Verdict::Decided;
        record.phases.push((Phase::Promote, NOW));
        scene.drive(record);
        for unit in [OP_2, REC_1, REC_2] {
            scene.hear(unit, None);
        }
        let mut complete = scene.world.flipped(&scene.run);
        let row = complete.row.as_mut().unwrap();
        row.rotation.as_mut().unwrap().standing = KeystoreStanding::Complete;
        let bytes = scene.world.keystore_envelope(&reencryptor(), &complete);
        let rotation = scene.running.as_mut().unwrap();
        rotation.handle(NOW, Input::Keystore(Box::new(complete), bytes));
        // It was heard once; since it is asked for its promote it is silent.
        scene.hear(OP_1, None);
        scene
    }

    /// A rotation that these have aborted, and the others have promoted.
    fn ended_differently(aborted: &[usize]) -> Self {
        let mut scene = Self::rotated();
        for unit in ALL {
            let is_aborted = aborted.contains(&unit);
            scene.stand(unit, if is_aborted { Standing::Aborted } else { Standing::Promoted });
        }
        scene
    }

    /// All units have committed, and the order wants an hour before keys are refused.
    fn holding() -> Self {
        let mut scene = Self::well();
        let order = scene.world.order(Purpose::Rotate, 2);
        let run = scene.world.signed(Order { hold_after_commit_s: 3_600, ..order });
        scene.run = scene.world.committed_in(run);
        scene.drive(Record::new(scene.run.signed.clone(), EPOCH, "test".to_owned(), NOW));
        for unit in ALL {
            scene.hear(unit, None);
        }
        scene
    }

    fn drive(&mut self, record: Record) {
        let manifest = self.manifest.clone().unwrap();
        let mut rotation = Rotation::new(record, manifest, Limits::default())
            .unwrap()
            .with_surveyed([KEYSTORE].into());
        let asked = rotation.handle(NOW, Input::Tick).send;
        assert!(asked.iter().all(|wanted| wanted.name() == "inspect"));
        self.running = Some(rotation);
    }

    /// The rotation hears how a unit stands, and perhaps why it will not do what it was asked.
    fn hear(&mut self, unit: usize, refusal: Option<Refusal>) -> Vec<Wanted> {
        let mut report = self.world.units[unit].report(self.now, None);
        report.epoch = EPOCH;
        let message = MessageId::from_bytes([1; 16]);
        report.answering = refusal.map(|found| Answering { message, refusal: Some(found) });
        let rotation = self.running.as_mut().unwrap();
        rotation.handle(self.now, Input::Unit(Box::new(report), Vec::new())).send
    }

    /// Units in this order reported this.
    fn stand(&mut self, unit: usize, standing: Standing) {
        let run = self.run.clone();
        let mut rotation = self.units[unit].rotation.clone().unwrap();
        rotation.order = run.reference;
        rotation.standing = standing;
        self.units[unit].rotation = Some(rotation);
    }

    /// How the keystore stands in this order.
    fn stand_keystore(&mut self, standing: KeystoreStanding) {
        let reference = self.run.reference;
        let row = self.keystore.as_mut().unwrap().row.as_mut().unwrap();
        let shown = row.rotation.as_mut().unwrap();
        (shown.rotation, shown.number) = (reference.rotation, reference.number);
        shown.standing = standing;
    }

    fn silence(&mut self, unit: usize) {
        self.units.retain(|report| report.unit != unit_id(unit));
    }

    fn heard(&self) -> Heard {
        let mut heard = Heard::default();
        for report in &self.before {
            heard.take_unit(UnixMillis(NOW.0 - 60_000), report, &[], false);
        }
        for report in &self.units {
            heard.take_unit(NOW, report, &[], true);
        }
        if let Some(report) = &self.keystore {
            heard.take_keystore(NOW, report, false);
        }
        for member in &self.announced {
            let said = Announcement {
                member: member.clone(),
                instance_name: "test".to_owned(),
                keystore: None,
                manifest_serial: 0,
                protocol_version: protocol::topology::PROTOCOL_VERSION,
            };
            heard.take_announcement(NOW, said);
        }
        heard
    }

    fn findings(&self) -> Findings {
        precheck(&Surveyed {
            coordinator: id_of(&coordinator()),
            manifest: self.manifest.as_ref(),
            units: self.units.iter().map(|report| (report, NOW)).collect(),
            keystores: self.keystore.iter().map(|report| (report, NOW)).collect(),
            announced: self.announced.iter().collect(),
            running: self.running.as_ref().map(|found| found.reference().rotation),
            purpose: Purpose::Rotate,
            joining: &[],
            expect_current: None,
            counted_before: 0,
        })
    }

    fn explain(&self) -> Explanation {
        let running = self.running.as_ref().map(|rotation| Running {
            view: rotation.to_view(),
            order: *rotation.reference(),
            is_before_flip: rotation.is_before_flip(),
            awaited: rotation.awaited(),
            ends_because: rotation.ends_because().map(str::to_owned),
        });
        let found = explain(&Known {
            now: self.now,
            since: NOW,
            manifest: self.manifest.as_ref(),
            heard: &self.heard(),
            findings: &self.findings(),
            leave: self.leave.clone(),
            running,
            last: self.last.as_ref(),
        });
        sound(&found);
        found
    }
}

/// The words are those of the table, and there is one thing to do, or waiting is right.
fn sound(found: &Explanation) {
    let entry = codes::find(&found.code).unwrap();
    assert_eq!((found.headline.as_str(), found.safe.as_str()), (entry.sentence, entry.safe));
    let says_wait = found.details.iter().any(|detail| detail.contains("ust wait"));
    assert_eq!(found.next_command.is_none(), says_wait, "{found:?}");
    assert!(!found.needs_person || found.next_command.is_some(), "{found:?}");
    for text in found.details.iter().chain(&found.next_command) {
        assert!(!text.contains("  ") && !text.contains('\n') && !text.is_empty(), "{text:?}");
    }
}

fn standing(not_more_often_than_s: u32, until: UnixMillis) -> StandingOrder {
    StandingOrder {
        instance: protocol::InstanceId::named("test"),
        manifest_serial: 1,
        not_more_often_than_s,
        pause_between_tries_s: 0,
        hold_after_commit_s: 0,
        hold_before_clear_s: 0,
        until,
    }
}

/// A rotation that has ended.
fn ended(run: &Run, phase: Phase) -> RotationView {
    let mut record = Record::new(run.signed.clone(), EPOCH, "test".to_owned(), NOW);
    record.verdict = match phase {
        Phase::Done => Verdict::Decided,
        _ => Verdict::Aborted { because: "op-2 has not answered".to_owned() },
    };
    let at = |ms: u64| NOW.plus_ms(ms);
    if phase == Phase::Done {
        record.phases.extend([(Phase::Flip, at(100)), (Phase::Clear, at(200))]);
    }
    record.phases.push((phase, at(300)));
    record.finished_at = Some(at(300));
    record.to = Some(run.to);
    record.keys = (3_000, 3_000);
    record_view(&record)
}

fn refusal(code: &str) -> Option<Refusal> {
    Some(Refusal { code: code.to_owned(), text: "it will not".to_owned() })
}

/// A situation, how it comes about, what is next, and what stands in the details.
type Case = (Situation, fn() -> Scene, Option<&'static str>, &'static [&'static str]);

const CASES: [Case; 20] = [
    (
        Situation::NobodyAnnounced,
        || {
            let mut scene = Scene::well();
            (scene.manifest, scene.last) = (None, None);
            (scene.units, scene.leave) = (Vec::new(), Leave::None);
            scene
        },
        Some("start the crypto units whose configuration names this instance"),
        &["announce themselves"],
    ),
    (
        Situation::NotInitialised,
        || {
            let mut scene = Scene::well();
            scene.announced = scene.manifest.take().unwrap().members;
            scene.announced.retain(|member| member.name != "reencryptor");
            scene
        },
        Some("keyhelm auto-init"),
        &["op-1 (operational-unit)", "rec-2 (recovery-unit)", "No keystore-reencryptor"],
    ),
    (
        Situation::CoordinatorUnknown,
        || {
            let mut scene = Scene::started();
            let members = &mut scene.manifest.as_mut().unwrap().members;
            members.retain(|member| member.role != protocol::Role::Coordinator);
            scene
        },
        Some(ENROLL_COORDINATOR),
        &["nobody obeys it", "waits for it"],
    ),
    (
        Situation::MixedEnd,
        || {
            let mut scene = Scene::rotated();
            scene.stand(OP_1, Standing::Aborted);
            scene.stand(REC_1, Standing::Promoted);
            scene.stand_keystore(KeystoreStanding::Aborted);
            // Standings are for good: who is away now counts too.
            scene.before.push(scene.units[OP_1].clone());
            scene.silence(OP_1);
            scene
        },
        // The other side has all recovery units.
        Some("keyhelm cryptounit-retire op-1"),
        &["was aborted in op-1.", "was promoted in op-2, rec-1, rec-2."],
    ),
    (
        Situation::RolledBack,
        || {
            let mut scene = Scene::well();
            let mut newer = scene.units[OP_2].clone();
            newer.state_counter += 2;
            scene.before.push(newer);
            scene
        },
        Some("keyhelm cryptounit-retire op-2"),
        &["operational-unit op-2 reports state", "restore the data folder"],
    ),
    (
        Situation::Aborting,
        || {
            let mut scene = Scene::started();
            let because = "the wrong day".to_owned();
            let rotation = scene.running.as_mut().unwrap();
            rotation.handle(NOW, Input::Abort { because });
            scene.now = NOW.plus_ms(3_500);
            scene.running.as_mut().unwrap().handle(scene.now, Input::Tick);
            scene
        },
        None,
        &["the wrong day", "the end takes a moment"],
    ),
    (
        Situation::Holding,
        Scene::holding,
        None,
        &["Keys are served", "keyhelm hold-end", "it goes on by itself"],
    ),
    (
        Situation::WaitingBeforeDecision,
        || {
            let mut scene = Scene::started();
            for unit in [OP_1, REC_1, REC_2] {
                assert_eq!(scene.world.inspect(unit, &scene.run.clone()).code(), "taken");
                scene.hear(unit, None);
            }
            scene.now = NOW.plus_ms(10_000);
            scene.silence(OP_2);
            scene
        },
        Some("start operational-unit op-2"),
        &[
            "giving the order to all units, since 2026-01-01T00:00:00Z.",
            "3 of 4 crypto units",
            "operational-unit op-2 has not answered inspect, asked 2 times since 2026-01-01",
            "At 2026-01-01T00:01:00Z the rotation ends by itself, with nothing changed",
        ],
    ),
    (
        Situation::WaitingAfterDecision,
        || {
            let mut scene = Scene::decided();
            scene.now = NOW.plus_ms(3_600_000);
            scene.silence(OP_1);
            scene
        },
        Some("start operational-unit op-1"),
        &["promoting the new master key", "3 of 4", "it only goes forward", "as long as it takes"],
    ),
    (
        Situation::Running,
        Scene::started,
        None,
        &["inspect, asked 1 time", "keyhelm abort", "it goes on by itself"],
    ),
    (
        Situation::OrderEnded,
        || {
            let mut scene = Scene::rotated();
            scene.stand(OP_2, Standing::Bound);
            scene
        },
        Some("keyhelm auto-mk-rotate --yes"),
        &["The last rotation", "op-2 is bound to rotation"],
    ),
    (
        Situation::Undriven,
        || {
            let mut scene = Scene::well();
            scene.run = scene.world.inspected(Purpose::Rotate, 2);
            scene.units = ALL.map(|unit| scene.world.units[unit].report(NOW, None)).into();
            scene
        },
        Some("keyhelm auto-mk-rotate --yes"),
        &["op-1 is bound to rotation", "which no coordinator drives (bound)"],
    ),
    (
        Situation::NoMasterKey,
        || {
            let world = World::new();
            let run = world.signed(world.order(Purpose::Initialise, 1));
            let mut scene = Scene::of(world, run);
            let row = machines::gate::new_row(scene.world.instance, KEYSTORE);
            scene.keystore.as_mut().unwrap().row = Some(row);
            (scene.last, scene.leave) = (None, Leave::None);
            scene
        },
        Some("keyhelm auto-init"),
        &["has manifest 1"],
    ),
    (
        Situation::KeystoreDiffers,
        || {
            let mut scene = Scene::well();
            let row = scene.keystore.as_mut().unwrap().row.as_mut().unwrap();
            row.active.as_mut().unwrap().pattern = OTHER;
            scene
        },
        Some("restore the keystore that belongs to these units"),
        &["is under pattern 0909", "Units hold pattern", "Nothing is written to it."],
    ),
    (
        Situation::CurrentEmpty,
        || {
            let mut scene = Scene::well();
            scene.units[REC_2].registers.current = None;
            scene
        },
        Some("keyhelm auto-mk-recover --unit rec-2"),
        &["register of rec-2 is Empty, not Valid (current-empty)"],
    ),
    (
        Situation::CurrentDiffers,
        || {
            let mut scene = Scene::well();
            scene.units[OP_1].registers.current = Some(OTHER);
            scene
        },
        Some("keyhelm cryptounit-retire op-1"),
        &["master key of op-1 has pattern 0909", "that of the keystore"],
    ),
    (
        Situation::Unmet,
        || {
            let mut scene = Scene::well();
            scene.silence(REC_1);
            scene.units[OP_2].facts.clock = NOW.plus_ms(60_000);
            scene
        },
        Some("start recovery-unit rec-1"),
        &["rec-1 does not answer (silent). Mend: start", "The clock of op-2 is 60 s off"],
    ),
    (
        Situation::Aborted,
        || {
            let mut scene = Scene::rotated();
            scene.last = Some(ended(&scene.run, Phase::Aborted));
            scene
        },
        Some("keyhelm auto-mk-rotate"),
        &["before its decision: op-2 has not answered.", "4 of 4 crypto units hold it"],
    ),
    (
        Situation::NoStandingOrder,
        || Scene { leave: Leave::None, ..Scene::well() },
        Some("keyhelm auto-mk-rotate --sign"),
        &["administrators sign each rotation by hand", "The first master key was made"],
    ),
    (
        Situation::AllWell,
        Scene::rotated,
        None,
        &[
            "3,000 key versions",
            "allows the next rotation now",
            "Backups of the key storage from before 2026-01-01T00:00:00Z",
        ],
    ),
];

#[test]
fn each_situation_is_told_with_what_is_next() {
    for (situation, scene, next, words) in CASES {
        let scene = scene();
        let found = scene.explain();
        assert_eq!(found.code, situation.code(), "{found:#?}");
        assert_eq!(found.next_command.as_deref(), next, "{found:#?}");
        for word in words {
            let is_told = found.details.iter().any(|detail| detail.contains(word));
            assert!(is_told, "{word}: {:#?}", found.details);
        }
    }
    let tried: Vec<_> = CASES.iter().map(|(situation, ..)| *situation).collect();
    assert_eq!(tried, Situation::ALL);
}

#[test]
fn a_person_is_needed_only_where_waiting_and_asking_do_not_do() {
    for (situation, scene, ..) in CASES {
        let is_calm = matches!(
            situation,
            Situation::Aborting
                | Situation::Holding
                | Situation::Running
                | Situation::NoStandingOrder
                | Situation::AllWell
        );
        assert_eq!(scene().explain().needs_person, !is_calm, "{situation:?}");
    }
}

#[test]
fn an_abort_that_waits_for_somebody_says_for_whom() {
    let mut scene = Scene::started();
    let rotation = scene.running.as_mut().unwrap();
    rotation.handle(NOW, Input::Abort { because: "the wrong day".to_owned() });
    for ms in [3_500, 4_500, 9_000] {
        scene.now = NOW.plus_ms(ms);
        scene.running.as_mut().unwrap().handle(scene.now, Input::Tick);
    }
    let found = scene.explain();
    assert_eq!(found.code, "rotation-aborting");
    assert!(found.needs_person && found.next_command.unwrap().starts_with("start "));
}

#[test]
fn the_rate_is_told_while_keys_are_re_encrypted() {
    let mut scene = Scene::started();
    let rotation = scene.running.take().unwrap();
    let mut view = rotation.to_view();
    view.phases.push((Phase::Reencrypt, NOW));
    (view.phase, view.keys_done, view.keys_total) = (Phase::Reencrypt, 5_000, 20_000);
    scene.now = NOW.plus_ms(2_000);
    let running = Running {
        view,
        order: *rotation.reference(),
        is_before_flip: true,
        awaited: Vec::new(),
        ends_because: None,
    };
    let (heard, findings) = (scene.heard(), scene.findings());
    let found = explain(&Known {
        now: scene.now,
        since: NOW,
        manifest: scene.manifest.as_ref(),
        heard: &heard,
        findings: &Findings { unmet: Vec::new(), ..findings },
        leave: Leave::None,
        running: Some(running),
        last: None,
    });
    let line = "5,000 of 20,000 key versions re-encrypted, 2,500 a second.";
    assert!(found.details.iter().any(|detail| detail == line), "{:#?}", found.details);
}

#[test]
fn a_unit_that_refuses_after_the_decision_is_named_with_its_words() {
    let mut scene = Scene::decided();
    scene.now = NOW.plus_ms(10_000);
    scene.hear(OP_1, refusal("other-current"));
    let found = scene.explain();
    assert_eq!(found.code, "waiting-after-decision", "{found:#?}");
    assert_eq!(found.next_command.as_deref(), Some("keyhelm cryptounit-compare"));
    let is_told = |detail: &String| {
        detail.contains("op-1 refuses promote") && detail.contains("(other-current): it will not.")
    };
    assert!(found.details.iter().any(is_told), "{:#?}", found.details);
    // What passes by itself is waited for.
    scene.hear(OP_1, refusal("busy"));
    assert_eq!(scene.explain().code, "rotation-running");
}

/// What has promoted waits for the flip's report of a reencryptor that it does not know, and never will.
#[test]
fn a_unit_that_can_take_no_manifest_any_more_is_to_be_retired() {
    let mut scene = Scene::decided();
    assert_eq!(scene.world.promote(OP_1, &scene.run).code(), "taken");
    scene.hear(OP_1, None);
    let flipped = scene.world.flipped(&scene.run);
    let bytes = scene.world.keystore_envelope(&reencryptor(), &flipped);
    scene.running.as_mut().unwrap().handle(NOW, Input::Keystore(Box::new(flipped), bytes));
    scene.hear(OP_1, refusal("certificate-refused"));
    let next = scene.explain().next_command;
    assert_eq!(next.as_deref(), Some("keyhelm explain certificate-refused"));
    let next = |scene: &mut Scene| {
        let newest = scene.world.manifests.last().unwrap().unverified().unwrap();
        scene.manifest = Some(newest.clone());
        let amended = Input::Amended(Box::new(newest), Vec::new());
        scene.running.as_mut().unwrap().handle(scene.now, amended);
        let found = scene.explain();
        assert_eq!(found.code, "waiting-after-decision", "{found:#?}");
        found.next_command.unwrap()
    };
    // What amends another rotation it takes with the next one that amends this.
    let other = Amendment { rotation: RotationId::from_bytes([7; 16]), holder_report: Vec::new() };
    scene.world.sign_manifest(&ALL, |manifest| manifest.amendment = Some(other));
    assert_eq!(next(&mut scene), "keyhelm cryptounit-retire --nobody");
    scene.world.next_manifest(&ALL);
    assert_eq!(next(&mut scene), "keyhelm cryptounit-retire op-1");
}

#[test]
fn somebody_who_is_silent_comes_back_before_anything_else_is_done() {
    for change in [
        (|scene: &mut Scene| scene.units[REC_2].registers.current = None) as fn(&mut Scene),
        |scene| scene.units[REC_2].registers.current = Some(OTHER),
        |scene| {
            let row = scene.keystore.as_mut().unwrap().row.as_mut().unwrap();
            row.active.as_mut().unwrap().pattern = OTHER;
        },
        |scene| {
            scene.run = scene.world.inspected(Purpose::Rotate, 2);
            scene.units = ALL.map(|unit| scene.world.units[unit].report(NOW, None)).into();
        },
    ] {
        let mut scene = Scene::well();
        change(&mut scene);
        scene.silence(OP_2);
        let found = scene.explain();
        assert_eq!(found.next_command.as_deref(), Some("start operational-unit op-2"), "{found:?}");
        assert!(found.details.iter().any(|detail| detail.contains("op-2 does not answer")));
    }
}

#[test]
fn a_unit_that_went_back_during_a_rotation_ends_it_or_gets_its_folder() {
    for (mut scene, next) in [
        (Scene::started(), "keyhelm abort"),
        (Scene::decided(), "restore the data folder of operational-unit op-2"),
    ] {
        let mut newer = scene.units[OP_2].clone();
        newer.state_counter += 1;
        scene.before.push(newer);
        let found = scene.explain();
        assert_eq!(found.code, "rolled-back");
        assert!(found.next_command.unwrap().starts_with(next));
    }
}

#[test]
fn either_side_of_a_mixed_end_can_go_if_the_other_can_do_without() {
    let mut scene = Scene::rotated();
    for (unit, standing) in [
        (OP_1, Standing::Aborted),
        (REC_1, Standing::Aborted),
        (OP_2, Standing::Promoted),
        (REC_2, Standing::Promoted),
    ] {
        scene.stand(unit, standing);
    }
    scene.stand_keystore(KeystoreStanding::Aborted);
    let found = scene.explain();
    let next = "keyhelm cryptounit-retire op-2 rec-2";
    assert_eq!((found.code.as_str(), found.next_command.as_deref()), ("mixed-end", Some(next)));
}

/// All had promoted, and some volumes are old ones: whoever holds the key of the key storage stays.
#[test]
fn nobody_who_holds_the_key_that_the_keystore_has_flipped_to_can_go() {
    for (aborted, next) in [
        (vec![OP_1], "keyhelm cryptounit-retire op-1"),
        (vec![OP_1, REC_1], "keyhelm cryptounit-retire op-1 rec-1"),
        (vec![REC_1, REC_2], "restore the data folder of recovery-unit rec-1"),
    ] {
        let mut scene = Scene::ended_differently(&aborted);
        scene.stand_keystore(KeystoreStanding::Flipped);
        let found = scene.explain();
        assert_eq!((&*found.code, found.next_command.as_deref()), ("mixed-end", Some(next)));
    }
}

/// It may have flipped: only then is it known who may go.
#[test]
fn while_a_keystore_is_silent_only_who_has_aborted_can_go() {
    for (aborted, next) in [
        (vec![OP_1, REC_1], "keyhelm cryptounit-retire op-1 rec-1"),
        (vec![REC_1, REC_2], "start keystore-reencryptor reencryptor"),
    ] {
        let mut scene = Scene::ended_differently(&aborted);
        scene.keystore = None;
        let found = scene.explain();
        assert_eq!((&*found.code, found.next_command.as_deref()), ("mixed-end", Some(next)));
    }
}

#[test]
fn a_decided_rotation_that_a_unit_has_aborted_is_named_with_its_way_out() {
    let mut scene = Scene::decided();
    for unit in [OP_2, REC_1, REC_2] {
        scene.stand(unit, Standing::Bound);
    }
    scene.stand(OP_1, Standing::Aborted);
    let found = scene.explain();
    let next = "keyhelm cryptounit-retire op-1";
    assert_eq!((found.code.as_str(), found.next_command.as_deref()), ("mixed-end", Some(next)));
    assert!(found.details.iter().any(|it| it.contains("it goes forward without it")), "{found:?}");
}

#[test]
fn a_decided_rotation_that_all_recovery_units_have_aborted_is_ended_by_a_manifest_as_it_is() {
    let mut scene = Scene::decided();
    for unit in [OP_1, OP_2] {
        scene.stand(unit, Standing::Bound);
    }
    for unit in [REC_1, REC_2] {
        scene.stand(unit, Standing::Aborted);
    }
    let found = scene.explain();
    let next = "keyhelm cryptounit-retire --nobody";
    assert_eq!((found.code.as_str(), found.next_command.as_deref()), ("mixed-end", Some(next)));
    assert!(found.details.iter().any(|it| it.contains("cannot be spared")), "{found:?}");
}

#[test]
fn the_standing_order_says_when_the_next_rotation_may_start() {
    let day = 86_400;
    let told = |leave: Leave| {
        let mut scene = Scene::rotated();
        scene.leave = leave;
        for report in &mut scene.units {
            report.facts.last_promoted_at = Some(NOW);
        }
        scene.explain()
    };
    for (interval_s, until_s, word) in [
        (0, 2 * day, "allows the next rotation now, until 2026-01-03T00:00:00Z"),
        (3_601, 2 * day, "from 2026-01-01T01:00:01Z on (3,600 s from now)"),
        (2 * day, day, "before it allows another rotation (2026-01-03T00:00:00Z)"),
    ] {
        let until = NOW.plus_ms(u64::from(until_s) * 1_000);
        let found = told(Leave::Given(standing(interval_s, until)));
        assert_eq!(found.code, "all-well");
        assert!(found.details.iter().any(|detail| detail.contains(word)), "{:#?}", found.details);
    }
    let run_out = Leave::Given(standing(0, NOW));
    for (leave, word) in
        [(run_out, "has ended at 2026"), (Leave::EndedByManifest, "newest manifest")]
    {
        let found = told(leave);
        assert_eq!((found.code.as_str(), found.needs_person), ("no-standing-order", false));
        assert!(found.details.iter().any(|detail| detail.contains(word)), "{:#?}", found.details);
    }
}

#[test]
fn a_generation_that_is_open_while_nothing_runs_is_named() {
    let mut scene = Scene::well();
    let row = scene.keystore.as_mut().unwrap().row.as_mut().unwrap();
    let mut open = row.active.clone().unwrap();
    (open.state, open.pattern) = (GenerationState::Building, OTHER);
    row.open = Some(open);
    // One that every unit has cleared cannot be open in the keystore that belongs to them.
    let restore = "restore the keystore that belongs to these units";
    assert_eq!(scene.explain().next_command.as_deref(), Some(restore));
    for unit in &mut scene.units {
        unit.rotation.as_mut().unwrap().standing = Standing::Aborted;
    }
    let found = scene.explain();
    assert_eq!(found.code, "rotation-undriven");
    assert_eq!(found.next_command.as_deref(), Some("keyhelm auto-mk-rotate --yes"));
}

#[test]
fn a_keystore_that_does_not_answer_is_named_with_its_reencryptor() {
    let mut scene = Scene::well();
    scene.keystore = None;
    let found = scene.explain();
    assert_eq!(found.code, "precheck-unmet");
    assert_eq!(found.next_command.as_deref(), Some("start keystore-reencryptor reencryptor"));
    let mut scene = Scene::decided();
    scene.keystore = None;
    let found = scene.explain();
    assert_eq!(found.code, "waiting-after-decision");
    assert_eq!(found.next_command.as_deref(), Some("start keystore-reencryptor reencryptor"));
}
