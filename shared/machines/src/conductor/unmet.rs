//! What keeps a start from happening beyond precheck: leave, and what units say of the order.

use std::collections::BTreeMap;

use protocol::OrderNumber;
use protocol::order::SignedOrder;

use super::Conductor;
use super::survey::Answered;
use crate::leave;
use crate::rotation::numbers;
use crate::rotation::precheck::{Findings, Surveyed};

/// Signs an order by hand, drafted anew: no standing order limits it.
const SIGN: &str = "keyhelm auto-mk-rotate --sign";
/// An order that is written or signed anew.
const ROTATE: &str = "keyhelm auto-mk-rotate";
/// The same for an order to recover.
const RECOVER: &str = "keyhelm auto-mk-recover";

/// Nothing lets the coordinator write an order.
pub(super) fn no_standing_order(findings: &mut Findings) {
    let text = "no standing order lets the coordinator rotate by itself".to_owned();
    findings.unmet("no-standing-order", "instance", text, SIGN.to_owned());
}

/// Who wants every page opened by a second unit does not join a rotation without it.
pub(super) fn verified_in_part(findings: &mut Findings) {
    let text = "the rotation that runs has a sample of its pages opened by a second unit, not all";
    findings.unmet("verified-in-part", "rotation", text.to_owned(), ROTATE.to_owned());
}

/// Somebody has taken an order so far above all others that none can follow it under this manifest.
pub(super) fn number_leaps(surveyed: &Surveyed<'_>, given: OrderNumber, findings: &mut Findings) {
    let Some(manifest) = surveyed.manifest else { return };
    for (report, _) in &surveyed.units {
        let taken = report.last_number();
        let leap = taken.number.saturating_sub(given.number);
        let is_it = taken.manifest_serial == given.manifest_serial && leap >= numbers::MAX_LEAP;
        if let Some(member) = manifest.member(report.unit).filter(|_| is_it) {
            let text = format!(
                "{} has taken order {taken}: no order follows it under manifest {}",
                member.name, manifest.serial
            );
            let mend = "sign a manifest without whoever gave that order".to_owned();
            findings.unmet("number-leaps", &member.name, text, mend);
        }
    }
}

/// The findings about a unit that say already why it refuses an order with this word.
fn explained_by(code: &str) -> &'static [&'static str] {
    match code {
        "bound-to-another" => &["bound"],
        "other-current" => {
            &["current-differs", "current-empty", "current-not-empty", "source-unfit", "bound"]
        }
        "register-not-empty" => {
            &["new-not-empty", "retiring-not-empty", "current-not-empty", "bound"]
        }
        "not-for-recovery" => &["source-unfit", "target-unfit"],
        "order-spent" => &["number-leaps"],
        "other-manifest" => &["manifest-differs", "imprint-mode"],
        "order-expired" | "order-not-yet-issued" => &["clock-skew"],
        _ => &[],
    }
}

impl Conductor {
    /// The order's own leave, and the units that would not take it, each with its words.
    pub(super) fn note_refusals(
        &self,
        answered: &Answered,
        order: &SignedOrder,
        findings: &mut Findings,
    ) {
        let recovery = order.unverified().ok().and_then(|order| order.purpose.recovery());
        if let Err(error) = leave::verify(order, &self.trust) {
            let mend = if recovery.is_some() { RECOVER } else { ROTATE };
            findings.unmet("no-leave", "order", error.to_string(), mend.to_owned());
            return;
        }
        let mut refusals: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for heard in self.heard.units_among(answered) {
            let Some(refusal) = &heard.said.facts.would_refuse else { continue };
            let Some(member) = self.trust.member(heard.said.unit) else { continue };
            // Whoever has no part in an order to recover would not take it, rightly.
            let takes_part = recovery.is_none_or(|recovery| recovery.involves(member.id));
            if takes_part && !findings.has(explained_by(&refusal.code), &member.name) {
                let words = (refusal.code.clone(), refusal.text.clone());
                refusals.entry(words).or_default().push(member.name.clone());
            }
        }
        for ((code, text), mut names) in refusals {
            names.sort();
            let names = names.join(", ");
            let mend = match code.as_str() {
                "order-not-yet-issued" => format!("set the clock of {names}"),
                _ if recovery.is_some() => RECOVER.to_owned(),
                _ => SIGN.to_owned(),
            };
            findings.unmet(&code, &names, text, mend);
        }
    }
}
