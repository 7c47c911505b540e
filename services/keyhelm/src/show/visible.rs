//! Text of others on a terminal. Names, places, reasons and sentences come from servers and from whoever
//! could reach the bus; a control character among them could move the cursor, hide a row, or paint over
//! another one.

use std::borrow::Cow;

/// Text that shall stay on one line.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

/// Text of several lines.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |letter| letter != '\n' && is_hidden(letter))
}

/// Whether a text has a character that is not seen as itself.
pub fn has_hidden(text: &str) -> bool {
    text.contains(is_hidden)
}

/// Control characters, and those that nobody sees but that order or hide the letters around them.
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Each such character is written as `\u{1b}`.
fn escaped(text: &str, is_hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match is_hidden(letter) {
            true => shown.extend(letter.escape_unicode()),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}
