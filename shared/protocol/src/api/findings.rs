//! What is told to people who are to act: conditions, errors, what is awaited, and what comes next.

use serde::{Deserialize, Serialize};

use crate::ids::{ProcessId, UnixMillis};
use crate::report::Refusal;

/// Somebody whose answer is awaited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Who.
    pub process: ProcessId,
    /// Its name.
    pub name: String,
    /// For what.
    pub command: String,
    /// Since when.
    pub since: UnixMillis,
    /// What it last refused with, if it answered at all.
    pub refusal: Option<Refusal>,
}

/// What is going on, what is safe, and the one next command. `GET /v1/instances/{i}/explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Stable word of the situation, a heading of the runbook.
    pub code: String,
    /// What is so, in a sentence: that of the code.
    pub headline: String,
    /// Who, what, since when and until when.
    pub details: Vec<String>,
    /// What is safe.
    pub safe: String,
    /// The one next command, or a sentence where no command can mend it; none where waiting is right.
    pub next_command: Option<String>,
    /// Whether somebody must do it, rather than may.
    pub needs_person: bool,
}

/// One condition that is not met (or, as a warning, worth knowing), with its mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unmet {
    /// Stable word.
    pub code: String,
    /// The unit, keystore or thing it is about, by name.
    pub subject: String,
    /// What is so, in a sentence.
    pub text: String,
    /// What mends it: a command, or a sentence where no command can.
    pub mend: String,
}

/// RFC 9457 problem document (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `https://keyhelm.dev/problems/<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status's phrase.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable word.
    pub code: String,
    /// What happened, to which unit or key.
    pub detail: String,
    /// What is safe now.
    pub safe: String,
    /// The one next command.
    pub next_command: Option<String>,
    /// Every unmet condition of a precheck.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<Unmet>,
}
