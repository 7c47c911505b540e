//! What is going on, what is safe, and the one next command, as a person reads it.

use protocol::api::Explanation;

use super::colour;
use super::visible;

/// Widest line.
const WIDTH: usize = 100;
/// In front of details.
const INDENT: &str = "      ";

/// The screen of one instance.
pub fn screen(found: &Explanation) -> String {
    let said = visible::line(&found.headline);
    let headline = match (found.needs_person, found.next_command.is_some() || is_well(found)) {
        (true, _) => format!("{}    {}", colour::alarm("DO"), colour::alarm(&said)),
        (false, true) => format!("{}    {}", colour::good("OK"), said),
        (false, false) => format!("{}  {}", colour::busy("WAIT"), said),
    };
    let mut lines = vec![headline];
    lines
        .extend(found.details.iter().map(|detail| wrapped(INDENT, INDENT, &visible::line(detail))));
    lines.push(String::new());
    lines.push(wrapped("safe: ", INDENT, &visible::line(&found.safe)));
    lines.push(match &found.next_command {
        Some(next) => wrapped("next: ", INDENT, &colour::strong(&visible::line(next))),
        None => "next: nothing".to_owned(),
    });
    lines.push(format!("more: keyhelm explain {}", visible::line(&found.code)));
    lines.join("\n")
}

fn is_well(found: &Explanation) -> bool {
    found.code == "all-well"
}

/// Broken between words; a word that is too long stays whole, so that it can be copied.
fn wrapped(first: &str, rest: &str, text: &str) -> String {
    let (mut lines, mut line) = (Vec::new(), first.to_owned());
    let mut is_empty = true;
    for word in text.split(' ') {
        if !is_empty && line.chars().count() + word.chars().count() >= WIDTH {
            lines.push(std::mem::replace(&mut line, rest.to_owned()));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
    lines.join("\n")
}
