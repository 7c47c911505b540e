//! Metrics of what a survey found: who holds the master key, who is silent, what is unmet.

use machines::conductor::Conductor;
use machines::rotation::precheck::Findings;
use protocol::{Role, UnixMillis};
use telemetry::metric;

/// Sets the gauges of an instance after a survey that began at `since`.
pub(super) fn surveyed(
    instance: &str,
    conductor: &Conductor,
    findings: &Findings,
    since: UnixMillis,
) {
    let Some(manifest) = conductor.trust().newest() else { return };
    let by_instance = [("instance", instance.to_owned())];
    let heard = conductor.heard();
    let rows = || heard.keystores.values().filter_map(|heard| heard.said.row.as_ref());
    let active = rows().find_map(|row| row.active.as_ref()).map(|active| active.pattern);
    let mut silent = 0;
    for role in [Role::RecoveryUnit, Role::OperationalUnit] {
        let labels = [("instance", instance.to_owned()), ("role", role.name().to_owned())];
        let (mut expected, mut holders) = (0, 0);
        for unit in manifest.of_role(role) {
            expected += 1;
            let heard_since = heard.units.get(&unit.id).filter(|heard| heard.at >= since);
            silent += i32::from(heard_since.is_none());
            let registers = heard_since.map(|heard| &heard.said.registers);
            let holds = registers.is_some_and(|it| it.current.is_some() && it.current == active);
            holders += i32::from(holds);
        }
        metric::gauge(metric::UNITS_EXPECTED, &labels, f64::from(expected));
        metric::gauge(metric::MK_HOLDERS, &labels, f64::from(holders));
    }
    metric::gauge(metric::UNITS_SILENT, &by_instance, f64::from(silent));
    metric::gauge(metric::PRECHECK_UNMET, &by_instance, findings.unmet.len() as f64);
    let versions: u64 = rows().map(|row| row.version_count).sum();
    metric::gauge(metric::KEY_VERSIONS, &by_instance, versions as f64);
}
