//! Times, counts, patterns and names as people read them.

use protocol::api::Unmet;
use protocol::{Pattern, UnixMillis};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment in UTC to the second (RFC 3339).
pub(crate) fn moment(at: UnixMillis) -> String {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    let found = OffsetDateTime::from_unix_timestamp(seconds).ok();
    let text = found.and_then(|at| at.format(&Rfc3339).ok());
    text.unwrap_or_else(|| format!("{} ms after 1970", at.0))
}

/// A count with commas.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count and its noun: `1 time`, `3 times`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", count(number)),
    }
}

/// The beginning of a pattern.
pub(super) fn short(pattern: Option<Pattern>) -> String {
    pattern.map_or_else(|| "none".to_owned(), |found| format!("{}...", found.short()))
}

/// A condition in one line, with its mend.
pub(super) fn condition(unmet: &Unmet) -> String {
    format!("{} ({}). Mend: {}.", capital(&unmet.text), unmet.code, unmet.mend)
}

/// The same without its mend, where another comes first.
pub(super) fn sentence(unmet: &Unmet) -> String {
    format!("{} ({}).", capital(&unmet.text), unmet.code)
}

fn capital(text: &str) -> String {
    // Names begin as they are written.
    match text.strip_prefix("the ") {
        Some(rest) => format!("The {rest}"),
        None => text.to_owned(),
    }
}
