//! Questions to the person at the terminal. They go to standard error, so that standard output
//! holds answers only.

use std::io::{BufRead, IsTerminal, Write};

use crate::failure::{Exit, Failure, Outcome};
use crate::out;
use crate::show::visible;

/// How often a wrong answer is asked again.
const TRIES: usize = 3;

/// Whether there is a person to be asked.
pub fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks for yes or no; no if nothing is said.
pub fn yes(question: &str) -> Outcome<bool> {
    let answer = line(&format!("{question}\nAnswer [y/N]:"))?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a number from 1 to `count` and gives its index.
pub fn number(question: &str, count: usize) -> Outcome<usize> {
    for _ in 0..TRIES {
        let answer = line(question)?;
        match answer.parse::<usize>() {
            Ok(number) if (1..=count).contains(&number) => return Ok(number - 1),
            _ => out::tell(&format!("a number from 1 to {count}, please")),
        }
    }
    Err(Failure::usage("no number was chosen"))
}

/// Asks for a line.
pub fn line(question: &str) -> Outcome<String> {
    write!(std::io::stderr().lock(), "{}\n> ", visible::lines(question))?;
    let mut answer = String::new();
    if std::io::stdin().lock().read_line(&mut answer)? == 0 {
        let failure =
            Failure::new(Exit::Interrupted, "unanswered", "the question was not answered");
        return Err(failure);
    }
    Ok(answer.trim().to_owned())
}
