//! Accepting processes into an instance: by a list of fingerprints, by a person's eye, or unseen.

use std::path::Path;

use crypto::identity::{fingerprint, process_id};
use protocol::Digest;
use protocol::api::AnnouncedMember;
use protocol::manifest::Member;

use crate::app::App;
use crate::cli::administration::FingerprintArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::manifests::{self, Expected};
use crate::show::manifest::members;
use crate::show::visible;

/// Longest name or location that is shown to be compared.
const MAX_NAME_CHARS: usize = 100;

/// Reads `--expect`.
pub fn listed(args: &FingerprintArgs) -> Outcome<Option<Vec<(Digest, String)>>> {
    args.expect.as_deref().map(read_list).transpose()
}

fn read_list(path: &Path) -> Outcome<Vec<(Digest, String)>> {
    let shown = path.display();
    let usage = |why: String| Failure::usage(format!("{shown}: {why}"));
    let text = std::fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
    manifests::read_fingerprints(&text).map_err(usage)
}

/// Accepts these processes, or says who is not to be accepted.
pub fn accept(
    app: &App,
    args: &FingerprintArgs,
    listed: Option<&[(Digest, String)]>,
    announced: &[AnnouncedMember],
) -> Outcome {
    // The answer of a coordinator is material to judge: an id must be its key's own.
    let is_own = |found: &&AnnouncedMember| process_id(&found.member.identity) == found.member.id;
    if let Some(odd) = announced.iter().find(|found| !is_own(found)) {
        let what = format!("the id of {} is not that of its key", odd.member.name);
        return Err(Failure::new(Exit::Failed, "odd-member", what));
    }
    announced.iter().try_for_each(|found| must_be_readable(&found.member))?;
    app.note(format!("\n{}\n", members(announced.iter().map(|found| &found.member))));
    if let Some(listed) = listed {
        return judge(&manifests::compare_fingerprints(announced, listed));
    }
    if args.trust_first_use {
        app.warn(
            "these processes are trusted on first use: nobody has compared their fingerprints, \
             and whoever could reach the bus could be among them",
        );
        return Ok(());
    }
    let question = "Compare each fingerprint with the one in the log of its process.\n\
                    Are they all the same, and do all of these processes belong to the instance?";
    match app.is_interactive() {
        true => app.confirm(question, false),
        false => {
            let what = "nobody is at the terminal to compare the fingerprints above";
            Err(Failure::usage(what).next("the same command with --expect FILE"))
        }
    }
}

/// A person compares fingerprints by name and place: what hides or moves letters on the screen, or fills
/// it, is no name of ours.
fn must_be_readable(member: &Member) -> Outcome {
    let is_readable =
        |text: &str| !visible::has_hidden(text) && text.chars().count() <= MAX_NAME_CHARS;
    if is_readable(&member.name) && is_readable(&member.location) {
        return Ok(());
    }
    let shown: String = member.name.chars().take(MAX_NAME_CHARS).collect();
    let what = format!(
        "the {} {shown} ({}) has announced itself with a name or a location that has control \
         characters or more than {MAX_NAME_CHARS} characters",
        member.role,
        fingerprint(&member.identity)
    );
    Err(Failure::new(Exit::Failed, "odd-member", what)
        .safe("nothing was signed, nothing has changed")
        .next("stop that process, and find out who started it"))
}

fn judge(expected: &Expected) -> Outcome {
    let Expected { strangers, missing } = expected;
    if strangers.is_empty() && missing.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::new();
    lines.extend(strangers.iter().map(|who| format!("not in the list: {who}")));
    lines.extend(missing.iter().map(|who| format!("has not announced itself: {who}")));
    let what = format!("the fingerprints are not those expected\n  {}", lines.join("\n  "));
    Err(Failure::new(Exit::Unmet, "fingerprints-differ", what)
        .next("stop the strangers or add them to the list; start what is missing"))
}
