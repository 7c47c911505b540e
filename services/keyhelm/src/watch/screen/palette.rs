//! Colours, unless they are not wanted.

use ratatui::style::{Color, Style};

use crate::watch::news::Tone;

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    is_coloured: bool,
}

impl Palette {
    /// With colours.
    pub const fn coloured() -> Self {
        Self { is_coloured: true }
    }

    /// Without colours; bold and reversed letters stay.
    pub const fn plain() -> Self {
        Self { is_coloured: false }
    }

    /// What goes well.
    pub const fn good(self) -> Style {
        self.in_colour(Color::Green)
    }

    /// What is under way.
    pub const fn busy(self) -> Style {
        self.in_colour(Color::Cyan)
    }

    /// What is worth knowing.
    pub const fn warning(self) -> Style {
        self.in_colour(Color::Yellow)
    }

    /// What goes wrong.
    pub const fn bad(self) -> Style {
        self.in_colour(Color::Red).bold()
    }

    /// What is no news.
    pub const fn faint(self) -> Style {
        self.in_colour(Color::DarkGray)
    }

    /// Titles and column heads.
    pub const fn heading(self) -> Style {
        Style::new().bold()
    }

    /// What must be seen.
    pub const fn reversed(self) -> Style {
        Style::new().reversed()
    }

    /// A line of the events.
    pub const fn tone(self, tone: Tone) -> Style {
        match tone {
            Tone::Plain => Style::new(),
            Tone::Good => self.good(),
            Tone::Warning => self.warning(),
            Tone::Bad => self.bad(),
        }
    }

    const fn in_colour(self, colour: Color) -> Style {
        match self.is_coloured {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }
}
