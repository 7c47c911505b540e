//! Colours, on terminals only, and never against `NO_COLOR`.

use std::io::IsTerminal;

/// Green, for what went well (standard output).
pub fn good(text: &str) -> String {
    painted("32", text, std::io::stdout().is_terminal())
}

/// Yellow, for what is under way (standard output).
pub fn busy(text: &str) -> String {
    painted("33", text, std::io::stdout().is_terminal())
}

/// Red, for what somebody must see to (standard output).
pub fn alarm(text: &str) -> String {
    painted("1;31", text, std::io::stdout().is_terminal())
}

/// Bold, for what is to be typed (standard output).
pub fn strong(text: &str) -> String {
    painted("1", text, std::io::stdout().is_terminal())
}

/// Yellow, for what is worth knowing (standard error).
pub fn warning(text: &str) -> String {
    painted("33", text, std::io::stderr().is_terminal())
}

/// Red, for what went wrong (standard error).
pub fn bad(text: &str) -> String {
    painted("1;31", text, std::io::stderr().is_terminal())
}

fn painted(code: &str, text: &str, is_terminal: bool) -> String {
    let is_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    match is_terminal && !is_off {
        true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        false => text.to_owned(),
    }
}
