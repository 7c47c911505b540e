//! A manifest: members with their fingerprints, administrators, thresholds, the standing order.

use crypto::identity::fingerprint;
use crypto::quorum;
use protocol::api::ManifestView;
use protocol::manifest::Member;

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
            "at most one rotation in {}, until {}",
            span(u64::from(standing.not_more_often_than_s)),
            moment(standing.until)
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
