//! What must hold of each crypto unit.

use protocol::UnixMillis;
use protocol::keystore::KeystoreRotation;
use protocol::manifest::{Manifest, Member};
use protocol::order::{Purpose, Recovery};
use protocol::report::{KeystoreReport, Standing, UnitReport, UnitRotation};
use protocol::topology::PROTOCOL_VERSION;

use super::{Findings, MAX_SKEW_MS, Surveyed, TAKE_UP, TAKE_UP_RECOVERY, keystores, recover};

/// A unit of the manifest that does not answer. Where another process goes by its name and role, it
/// was started with another folder than its own, and starting it again cannot help.
pub(super) fn silent(
    unit: &Member,
    manifest: &Manifest,
    surveyed: &Surveyed<'_>,
    findings: &mut Findings,
) {
    let (role, name) = (unit.role, &unit.name);
    let is_namesake = |member: &&&Member| {
        member.name == *name && member.role == role && manifest.member(member.id).is_none()
    };
    let (text, mend) = match surveyed.announced.iter().find(is_namesake) {
        None => (format!("{role} {name} does not answer"), format!("start {role} {name}")),
        Some(other) => {
            let text = format!(
                "{role} {name} does not answer; process {} goes by its name, is no member and has \
                 none of its keys (if they are lost: {})",
                other.id,
                retire(unit, manifest)
            );
            (text, restore(unit))
        }
    };
    findings.unmet("silent", name, text, mend);
}

/// The unit goes, the others rotate. The last one of its role cannot go.
pub(crate) fn retire(unit: &Member, manifest: &Manifest) -> String {
    if manifest.of_role(unit.role).count() < 2 {
        return restore(unit);
    }
    format!("keyhelm cryptounit-retire {}", shown(unit, manifest))
}

/// Its name, or its id where another member goes by the same name.
pub(crate) fn shown(unit: &Member, manifest: &Manifest) -> String {
    match manifest.members.iter().filter(|member| member.name == unit.name).count() {
        1 => unit.name.clone(),
        _ => unit.id.to_string(),
    }
}

/// The unit gets its own state back.
pub(crate) fn restore(unit: &Member) -> String {
    format!("restore the data folder of {} {}", unit.role, unit.name)
}

/// The rotation that holds the unit.
pub(crate) fn in_rotation(report: &UnitReport) -> Option<&UnitRotation> {
    let found = report.rotation.as_ref();
    found.filter(|found| matches!(found.standing, Standing::Bound | Standing::Promoted))
}

/// Whether a unit is still to clear a rotation that others have left for a later one, and that is over in
/// the keystore: a rogue coordinator has ordered that too early, or the unit's state is an old one.
pub(crate) fn is_left_behind<'a>(
    found: &UnitRotation,
    mut units: impl Iterator<Item = &'a UnitReport>,
    keystores: impl Iterator<Item = &'a KeystoreReport>,
) -> bool {
    let rotations: Vec<_> =
        keystores.filter_map(|report| report.row.as_ref()?.rotation.as_ref()).collect();
    let is_left_open = |shown: &KeystoreRotation| {
        shown.order_digest == found.order.digest && !shown.standing.is_over()
    };
    let number = found.order.number;
    let is_past = units.any(|report| report.last_number() > number)
        || rotations.iter().any(|shown| shown.number > number);
    found.standing == Standing::Promoted && is_past && !rotations.into_iter().any(is_left_open)
}

/// Between whom the order is that holds the unit, if it is one to recover.
pub(crate) fn recovery(found: &UnitRotation) -> Option<Recovery> {
    found.signed_order.unverified().ok()?.purpose.recovery()
}

/// A unit that answered.
pub(super) struct Checked<'a> {
    pub(super) unit: &'a Member,
    pub(super) report: &'a UnitReport,
    pub(super) manifest: &'a Manifest,
    pub(super) surveyed: &'a Surveyed<'a>,
}

impl Checked<'_> {
    pub(super) fn check(&self, at: UnixMillis, findings: &mut Findings) {
        if self.check_to_recover(at, findings) {
            self.check_current(findings);
        }
    }

    /// What must hold of either unit of an order to recover, but for its current register. Whether that
    /// one can be judged: what the registers of a bound unit should hold, only its rotation knows.
    pub(super) fn check_to_recover(&self, at: UnixMillis, findings: &mut Findings) -> bool {
        self.check_process(at, findings);
        if self.report.facts.is_imprint {
            self.unmet_imprint(findings);
            return false;
        }
        self.check_manifest(findings);
        if let Some(found) = in_rotation(self.report) {
            self.unmet_bound(found, findings);
            return false;
        }
        self.check_left_over(findings);
        true
    }

    fn unmet(&self, code: &str, text: String, mend: String, findings: &mut Findings) {
        findings.unmet(code, &self.unit.name, text, mend);
    }

    fn retire(&self) -> String {
        retire(self.unit, self.manifest)
    }

    /// Its program, its clock, its storage.
    fn check_process(&self, at: UnixMillis, findings: &mut Findings) {
        let (role, name) = (self.unit.role, self.unit.name.as_str());
        let facts = &self.report.facts;
        let version = facts.protocol_version;
        if version != PROTOCOL_VERSION {
            let text =
                format!("{name} speaks protocol {version}, this coordinator {PROTOCOL_VERSION}");
            let mend = match version < PROTOCOL_VERSION {
                true => format!("upgrade {role} {name}"),
                false => "upgrade the coordinator".to_owned(),
            };
            self.unmet("protocol-version", text, mend, findings);
        }
        let skew_ms = facts.clock.since(at).max(at.since(facts.clock));
        if skew_ms > MAX_SKEW_MS {
            let text = format!("the clock of {name} is {} s off", skew_ms / 1000);
            self.unmet("clock-skew", text, format!("set the clock of {name}"), findings);
        }
        if facts.is_storage_key_local {
            let text = format!("{name} keeps its storage key on its own volume");
            let mend = format!("give {name} a storage_key_file from elsewhere");
            findings.warn("local-storage-key", name, text, mend);
        }
    }

    /// It is handed the manifest whenever it speaks. Before the first master key nothing is lost by
    /// waiting for it; after it, a unit that has no manifest has lost its state.
    fn unmet_imprint(&self, findings: &mut Findings) {
        let name = &self.unit.name;
        let (text, mend) = match self.surveyed.purpose {
            Purpose::Initialise => (
                format!("{name} is in imprint mode: it has not taken the manifest yet"),
                "keyhelm auto-init".to_owned(),
            ),
            Purpose::Recover { .. } => (
                format!("{name} is in imprint mode: it has not taken the manifest yet"),
                "keyhelm auto-mk-recover".to_owned(),
            ),
            Purpose::Rotate => (
                format!("{name} is in imprint mode (signature threshold 0): its state is gone"),
                self.retire(),
            ),
        };
        self.unmet("imprint-mode", text, mend, findings);
    }

    fn check_manifest(&self, findings: &mut Findings) {
        let (name, has) = (&self.unit.name, self.report.manifest_serial);
        let newest = self.manifest.serial;
        if has < newest {
            let text = format!(
                "{name} has manifest {has}, the newest is {newest}: thresholds and administrators \
                 may differ"
            );
            let mend = format!("keyhelm cryptounit-enroll {name}");
            self.unmet("manifest-differs", text, mend, findings);
        }
        if has > newest {
            let text = format!(
                "{name} has manifest {has}, the coordinator's records end at {newest}: thresholds \
                 and administrators may differ"
            );
            let mend = "restore the coordinator's records, and restart it".to_owned();
            self.unmet("manifest-differs", text, mend, findings);
        }
    }

    /// Outside of a rotation only the current register holds a key.
    fn check_left_over(&self, findings: &mut Findings) {
        let (name, registers) = (&self.unit.name, &self.report.registers);
        if registers.new.is_some() {
            let status = registers.new_status();
            let text = format!("the new master key register of {name} is {status}, not Empty");
            self.unmet("new-not-empty", text, self.retire(), findings);
        }
        if registers.retiring.is_some() {
            let status = registers.retiring_status();
            let text = format!("the retiring master key register of {name} is {status}, not Empty");
            self.unmet("retiring-not-empty", text, self.retire(), findings);
        }
    }

    pub(super) fn unmet_bound(&self, found: &UnitRotation, findings: &mut Findings) {
        let (name, id) = (&self.unit.name, found.order.rotation);
        let is_running = self.surveyed.running == Some(id);
        let (text, mend) = match (is_running, found.standing) {
            (false, _) if recovery(found).is_some() => (
                format!("{name} is bound to recovery {id}, which no coordinator drives"),
                TAKE_UP_RECOVERY.to_owned(),
            ),
            (true, Standing::Bound) => {
                (format!("{name} is bound to rotation {id}"), format!("keyhelm abort {id}"))
            }
            (true, _) => (
                format!("{name} is bound to rotation {id}"),
                format!("keyhelm rotations {id} --follow"),
            ),
            (false, _) if self.is_left_behind(found) => (
                format!("{name} is still in rotation {id}, which others have left for a later one"),
                self.retire(),
            ),
            (false, _) => (
                format!("{name} is bound to rotation {id}, which no coordinator drives"),
                TAKE_UP.to_owned(),
            ),
        };
        self.unmet("bound", text, mend, findings);
    }

    fn is_left_behind(&self, found: &UnitRotation) -> bool {
        let units = self.surveyed.units.iter().map(|(report, _)| *report);
        is_left_behind(found, units, self.surveyed.keystores.iter().map(|(report, _)| *report))
    }

    fn check_current(&self, findings: &mut Findings) {
        let name = &self.unit.name;
        let is_first = self.surveyed.purpose == Purpose::Initialise;
        let joins = self.surveyed.joining.contains(&self.unit.id);
        match (is_first || joins, self.report.registers.current) {
            (true, Some(pattern)) if joins => {
                let text = format!("{name} shall join, but holds a master key, pattern {pattern}");
                let mend = "keyhelm auto-mk-rotate".to_owned();
                self.unmet("current-not-empty", text, mend, findings);
            }
            (true, Some(pattern)) => {
                let text = format!("{name} holds a master key already, pattern {pattern}");
                let mend = "keyhelm auto-mk-rotate".to_owned();
                self.unmet("current-not-empty", text, mend, findings);
            }
            (false, None) => {
                let text = format!("the current master key register of {name} is Empty, not Valid");
                let mend = match self.is_before_first_key() {
                    true => "keyhelm auto-init".to_owned(),
                    false => recover::mend(self.unit, self.manifest, self.surveyed),
                };
                self.unmet("current-empty", text, mend, findings);
            }
            _ => {}
        }
    }

    /// Nobody holds a master key, and no keystore is under one.
    fn is_before_first_key(&self) -> bool {
        let mut units = self.surveyed.units.iter();
        units.all(|(report, _)| report.registers.current.is_none())
            && keystores::rows(self.surveyed).all(|row| row.active.is_none())
    }
}
