//! What must hold before a rotation starts. All differences are listed at once, each with its mend:
//! a command that can be typed as it stands, or a sentence where no command can mend it.

pub(crate) mod keystores;
pub(crate) mod recover;
pub(crate) mod units;

use protocol::api::Unmet;
use protocol::manifest::{Manifest, Member};
use protocol::order::Purpose;
use protocol::report::{KeystoreReport, UnitReport};
use protocol::{Pattern, ProcessId, Role, RotationId, UnixMillis};

/// Clocks further apart than this are reported.
pub const MAX_SKEW_MS: u64 = 30_000;

/// What takes up a rotation that units or keystores are in and nobody drives.
pub const TAKE_UP: &str = "keyhelm auto-mk-rotate --yes";
/// What ends an order to recover that units are bound to and nobody drives.
pub const TAKE_UP_RECOVERY: &str = "keyhelm auto-mk-recover";

/// A report, and the coordinator's clock when it came.
pub type Heard<'a, T> = (&'a T, UnixMillis);

/// Everything that precheck looks at.
#[derive(Debug)]
pub struct Surveyed<'a> {
    /// The newest manifest; none before `auto-init`.
    pub manifest: Option<&'a Manifest>,
    /// Units that answered.
    pub units: Vec<Heard<'a, UnitReport>>,
    /// Reencryptors that answered.
    pub keystores: Vec<Heard<'a, KeystoreReport>>,
    /// Who has announced itself, in the manifest or not.
    pub announced: Vec<&'a Member>,
    /// The rotation that the coordinator drives.
    pub running: Option<RotationId>,
    /// What the order is for.
    pub purpose: Purpose,
    /// Units that the order lets join: their current registers are Empty.
    pub joining: &'a [ProcessId],
    /// The coordinator that asks.
    pub coordinator: ProcessId,
    /// What the caller insists on.
    pub expect_current: Option<Pattern>,
    /// Key versions that the last rotation counted; 0 if nobody knows.
    pub counted_before: u64,
}

/// What keeps a rotation from starting, and what is worth knowing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Keeps it from starting.
    pub unmet: Vec<Unmet>,
    /// Does not.
    pub warnings: Vec<Unmet>,
}

impl Findings {
    /// Adds what keeps the rotation from starting.
    pub fn unmet(&mut self, code: &str, subject: &str, text: String, mend: String) {
        self.unmet.push(Unmet { code: code.into(), subject: subject.into(), text, mend });
    }

    pub(crate) fn warn(&mut self, code: &str, subject: &str, text: String, mend: String) {
        self.warnings.push(Unmet { code: code.into(), subject: subject.into(), text, mend });
    }

    /// Whether a condition of one of these codes is about this subject.
    pub fn has(&self, codes: &[&str], subject: &str) -> bool {
        let is_it =
            |unmet: &Unmet| unmet.subject == subject && codes.contains(&unmet.code.as_str());
        self.unmet.iter().any(is_it)
    }

    /// Puts them in order, each once.
    pub fn sort(&mut self) {
        self.unmet.sort();
        self.unmet.dedup();
    }
}

/// Lists all differences.
pub fn precheck(surveyed: &Surveyed<'_>) -> Findings {
    let mut findings = Findings::default();
    let Some(manifest) = surveyed.manifest else {
        let text = "the instance has no manifest: its units are in imprint mode".to_owned();
        findings.unmet("not-initialised", "instance", text, "keyhelm auto-init".to_owned());
        return findings;
    };
    if !manifest.names(surveyed.coordinator, Role::Coordinator) {
        let text = "the manifest does not name this coordinator: nobody obeys it".to_owned();
        let mend = format!("keyhelm cryptounit-enroll {} --replace", surveyed.coordinator);
        findings.unmet("coordinator-unknown", "coordinator", text, mend);
    }
    if let Some(recovery) = surveyed.purpose.recovery() {
        recover::check(recovery, manifest, surveyed, &mut findings);
        findings.sort();
        return findings;
    }
    for unit in manifest.crypto_units() {
        match surveyed.units.iter().find(|(report, _)| report.unit == unit.id) {
            None => units::silent(unit, manifest, surveyed, &mut findings),
            Some((report, at)) => {
                let checked = units::Checked { unit, report, manifest, surveyed };
                checked.check(*at, &mut findings);
            }
        }
    }
    check_current(&holders(manifest, surveyed), manifest, surveyed, &mut findings);
    keystores::check(manifest, surveyed, &mut findings);
    findings.sort();
    findings
}

/// The pattern that every unit of the manifest should hold as current: the one that the keystore is
/// under, where a unit holds it, else that of most units. None if no unit holds any.
pub fn reference(surveyed: &Surveyed<'_>) -> Option<Pattern> {
    let holders = holders(surveyed.manifest?, surveyed);
    holders.first().map(|held| held.pattern)
}

/// Who holds a pattern as current.
struct Held<'a> {
    pattern: Pattern,
    keystore_count: usize,
    /// Each unit, and whether a rotation holds it: then another may differ from it rightly.
    units: Vec<(&'a Member, bool)>,
}

/// Units by the pattern of their current register, that of the keystore first: whoever holds it must
/// stay, however few they are.
fn holders<'a>(manifest: &'a Manifest, surveyed: &Surveyed<'_>) -> Vec<Held<'a>> {
    let mut holders: Vec<Held<'a>> = Vec::new();
    for unit in manifest.crypto_units() {
        let heard = surveyed.units.iter().find(|(report, _)| report.unit == unit.id);
        let Some((report, _)) = heard else { continue };
        let Some(pattern) = report.registers.current else { continue };
        let entry = (unit, units::in_rotation(report).is_some());
        match holders.iter_mut().find(|held| held.pattern == pattern) {
            Some(held) => held.units.push(entry),
            None => {
                let keystore_count = keystores::under(pattern, manifest, surveyed);
                holders.push(Held { pattern, keystore_count, units: vec![entry] });
            }
        }
    }
    holders.sort_by_key(|held| std::cmp::Reverse((held.keystore_count, held.units.len())));
    holders
}

fn check_current(
    holders: &[Held<'_>],
    manifest: &Manifest,
    surveyed: &Surveyed<'_>,
    findings: &mut Findings,
) {
    let Some((common, others)) = holders.split_first() else { return };
    let whose = match common.keystore_count {
        0 => "that of most units",
        _ => "that of the keystore",
    };
    for Held { pattern, units, .. } in others {
        for (unit, _) in units.iter().filter(|(_, is_in_rotation)| !is_in_rotation) {
            let text = format!(
                "the current master key of {} has pattern {}..., {whose} {}...",
                unit.name,
                pattern.short(),
                common.pattern.short()
            );
            let mend = units::retire(unit, manifest);
            findings.unmet("current-differs", &unit.name, text, mend);
        }
    }
    if let Some(expected) = surveyed.expect_current
        && expected != common.pattern
    {
        let pattern = common.pattern;
        let text = format!("the current pattern is {pattern}, not {expected} as expected");
        let mend = format!("keyhelm auto-mk-rotate --expect-current-pattern {pattern}");
        findings.unmet("unexpected-pattern", "instance", text, mend);
    }
}

/// The recovery unit that shall make the master key: the first that answers.
pub fn choose_generator(surveyed: &Surveyed<'_>) -> Option<ProcessId> {
    let recovery = surveyed.manifest?.of_role(Role::RecoveryUnit).map(|member| member.id);
    let answers = |id: &ProcessId| surveyed.units.iter().any(|(report, _)| report.unit == *id);
    let there: Vec<_> = recovery.filter(answers).collect();
    let holds = |id: &&ProcessId| !surveyed.joining.contains(id);
    there.iter().find(holds).or_else(|| there.first()).copied()
}
