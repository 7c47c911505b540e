//! What must hold before a rotation starts. All differences are listed at once, each with its mend.

use protocol::api::Unmet;
use protocol::manifest::{Manifest, Member};
use protocol::order::Purpose;
use protocol::report::{KeystoreReport, Standing, UnitReport};
use protocol::topology::PROTOCOL_VERSION;
use protocol::{Pattern, ProcessId, UnixMillis};

/// Clocks further apart than this are reported.
pub const MAX_SKEW_MS: u64 = 30_000;

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
    /// What the order is for.
    pub purpose: Purpose,
    /// What the caller insists on.
    pub expect_current: Option<Pattern>,
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
    fn unmet(&mut self, code: &str, subject: &str, text: String, mend: String) {
        self.unmet.push(Unmet { code: code.into(), subject: subject.into(), text, mend });
    }

    fn warn(&mut self, code: &str, subject: &str, text: String, mend: String) {
        self.warnings.push(Unmet { code: code.into(), subject: subject.into(), text, mend });
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
    for unit in manifest.crypto_units() {
        match surveyed.units.iter().find(|(report, _)| report.unit == unit.id) {
            None => silent(unit, "start", &mut findings),
            Some((report, at)) => check_unit(unit, report, *at, manifest, surveyed, &mut findings),
        }
    }
    let holders = holders(manifest, surveyed);
    check_current(&holders, surveyed, &mut findings);
    check_keystores(manifest, &holders, surveyed, &mut findings);
    findings.unmet.sort();
    findings.unmet.dedup();
    findings
}

fn silent(member: &Member, verb: &str, findings: &mut Findings) {
    let (role, name) = (member.role, &member.name);
    let text = format!("{role} {name} does not answer");
    findings.unmet("silent", name, text, format!("{verb} {role} {name}"));
}

fn check_unit(
    unit: &Member,
    report: &UnitReport,
    at: UnixMillis,
    manifest: &Manifest,
    surveyed: &Surveyed<'_>,
    findings: &mut Findings,
) {
    let name = unit.name.as_str();
    let facts = &report.facts;
    if facts.protocol_version != PROTOCOL_VERSION {
        let version = facts.protocol_version;
        let text = format!("{name} speaks protocol {version}, this coordinator {PROTOCOL_VERSION}");
        findings.unmet("protocol-version", name, text, format!("upgrade {} {name}", unit.role));
    }
    let skew_ms = facts.clock.since(at).max(at.since(facts.clock));
    if skew_ms > MAX_SKEW_MS {
        let text = format!("the clock of {name} is {} s off", skew_ms / 1000);
        findings.unmet("clock-skew", name, text, format!("set the clock of {name}"));
    }
    if facts.is_storage_key_local {
        let text = format!("{name} keeps its storage key on its own volume");
        let mend = format!("give {name} a storage_key_file from elsewhere");
        findings.warn("local-storage-key", name, text, mend);
    }
    if facts.is_imprint {
        let text = format!("{name} is in imprint mode (signature threshold 0)");
        findings.unmet("imprint-mode", name, text, format!("keyhelm cryptounit-enroll {name}"));
        return;
    }
    if report.manifest_serial != manifest.serial {
        let (has, newest) = (report.manifest_serial, manifest.serial);
        let text = format!(
            "{name} has manifest {has}, the newest is {newest}: thresholds and administrators may \
             differ"
        );
        findings.unmet("manifest-differs", name, text, format!("keyhelm cryptounit-enroll {name}"));
    }
    check_registers(name, report, surveyed, findings);
}

fn check_registers(
    name: &str,
    report: &UnitReport,
    surveyed: &Surveyed<'_>,
    findings: &mut Findings,
) {
    let registers = &report.registers;
    let is_first = surveyed.purpose == Purpose::Initialise;
    let rotation = report
        .rotation
        .as_ref()
        .filter(|found| matches!(found.standing, Standing::Bound | Standing::Promoted));
    if let Some(found) = rotation {
        let id = found.order.rotation;
        let text = format!("{name} is bound to rotation {id}");
        let mend = match found.standing {
            Standing::Bound => format!("keyhelm abort {id}"),
            _ => format!("keyhelm rotations {id}"),
        };
        findings.unmet("bound", name, text, mend);
    }
    let (new, retiring) = (registers.new_status(), registers.retiring_status());
    if registers.new.is_some() && rotation.is_none() {
        let text = format!("the new master key register of {name} is {new}, not Empty");
        findings.unmet("new-not-empty", name, text, format!("keyhelm cryptounit-retire {name}"));
    }
    if registers.retiring.is_some() && rotation.is_none() {
        let text = format!("the retiring master key register of {name} is {retiring}, not Empty");
        findings.unmet(
            "retiring-not-empty",
            name,
            text,
            format!("keyhelm cryptounit-retire {name}"),
        );
    }
    match (is_first, registers.current) {
        (true, Some(pattern)) => {
            let text = format!("{name} holds a master key already, pattern {pattern}");
            findings.unmet("current-not-empty", name, text, "keyhelm auto-mk-rotate".to_owned());
        }
        (false, None) => {
            let text = format!("the current master key register of {name} is Empty, not Valid");
            findings.unmet(
                "current-empty",
                name,
                text,
                format!("keyhelm cryptounit-retire {name}"),
            );
        }
        _ => {}
    }
}

/// Units by the pattern of their current register.
fn holders(manifest: &Manifest, surveyed: &Surveyed<'_>) -> Vec<(Pattern, Vec<String>)> {
    let mut holders: Vec<(Pattern, Vec<String>)> = Vec::new();
    for unit in manifest.crypto_units() {
        let heard = surveyed.units.iter().find(|(report, _)| report.unit == unit.id);
        let Some(pattern) = heard.and_then(|(report, _)| report.registers.current) else {
            continue;
        };
        match holders.iter_mut().find(|(found, _)| *found == pattern) {
            Some((_, names)) => names.push(unit.name.clone()),
            None => holders.push((pattern, vec![unit.name.clone()])),
        }
    }
    holders.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    holders
}

fn check_current(
    holders: &[(Pattern, Vec<String>)],
    surveyed: &Surveyed<'_>,
    findings: &mut Findings,
) {
    let Some(((common, _), others)) = holders.split_first() else { return };
    for (pattern, names) in others {
        for name in names {
            let text = format!(
                "the current master key of {name} has pattern {}..., that of most units {}...",
                pattern.short(),
                common.short()
            );
            let mend = format!("keyhelm cryptounit-retire {name}");
            findings.unmet("current-differs", name, text, mend);
        }
    }
    if let Some(expected) = surveyed.expect_current
        && expected != *common
    {
        let text = format!("the current pattern is {common}, not {expected} as expected");
        let mend = "keyhelm cryptounit-mks".to_owned();
        findings.unmet("unexpected-pattern", "instance", text, mend);
    }
}

fn check_keystores(
    manifest: &Manifest,
    holders: &[(Pattern, Vec<String>)],
    surveyed: &Surveyed<'_>,
    findings: &mut Findings,
) {
    let common = holders.first().map(|(pattern, _)| *pattern);
    let rows = || surveyed.keystores.iter().filter_map(|(report, _)| report.row.as_ref());
    for id in &manifest.keystores {
        let subject = format!("keystore {id}");
        let Some(row) = rows().find(|row| row.keystore == *id) else {
            let text = format!("no reencryptor answers for {subject}");
            let mend = "start keystore-reencryptor".to_owned();
            findings.unmet("keystore-silent", &subject, text, mend);
            continue;
        };
        if let (Some(_), Some(rotation)) = (&row.open, &row.rotation) {
            let text = format!("{subject} is being re-encrypted by rotation {}", rotation.rotation);
            let mend = format!("keyhelm abort {}", rotation.rotation);
            findings.unmet("keystore-open", &subject, text, mend);
        }
        let active = row.active.as_ref().map(|active| active.pattern);
        if surveyed.purpose == Purpose::Initialise && row.version_count > 0 {
            let text = format!("{subject} has {} key versions", row.version_count);
            let mend = "give the instance an empty keystore".to_owned();
            findings.unmet("keystore-not-empty", &subject, text, mend);
        } else if surveyed.purpose == Purpose::Rotate && active != common {
            let shown = active.map_or_else(|| "none".to_owned(), |found| found.to_string());
            let text =
                format!("{subject} is under pattern {shown}, which no unit holds as current");
            let mend = "restore the keystore that belongs to these units".to_owned();
            findings.unmet("keystore-differs", &subject, text, mend);
        }
    }
}

/// The recovery unit that shall make the master key: the first that answers.
pub fn choose_generator(surveyed: &Surveyed<'_>) -> Option<ProcessId> {
    let manifest = surveyed.manifest?;
    manifest
        .of_role(protocol::Role::RecoveryUnit)
        .map(|member| member.id)
        .find(|id| surveyed.units.iter().any(|(report, _)| report.unit == *id))
}
