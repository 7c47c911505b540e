//! How a command ends badly: what happened, what is safe now, which command is next, and the exit
//! code that says the same to a script.

use protocol::api::Unmet;
use protocol::codes;
use serde_json::json;

use crate::out;
use crate::show::colour;
use crate::show::differences;
use crate::show::visible;

/// What a verb comes to.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Exit codes; 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Whoever read the answers has gone: nothing more is done, and it is no failure.
    ReaderGone = 0,
    /// It failed.
    Failed = 1,
    /// The command line or a file that it names is not understood; nothing was sent.
    Usage = 2,
    /// A precheck is not met; nothing has changed.
    Unmet = 3,
    /// Not finished: run it again.
    Unfinished = 4,
    /// Not permitted.
    NotPermitted = 5,
    /// Unreachable, the state is not known: run it again.
    Unreachable = 6,
    /// Ctrl-C.
    Interrupted = 130,
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    exit: Exit,
    code: String,
    what: String,
    safe: Option<String>,
    next: Option<String>,
    unmet: Vec<Unmet>,
    /// Everything has been said already.
    is_told: bool,
}

impl Failure {
    /// What happened, to which thing, with a stable word for it. What is safe and what is next is
    /// what the table of codes says, unless somebody knows it better.
    pub fn new(exit: Exit, code: &str, what: impl Into<String>) -> Self {
        let entry = codes::find(code);
        let safe = entry.map(|entry| entry.safe.to_owned());
        let next = entry.and_then(|entry| entry.next).map(str::to_owned);
        let (code, what, unmet) = (code.to_owned(), what.into(), Vec::new());
        Self(Box::new(Inner { exit, code, what, safe, next, unmet, is_told: false }))
    }

    /// Standard output has said everything; only the exit code is left.
    pub fn told(exit: Exit) -> Self {
        let (code, what, unmet) = (String::new(), String::new(), Vec::new());
        let (safe, next) = (None, None);
        Self(Box::new(Inner { exit, code, what, safe, next, unmet, is_told: true }))
    }

    /// Something the caller gave is not understood. Nothing was sent.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", what)
    }

    /// Says what is safe now.
    #[must_use]
    pub fn safe(mut self, safe: impl Into<String>) -> Self {
        self.0.safe = Some(safe.into());
        self
    }

    /// Says which command is next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.0.next = Some(next.into());
        self
    }

    /// Lists the conditions that are not met.
    #[must_use]
    pub fn unmet(mut self, unmet: Vec<Unmet>) -> Self {
        self.0.unmet = unmet;
        self
    }

    /// Which exit code.
    pub const fn exit(&self) -> Exit {
        self.0.exit
    }

    /// What happened.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// Tells a person, or with `is_json` a program, on standard error.
    pub fn tell(&self, is_json: bool) {
        match is_json {
            _ if self.0.is_told => {}
            true => out::tell(&self.to_json().to_string()),
            false => out::tell(&self.to_string()),
        }
    }

    /// One object on one line.
    pub fn to_json(&self) -> serde_json::Value {
        let Inner { exit, code, what, safe, next, unmet, .. } = &*self.0;
        json!({ "failure": {
            "exit": *exit as u8, "code": code, "what": what, "safe": safe,
            "next_command": next, "unmet": unmet,
        }})
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", colour::bad("keyhelm:"), visible::lines(&self.0.what))?;
        if !self.0.unmet.is_empty() {
            write!(f, "\n\n{}\n", differences::table(&self.0.unmet))?;
        }
        if let Some(safe) = &self.0.safe {
            write!(f, "\n  safe: {}", visible::lines(safe))?;
        }
        if let Some(next) = &self.0.next {
            write!(f, "\n  next: {}", visible::lines(next))?;
        }
        if codes::find(&self.0.code).is_some() {
            write!(f, "\n  more: keyhelm explain {}", self.0.code)?;
        }
        Ok(())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, "failed", format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, "io", error.to_string())
    }
}
