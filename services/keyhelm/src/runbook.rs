//! The runbook, as it stands in `docs/RUNBOOK.md`: a section for each code.

/// All of it.
pub const TEXT: &str = include_str!("../../../docs/RUNBOOK.md");

/// What stands in front of a code.
const HEADING: &str = "## ";

/// Every code that has a section, in order.
pub fn codes() -> impl Iterator<Item = &'static str> {
    TEXT.lines().filter_map(|line| line.strip_prefix(HEADING))
}

/// The section of a code, without blank lines at its ends; none if there is none.
pub fn section(code: &str) -> Option<String> {
    let is_heading = |line: &&str| line.strip_prefix(HEADING) == Some(code);
    let mut lines = TEXT.lines().skip_while(|line| !is_heading(line));
    let heading = lines.next()?;
    let is_inside = |line: &&str| !line.starts_with(HEADING) && !line.starts_with("# ");
    let body: Vec<_> = lines.take_while(is_inside).collect();
    Some(format!("{heading}\n{}", body.join("\n")).trim_end().to_owned())
}

/// Codes that look like this one, for whoever has misspelt it.
pub fn alike(code: &str) -> Vec<&'static str> {
    let wanted = code.to_lowercase();
    let parts: Vec<_> = wanted.split(['-', '_', ' ']).filter(|part| part.len() > 3).collect();
    let is_alike = |known: &&str| {
        let known = known.to_lowercase();
        known.contains(&wanted) || parts.iter().any(|part| known.contains(part))
    };
    codes().filter(is_alike).collect()
}
