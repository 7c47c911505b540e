//! What a rotation would do, and a digest over everything that it depends on.

use crypto::domain;
use protocol::api::{CheckedPlan, PlanView};
use protocol::codec;
use protocol::order::{Order, SignedOrder};
use protocol::page::KeyCheckEnd;
use protocol::{Digest, Pattern};

use super::Conductor;
use super::key_check::Checked;
use crate::rotation::precheck::{Findings, Surveyed};
use crate::trust::manifest_digest;

/// Re-encrypting reads, opens, seals, opens again and writes where a check reads and opens: about so
/// many times as long. A guess that no measurement has set.
const REWRAP_PER_CHECK: u64 = 3;
/// What a rotation takes besides: its round trips.
const ROUND_TRIPS_MS: u64 = 50;

impl Conductor {
    pub(super) fn plan(
        &self,
        order: &SignedOrder,
        surveyed: &Surveyed<'_>,
        from: Option<Pattern>,
        checked: Option<&Checked>,
    ) -> PlanView {
        let order = order.unverified().ok();
        let generator = order.as_ref().map(|order| order.generator);
        let name = generator.and_then(|id| self.trust.member(id)).map(|member| member.name.clone());
        let rows = self.heard.keystores.values().filter_map(|heard| heard.said.row.as_ref());
        let checked = checked.zip(order.as_ref()).and_then(|(checked, order)| {
            let (opened_count, quarantined_count) = checked.counts();
            let check_ms = checked.took_ms();
            Some(CheckedPlan {
                hash: self.plan_hash(order, surveyed, checked)?,
                opened_count,
                quarantined_count,
                check_ms,
                estimate_ms: check_ms * REWRAP_PER_CHECK + ROUND_TRIPS_MS,
            })
        });
        PlanView {
            generator: generator.unwrap_or(self.id),
            generator_name: name.unwrap_or_default(),
            from,
            key_versions: rows.map(|row| row.version_count).sum(),
            units: surveyed.units.len(),
            checked,
        }
    }

    /// None without a manifest, or if a check has not come to its end.
    fn plan_hash(
        &self,
        order: &Order,
        surveyed: &Surveyed<'_>,
        checked: &Checked,
    ) -> Option<Digest> {
        let manifest = manifest_digest(&self.trust.chain().last()?.bytes);
        let mut keystores = Vec::new();
        for check in &checked.keystores {
            let Some(KeyCheckEnd::Done { key_root }) = &check.end else { return None };
            let counts = (check.checked_count, check.unopened_count);
            keystores.push((check.keystore, check.generation, check.pattern, counts, *key_root));
        }
        keystores.sort_by_key(|(keystore, ..)| *keystore);
        let mut units: Vec<_> =
            surveyed.units.iter().map(|(report, _)| (report.unit, report.registers)).collect();
        units.sort_by_key(|(unit, _)| *unit);
        // Not what each draft has anew: rotation, number, times.
        let asked = (
            (order.purpose, order.from, order.generator, order.joining.clone()),
            (order.quarantined.clone(), order.mode),
            (order.hold_after_commit_s, order.hold_before_clear_s),
        );
        let bytes = codec::encode(&(order.instance, manifest, asked, units, keystores));
        Some(crypto::digest::sha256(domain::PLAN, &[&bytes]))
    }
}

/// The plan that was agreed on is not what would happen now.
pub(super) fn note_moved(wanted: Digest, plan: &PlanView, findings: &mut Findings) {
    let now = plan.checked.as_ref().map(|checked| checked.hash);
    if now == Some(wanted) {
        return;
    }
    let now = now.map_or_else(|| "unknown".to_owned(), |hash| hash.to_string());
    let text = format!(
        "units, keys, manifest or what is asked for are not as they were in plan {wanted}: the plan \
         is now {now}"
    );
    findings.unmet("plan-moved", "plan", text, "keyhelm auto-mk-rotate --dry-run".to_owned());
}
