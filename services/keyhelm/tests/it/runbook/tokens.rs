//! Enough of Rust's tokens to find calls and their arguments, however they are broken into lines.

/// A word, a string or a sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

impl Token {
    fn is(&self, text: &str) -> bool {
        match self {
            Self::Word(word) => word == text,
            Self::Sign(sign) => text.chars().eq([*sign]),
            Self::Text(_) => false,
        }
    }
}

/// The tokens of a source, without comments and without what is compiled for tests only.
pub fn of(source: &str) -> Vec<Token> {
    without_tests(lexed(source))
}

fn lexed(source: &str) -> Vec<Token> {
    let letters: Vec<char> = source.chars().collect();
    let (mut at, mut tokens) = (0, Vec::new());
    while let Some(&letter) = letters.get(at) {
        let rest = &letters[at..];
        match letter {
            '/' if rest.starts_with(&['/', '/']) => at += until(rest, "\n"),
            '/' if rest.starts_with(&['/', '*']) => at += until(rest, "*/") + 2,
            '"' => {
                let (text, length) = quoted(rest);
                tokens.push(Token::Text(text));
                at += length;
            }
            'r' if is_raw(rest) => {
                let (text, length) = raw(rest);
                tokens.push(Token::Text(text));
                at += length;
            }
            '\'' => at += quote(rest),
            _ if letter.is_alphanumeric() || letter == '_' => {
                let word: String =
                    rest.iter().take_while(|it| it.is_alphanumeric() || **it == '_').collect();
                at += word.chars().count();
                tokens.push(Token::Word(word));
            }
            _ => {
                at += 1;
                if !letter.is_whitespace() {
                    tokens.push(Token::Sign(letter));
                }
            }
        }
    }
    tokens
}

/// Letters in front of the mark; all of them if it does not come.
fn until(letters: &[char], mark: &str) -> usize {
    let mark: Vec<char> = mark.chars().collect();
    letters.windows(mark.len()).position(|found| found == mark).unwrap_or(letters.len())
}

fn quoted(letters: &[char]) -> (String, usize) {
    let (mut text, mut at) = (String::new(), 1);
    while letters[at] != '"' {
        if letters[at] == '\\' {
            at += 1;
        }
        text.push(letters[at]);
        at += 1;
    }
    (text, at + 1)
}

fn is_raw(letters: &[char]) -> bool {
    let hashes = letters[1..].iter().take_while(|it| **it == '#').count();
    letters.get(1 + hashes) == Some(&'"')
}

fn raw(letters: &[char]) -> (String, usize) {
    let hashes = letters[1..].iter().take_while(|it| **it == '#').count();
    let begin = hashes + 2;
    let mark = format!("\"{}", "#".repeat(hashes));
    let length = until(&letters[begin..], &mark);
    (letters[begin..begin + length].iter().collect(), begin + length + hashes + 1)
}

/// A letter in quotes, or the quote of a lifetime.
fn quote(letters: &[char]) -> usize {
    match letters {
        ['\'', '\\', rest @ ..] => 3 + until(&rest[1..], "'") + 1,
        ['\'', _, '\'', ..] => 3,
        _ => 1,
    }
}

fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let start = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if begins(&tokens[at..], &start) {
            at += tokens[at..].iter().take_while(|it| !it.is("{") && !it.is(";")).count();
            // A module in a file of its own is no text of this one.
            at += if tokens[at].is(";") { 1 } else { group(&tokens[at..]).len() + 2 };
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn begins(tokens: &[Token], signs: &[&str]) -> bool {
    tokens.len() >= signs.len() && tokens.iter().zip(signs).all(|(token, sign)| token.is(sign))
}

/// What stands inside the bracket that the tokens begin with.
fn group(tokens: &[Token]) -> &[Token] {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &tokens[1..at];
        }
    }
    panic!("a bracket is never closed");
}

/// Arguments of each call that is written like `call` (its name, up to the bracket).
pub fn calls<'a>(tokens: &'a [Token], call: &str) -> Vec<Vec<&'a [Token]>> {
    let signs: Vec<&str> = call.split(' ').chain(["("]).collect();
    let at = (0..tokens.len()).filter(|at| begins(&tokens[*at..], &signs));
    at.map(|at| arguments(group(&tokens[at + signs.len() - 1..]))).collect()
}

fn arguments(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut found, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth -= 1,
            Token::Sign(',') if depth == 0 => {
                found.push(&tokens[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(&tokens[from..]);
    found
}

/// Bodies of the functions of this name.
pub fn bodies<'a>(tokens: &'a [Token], name: &str) -> Vec<&'a [Token]> {
    let at = (0..tokens.len()).filter(|at| begins(&tokens[*at..], &["fn", name]));
    let body = |at: usize| {
        let open = tokens[at..].iter().position(|it| it.is("{")).unwrap();
        group(&tokens[at + open..])
    };
    at.map(body).collect()
}

/// What is written behind each place like this, to the end of the statement or field.
pub fn behind<'a>(tokens: &'a [Token], place: &str) -> Vec<&'a [Token]> {
    let signs: Vec<&str> = place.split(' ').collect();
    let at = (0..tokens.len()).filter(|at| begins(&tokens[*at..], &signs));
    let rest = |at: usize| {
        let rest = &tokens[at + signs.len()..];
        let mut depth = 0;
        let ends = rest.iter().position(|token| {
            match token {
                Token::Sign('(' | '[' | '{') => depth += 1,
                Token::Sign(')' | ']' | '}') => depth -= 1,
                _ => {}
            }
            depth < 0 || (depth == 0 && matches!(token, Token::Sign(';' | ',')))
        });
        &rest[..ends.unwrap_or(rest.len())]
    };
    at.map(rest).collect()
}

/// The strings among tokens.
pub fn texts(tokens: &[Token]) -> impl Iterator<Item = &str> {
    tokens.iter().filter_map(|token| match token {
        Token::Text(text) => Some(text.as_str()),
        _ => None,
    })
}
