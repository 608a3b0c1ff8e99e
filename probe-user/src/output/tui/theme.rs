//! Colours: the terminal's own sixteen, on its own background. What a colour means is always said by a word,
//! a sign or a number too, so nothing is missing without colours.

use ratatui::style::{Color, Modifier, Style};

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Whether colours are used; `NO_COLOR` forbids them.
    pub has_colour: bool,
}

impl Theme {
    fn colour(self, colour: Color) -> Style {
        if self.has_colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    /// Text without a meaning of its own.
    pub fn plain(self) -> Style {
        Style::new()
    }

    /// What matters less.
    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Titles.
    pub fn title(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// The title of the pane that takes the keys.
    pub fn focused(self) -> Style {
        self.colour(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// Headings of columns.
    pub fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::UNDERLINED)
    }

    /// The column that sorts.
    pub fn sorted(self) -> Style {
        self.heading().add_modifier(Modifier::BOLD)
    }

    /// The row that keys act on.
    pub fn selected(self) -> Style {
        // In one piece: colours and dim text would make a patchwork of it.
        Style::new()
            .fg(Color::Reset)
            .add_modifier(Modifier::REVERSED)
            .remove_modifier(Modifier::DIM)
    }

    /// A key.
    pub fn key(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// As it should be.
    pub fn good(self) -> Style {
        self.colour(Color::Green)
    }

    /// Worth a look.
    pub fn warning(self) -> Style {
        self.colour(Color::Yellow)
    }

    /// Wrong.
    pub fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// TIME_WAITs.
    pub fn time_wait(self) -> Style {
        self.colour(Color::Blue)
    }

    /// RSTs.
    pub fn reset(self) -> Style {
        self.colour(Color::Magenta)
    }

    /// Ports.
    pub fn port(self) -> Style {
        self.colour(Color::Green)
    }
}
