//! Standard output, which holds the answers, and standard error, which holds everything else. Whoever
//! reads either may go at any time.

use std::io::{ErrorKind, Write};

use crate::failure::{Exit, Failure, Outcome};

/// An answer, on a line of standard output. It fails where the line cannot be written: quietly if the
/// reader has gone (`| head`), who has read what he wanted; then the command has nothing more to do.
pub fn answer(text: &str) -> Outcome {
    write(format!("{text}\n").as_bytes())
}

/// The same, without the end of a line.
pub fn write(bytes: &[u8]) -> Outcome {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| unwritten(&error))
}

/// A line on standard error. A reader who has gone is no reason to stop: the answer goes elsewhere.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn unwritten(error: &std::io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        return Failure::told(Exit::ReaderGone);
    }
    let what = format!("standard output cannot be written: {error}");
    Failure::new(Exit::Failed, "io", what)
        .safe("what was written is not whole; what the command had done before stays done")
        .next("make room where standard output goes, then the same command again")
}
