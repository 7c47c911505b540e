//! A manifest: members with their fingerprints, administrators, thresholds, the standing order.

use crypto::identity::fingerprint;
use crypto::quorum;
use protocol::api::ManifestView;
use protocol::manifest::Member;
use protocol::order::StandingOrder;

use super::table;
use super::time::{moment, span};

/// The screen of `manifest`.
pub fn screen(view: &ManifestView) -> String {
    let manifest = &view.manifest;
    let mut administrators = table::plain(["ADMIN NAME", "SUBJECT KEY IDENTIFIER"]);
    for admin in &manifest.administrators {
        administrators.add_row([admin.name.clone(), quorum::ski(&admin.key).shown()]);
    }
    let standing = match &view.standing_order {
        None => "none: each rotation is signed by administrators".to_owned(),
        Some(standing) => format!(
            "at most one rotation in {}, until {}{}",
            span(u64::from(standing.not_more_often_than_s)),
            moment(standing.until),
            holds(standing)
        ),
    };
    [
        format!("  manifest               {}", manifest.serial),
        format!("  digest                 {}", view.digest),
        format!("  made                   {}", moment(manifest.created_at)),
        format!("  signature threshold    {}", manifest.signature_threshold),
        format!("  revocation threshold   {}", manifest.revocation_threshold),
        format!("  standing order         {standing}"),
        format!("\nMEMBERS\n{}", members(&manifest.members)),
        format!("\nADMINISTRATORS\n{}", table::text(&administrators)),
    ]
    .join("\n")
}

/// The holds of every rotation under a standing order, where it has any.
pub fn holds(standing: &StandingOrder) -> String {
    let hold = |seconds: u32, which: &str| match seconds {
        0 => String::new(),
        _ => format!(", each held {} {which}", span(u64::from(seconds))),
    };
    let after_commit = hold(standing.hold_after_commit_s, "before the re-encryption");
    let before_clear = hold(standing.hold_before_clear_s, "before the old key is wiped");
    format!("{after_commit}{before_clear}")
}

/// Processes with the fingerprints of their keys.
pub fn members<'a>(members: impl IntoIterator<Item = &'a Member>) -> String {
    let mut shown = table::plain(["NAME", "ROLE", "LOCATION", "FINGERPRINT"]);
    for member in members {
        shown.add_row([
            member.name.clone(),
            member.role.to_string(),
            member.location.clone(),
            fingerprint(&member.identity).to_string(),
        ]);
    }
    table::text(&shown)
}
