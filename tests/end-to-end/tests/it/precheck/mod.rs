//! Goal: whatever keeps a rotation from starting is all named, nothing has changed, and what the
//! message says mends it does mend it. Method: each condition broken alone, then two and three at
//! once; the state of everybody compared before and after; the mends carried out to the letter; and
//! the next run must succeed.

mod breaks;
mod mends;
mod stage;
mod state;

use std::collections::BTreeSet;
use std::time::Instant;

use end_to_end::cluster::{INSTANCE, UNITS, text_of};

use self::breaks::Break;
use self::stage::{Run, Stage, Unmet};
use self::state::Amiss;
use crate::words;

const ROTATE_LINE: &str = "auto-mk-rotate --yes";
const ROTATE: Run = Run::Keyhelm(ROTATE_LINE);
const TAKE_UP: &str = "keyhelm auto-mk-rotate --yes";
const DRY_RUN: Run = Run::Keyhelm("auto-mk-rotate --dry-run");
const RESTORE: &str = "restore the keystore that belongs to these units";
const SIGN: &str = "keyhelm auto-mk-rotate --sign";

/// Code, subject, mend. `{units}` stands for each crypto unit, `{name}` for the subject, `{pattern}`
/// and `{keystore}` for what they are.
type Expected = (&'static str, &'static str, &'static str);

/// What is broken, how the rotation is asked for, and what is said.
struct Case {
    name: &'static str,
    breaks: &'static [Break],
    run: Run,
    expected: &'static [Expected],
}

const SKEWED: &str = "set the clock of {name}";
const RETIRED: &str = "keyhelm cryptounit-retire {name}";
const RECOVERED: &str = "keyhelm auto-mk-recover --unit {name}";
const KEYSTORE: &str = "keystore {keystore}";
const REENCRYPTOR: &str = "start keystore-reencryptor reencryptor";

/// Units that a case retires are used by no case after it.
const CASES: &[Case] = &[
    Case {
        name: "no standing order",
        breaks: &[Break::NoStandingOrder],
        run: Run::Queue("{}"),
        expected: &[("no-standing-order", "instance", SIGN)],
    },
    Case {
        name: "a silent unit",
        breaks: &[Break::Silent("op-2")],
        run: ROTATE,
        expected: &[("silent", "op-2", "start operational-unit op-2")],
    },
    Case {
        name: "a unit started with another folder",
        breaks: &[Break::OtherFolder("rec-2")],
        run: ROTATE,
        expected: &[("silent", "rec-2", "restore the data folder of recovery-unit rec-2")],
    },
    Case {
        name: "a clock that is behind",
        breaks: &[Break::Clock("op-1", -45)],
        run: ROTATE,
        expected: &[("clock-skew", "op-1", SKEWED)],
    },
    Case {
        name: "an older protocol",
        breaks: &[Break::OldProtocol("rec-1")],
        run: ROTATE,
        expected: &[("protocol-version", "rec-1", "upgrade recovery-unit rec-1")],
    },
    Case {
        name: "imprint mode",
        breaks: &[Break::Imprint("op-4")],
        run: ROTATE,
        expected: &[("imprint-mode", "op-4", RETIRED)],
    },
    Case {
        name: "a new register that is full",
        breaks: &[Break::Register("op-5", Amiss::New)],
        run: ROTATE,
        expected: &[("new-not-empty", "op-5", RETIRED)],
    },
    Case {
        name: "a retiring register that is full",
        breaks: &[Break::Register("op-6", Amiss::Retiring)],
        run: ROTATE,
        expected: &[("retiring-not-empty", "op-6", RETIRED)],
    },
    Case {
        name: "a current register that is empty",
        breaks: &[Break::Register("op-7", Amiss::Empty)],
        run: ROTATE,
        expected: &[("current-empty", "op-7", RECOVERED)],
    },
    Case {
        name: "a current register with another key",
        breaks: &[Break::Register("op-8", Amiss::Other)],
        run: ROTATE,
        expected: &[("current-differs", "op-8", RETIRED)],
    },
    Case {
        name: "records that are older than the units' manifest",
        breaks: &[Break::OldRecords],
        run: ROTATE,
        expected: &[(
            "manifest-differs",
            "{units}",
            "restore the coordinator's records, and restart it",
        )],
    },
    Case {
        name: "a silent keystore",
        breaks: &[Break::Silent("reencryptor")],
        run: ROTATE,
        expected: &[("keystore-silent", KEYSTORE, REENCRYPTOR)],
    },
    Case {
        name: "a keystore of before the last rotation",
        breaks: &[Break::OldKeystore],
        run: ROTATE,
        expected: &[("keystore-differs", KEYSTORE, RESTORE)],
    },
    Case {
        name: "a keystore that stayed open",
        breaks: &[Break::LeftOpen],
        run: DRY_RUN,
        expected: &[("keystore-open", KEYSTORE, TAKE_UP)],
    },
    Case {
        name: "a rotation that nobody drives",
        breaks: &[Break::Undriven("generate")],
        run: DRY_RUN,
        expected: &[("bound", "{units}", TAKE_UP)],
    },
    Case {
        name: "another pattern than expected",
        breaks: &[Break::Nothing],
        run: Run::Queue(
            r#"{"expect_current_pattern":
                "0707070707070707070707070707070707070707070707070707070707070707"}"#,
        ),
        expected: &[(
            "unexpected-pattern",
            "instance",
            "keyhelm auto-mk-rotate --expect-current-pattern {pattern}",
        )],
    },
    Case {
        name: "a standing order whose interval has just begun",
        breaks: &[Break::JustRotated],
        run: ROTATE,
        expected: &[("no-leave", "{units}", SIGN)],
    },
    Case {
        name: "a standing order that has ended",
        breaks: &[Break::StandingEnded],
        run: Run::Http("rotations", "{}"),
        expected: &[("no-leave", "{units}", SIGN)],
    },
    Case {
        name: "a plan that was never made",
        breaks: &[Break::Nothing],
        run: Run::Keyhelm(
            "auto-mk-rotate --yes --plan \
             0808080808080808080808080808080808080808080808080808080808080808",
        ),
        expected: &[("plan-moved", "plan", "keyhelm auto-mk-rotate --dry-run")],
    },
    Case {
        name: "an initialisation of what is initialised",
        breaks: &[Break::Nothing],
        run: Run::Http(
            "order-drafts",
            r#"{"purpose": "initialise", "mode": "strict", "valid_for_s": 60}"#,
        ),
        expected: &[
            ("current-not-empty", "{units}", "keyhelm auto-mk-rotate"),
            ("keystore-not-empty", KEYSTORE, "keyhelm auto-mk-rotate"),
        ],
    },
    Case {
        name: "two: silent, and a clock so far ahead that orders expire",
        breaks: &[Break::Silent("op-1"), Break::Clock("rec-2", 400)],
        run: ROTATE,
        expected: &[
            ("silent", "op-1", "start operational-unit op-1"),
            ("clock-skew", "rec-2", SKEWED),
        ],
    },
    Case {
        name: "two: a rotation that nobody drives, its keystore open",
        breaks: &[Break::Undriven("reencrypt")],
        run: DRY_RUN,
        expected: &[("bound", "{units}", TAKE_UP), ("keystore-open", KEYSTORE, TAKE_UP)],
    },
    Case {
        name: "two: a keystore of mid-rotation, older than the last one",
        breaks: &[Break::OldOpenKeystore],
        run: ROTATE,
        expected: &[("keystore-open", KEYSTORE, RESTORE), ("keystore-differs", KEYSTORE, RESTORE)],
    },
    Case {
        name: "two: another key, and a silent keystore",
        breaks: &[Break::Register("op-9", Amiss::Other), Break::Silent("reencryptor")],
        run: ROTATE,
        expected: &[
            ("current-differs", "op-9", RETIRED),
            ("keystore-silent", KEYSTORE, REENCRYPTOR),
        ],
    },
    Case {
        name: "three: an empty register, a silent unit, an older protocol",
        breaks: &[
            Break::Register("op-10", Amiss::Empty),
            Break::Silent("rec-1"),
            Break::OldProtocol("op-3"),
        ],
        run: ROTATE,
        expected: &[
            ("current-empty", "op-10", RECOVERED),
            ("silent", "rec-1", "start recovery-unit rec-1"),
            ("protocol-version", "op-3", "upgrade operational-unit op-3"),
        ],
    },
    Case {
        name: "two: silent, another pattern than expected, and no look at the keys",
        breaks: &[Break::Silent("op-3")],
        run: Run::Keyhelm(
            "auto-mk-rotate --yes --check-keys --expect-current-pattern \
             0707070707070707070707070707070707070707070707070707070707070707",
        ),
        expected: &[
            ("silent", "op-3", "start operational-unit op-3"),
            (
                "unexpected-pattern",
                "instance",
                "keyhelm auto-mk-rotate --expect-current-pattern {pattern}",
            ),
        ],
    },
];

fn spelled((code, subject, mend): (&str, &str, &str)) -> Unmet {
    (code.to_owned(), subject.to_owned(), mend.to_owned())
}

/// Conditions of the request, of which a look at the cluster says nothing.
const OF_REQUEST: [&str; 7] = [
    "no-standing-order",
    "no-leave",
    "unexpected-pattern",
    "plan-moved",
    "current-not-empty",
    "keystore-not-empty",
    "not-initialised",
];

impl Stage {
    async fn spelled_out(&self, expected: &[Expected]) -> BTreeSet<Unmet> {
        let (pattern, keystore) = self.names().await;
        let mut units: Vec<_> = self.members().await.into_iter().map(|(name, _)| name).collect();
        units.retain(|name| name.starts_with("op-") || name.starts_with("rec-"));
        let mut all = BTreeSet::new();
        for (code, subject, mend) in expected {
            let subjects = match *subject {
                "{units}" => units.clone(),
                one => vec![one.replace("{keystore}", &keystore)],
            };
            for subject in subjects {
                let mend = mend.replace("{pattern}", &pattern).replace("{name}", &subject);
                all.insert(((*code).to_owned(), subject, mend));
            }
        }
        all
    }

    /// Breaks, is refused, sees that nothing has changed, mends as told, and rotates.
    async fn plays(&mut self, case: &Case) {
        let begun = Instant::now();
        let name = case.name;
        for one in case.breaks {
            self.broken(*one).await;
        }
        let expected = self.spelled_out(case.expected).await;
        let is_seen = |unmet: &&Unmet| !OF_REQUEST.contains(&unmet.0.as_str());
        let seen = expected.iter().filter(is_seen).cloned().collect();
        self.settles_at(name, &seen).await;
        let before = self.everything().await;
        let found = self.refused(name, case.run).await;
        assert_eq!(found, expected, "{name}");
        if matches!(case.run, Run::Keyhelm(line) if line == ROTATE_LINE) {
            let tried = self.refused(name, Run::Keyhelm("auto-mk-rotate --dry-run")).await;
            assert_eq!(tried, expected, "{name}, tried out");
        }
        let after = self.everything().await;
        assert!(before == after, "{name}: something has changed");
        let mut mends: Vec<String> = Vec::new();
        for (.., mend) in found {
            if !mends.contains(&mend) {
                mends.push(mend);
            }
        }
        // What is asked for otherwise succeeds once everything else is mended.
        mends.sort_by_key(|mend| mend.starts_with("keyhelm auto-mk-rotate"));
        let mut has_rotated = false;
        for mend in &mends {
            if mend.starts_with("keyhelm auto-mk-rotate") {
                let is_left = |unmet: &&Unmet| unmet.2 == *mend && is_seen(unmet);
                let left = expected.iter().filter(is_left).cloned().collect();
                self.settles_at(name, &left).await;
            }
            has_rotated |= self.mended(mend).await;
        }
        self.settles_at(name, &BTreeSet::new()).await;
        if !has_rotated {
            self.rotates().await;
        }
        self.standing_order("0s").await;
        println!("{:>6.2} s  {name}: {}", begun.elapsed().as_secs_f64(), mends.join("; "));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_condition_alone_and_two_and_three_at_once_are_named_and_mended_as_told() {
    let more = ["op-4", "op-5", "op-6", "op-7", "op-8", "op-9", "op-10"];
    let Some(mut stage) = Stage::start(&more).await else { return };
    for run in [Run::Http("rotations", "{}"), Run::Queue("{}")] {
        let before = stage.everything().await;
        let found = stage.refused("not initialised", run).await;
        assert_eq!(found, [spelled(("not-initialised", "instance", "keyhelm auto-init"))].into());
        assert!(stage.everything().await == before, "not initialised: something has changed");
    }
    let said = text_of(&stage.cluster.keyhelm(&words("auto-mk-rotate --yes")).await.unwrap());
    assert!(
        said.starts_with("exit status: 3") && said.contains("next: keyhelm auto-init"),
        "{said}"
    );
    assert!(!stage.mended("keyhelm auto-init").await);
    stage.rotates().await;
    stage.cluster.expect(0, &words("keys create --count 10")).await.unwrap();
    for case in CASES {
        stage.plays(case).await;
    }
    stage.cluster.expect(0, &words("keys check")).await.unwrap();
    stage.cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_first_master_key_too() {
    let Some(mut stage) = Stage::start(&[]).await else { return };
    // A key of somebody else: under no master key that these units will ever hold.
    let instance = protocol::InstanceId::named(INSTANCE).uuid();
    let sql = "INSERT INTO key_versions (instance, version, key, created_at, born)
               VALUES ($1, $2, $3, 0, 0)";
    let (version, key) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    stage.sql().await.execute(sql, &[&instance, &version, &key]).await.unwrap();
    let init = "auto-init --patience 1s --trust-first-use --passphrase-file passphrase";
    stage.cluster.expect(3, &words(init)).await.unwrap();

    let (_, keystore) = stage.names().await;
    let subject = format!("keystore {keystore}");
    let not_empty =
        spelled(("keystore-not-empty", &subject, "give the instance an empty keystore"));
    let empty = UNITS.map(|(name, _)| spelled(("current-empty", name, "keyhelm auto-init")));
    let rotate = "auto-mk-rotate --yes --passphrase-file passphrase";
    for (run, expected) in [(init, [not_empty].into()), (rotate, empty.into())] {
        let before = stage.everything().await;
        let found = stage.refused(run, Run::Keyhelm(run)).await;
        assert_eq!(found, expected, "{run}");
        assert!(stage.everything().await == before, "{run}: something has changed");
    }
    for mend in ["give the instance an empty keystore", "keyhelm auto-init"] {
        assert!(!stage.mended(mend).await);
    }
    stage.settles_at("initialised", &BTreeSet::new()).await;
    stage.rotates().await;
    stage.cluster.stop().await.unwrap();
}
