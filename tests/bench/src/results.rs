//! What was measured: kept in a file for each part, so that parts can be measured at different
//! times, and shown in one table.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// One line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// What.
    pub name: String,
    /// In what: `s`, `ms`, `keys/s`, `MiB`; nothing for a ratio.
    pub unit: String,
    /// Each run's value.
    pub values: Vec<f64>,
    /// What it should reach; none where it is only told.
    pub aim: Option<Aim>,
}

/// What a median should reach.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
}

/// The parts measured so far, and the folder where they are kept.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    parts: BTreeMap<String, Vec<Measured>>,
}

impl Measured {
    /// Values without an aim.
    pub fn of(name: impl Into<String>, unit: &str, values: Vec<f64>) -> Self {
        Self { name: name.into(), unit: unit.to_owned(), values, aim: None }
    }

    /// With an aim.
    #[must_use]
    pub const fn aiming(mut self, aim: Aim) -> Self {
        self.aim = Some(aim);
        self
    }

    /// The median; NaN of no values.
    pub fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        match (sorted.len(), sorted.len() / 2) {
            (0, _) => f64::NAN,
            (count, half) if count % 2 == 0 => f64::midpoint(sorted[half - 1], sorted[half]),
            (_, half) => sorted[half],
        }
    }

    fn range(&self) -> (f64, f64) {
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        (least, self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }

    fn verdict(&self) -> String {
        let (is_reached, sign, aim) = match self.aim {
            None => return String::new(),
            Some(Aim::AtLeast(aim)) => (self.median() >= aim, '≥', aim),
            Some(Aim::AtMost(aim)) => (self.median() <= aim, '≤', aim),
        };
        format!("{sign} {}{}", number(aim), if is_reached { "" } else { "  MISSED" })
    }

    fn line(&self) -> [String; 5] {
        let (least, most) = self.range();
        let range = match self.values.len() {
            0 | 1 => String::new(),
            count => format!("{} to {} ({count})", number(least), number(most)),
        };
        [self.name.clone(), number(self.median()), self.unit.clone(), range, self.verdict()]
    }
}

/// Three digits that count, and never an exponent.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let text = format!("{value:.0}");
            let mut shown = String::new();
            for (index, digit) in text.chars().enumerate() {
                if index > 0 && (text.len() - index) % 3 == 0 {
                    shown.push(',');
                }
                shown.push(digit);
            }
            shown
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl Results {
    /// What the folder holds.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut parts = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(part) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            if path.extension().is_some_and(|kind| kind == "json") {
                let text = fs::read_to_string(&path)?;
                let lines = serde_json::from_str(&text).with_context(|| path.display().to_string());
                parts.insert(part.to_owned(), lines?);
            }
        }
        Ok(Self { folder: folder.to_owned(), parts })
    }

    /// Keeps a part, in place of what was measured of it before.
    pub fn keep(&mut self, part: &str, lines: Vec<Measured>) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&lines)?;
        fs::write(self.folder.join(format!("{part}.json")), text)?;
        print!("\n{}", table(part, &lines));
        self.parts.insert(part.to_owned(), lines);
        Ok(())
    }

    /// Prints all of it as one table.
    pub fn show(&self) {
        for (part, lines) in &self.parts {
            print!("\n{}", table(part, lines));
        }
    }
}

fn table(part: &str, lines: &[Measured]) -> String {
    let mut rows = vec![["", "median", "", "range (runs)", "aim"].map(str::to_owned)];
    rows[0][0] = part.to_owned();
    rows.extend(lines.iter().map(Measured::line));
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let (name, median, unit, range) = (width(0), width(1), width(2), width(3));
    let line = |row: &[String; 5]| {
        let [what, middle, of, spread, aim] = row;
        format!("{what:name$}  {middle:>median$} {of:unit$}  {spread:range$}  {aim}\n")
    };
    rows.iter().map(line).collect()
}
