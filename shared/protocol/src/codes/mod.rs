//! Every code that a person can meet: what it says, what is safe then, and what is next. The table
//! is the one place for these words; `docs/RUNBOOK.md` says more about each of them.

mod commands;
mod conditions;
mod coordinator;
mod gateway;
mod letters;
mod refusals;
mod situations;

/// What a code means, whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The stable word.
    pub code: &'static str,
    /// What happened, or what is so, in a sentence.
    pub sentence: &'static str,
    /// What is safe then.
    pub safe: &'static str,
    /// The one next command, or a sentence where no command can mend it; none where waiting is right.
    /// Words in capitals stand for names that only who shows the code knows.
    pub next: Option<&'static str>,
}

/// The codes of a chapter of the runbook.
#[derive(Clone, Copy, Debug)]
pub struct Chapter {
    /// Its heading.
    pub title: &'static str,
    /// Its codes, in order.
    pub entries: &'static [Entry],
}

/// Every code, by the chapters of the runbook.
pub const CHAPTERS: [Chapter; 7] = [
    Chapter { title: "What goes on", entries: situations::ENTRIES },
    Chapter { title: "What keeps a rotation from starting", entries: conditions::ENTRIES },
    Chapter { title: "What crypto units and reencryptors refuse", entries: refusals::ENTRIES },
    Chapter { title: "Messages that could not be taken", entries: letters::ENTRIES },
    Chapter { title: "What the coordinator answers", entries: coordinator::ENTRIES },
    Chapter { title: "How commands end", entries: commands::ENTRIES },
    Chapter { title: "What the gateway answers", entries: gateway::ENTRIES },
];

const UNCHANGED: &str = "Nothing has changed.";
const UNTOUCHED: &str = "Nothing has been changed.";
const SERVES: &str = "No key is lost, and every key stays readable.";
const GOES_ON: &str =
    "No key is lost: a rotation that runs goes on by itself, or when a coordinator starts again.";
const DROPPED: &str = "The message was not taken; whatever is still wanted is asked for again.";
const ENDS: &str = "Nothing has changed there; before its decision the rotation ends with every key \
    as it was, after it the step is asked for again.";

/// The entry of a code; none if it is another program's.
pub fn find(code: &str) -> Option<&'static Entry> {
    all().find(|entry| entry.code == code)
}

/// Every entry, in the order of the runbook.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    CHAPTERS.iter().flat_map(|chapter| chapter.entries)
}

/// Something is to be done.
const fn act(
    code: &'static str,
    sentence: &'static str,
    safe: &'static str,
    next: &'static str,
) -> Entry {
    Entry { code, sentence, safe, next: Some(next) }
}

/// Waiting is right.
const fn wait(code: &'static str, sentence: &'static str, safe: &'static str) -> Entry {
    Entry { code, sentence, safe, next: None }
}
