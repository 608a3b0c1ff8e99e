//! Colours: the terminal's own sixteen, on its own background. A word, a sign or a number always repeats the meaning of
//! a colour, so nothing is missing without colours.

use ratatui::style::{Color, Modifier, Style};

/// Styles of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Whether colours are used; `NO_COLOR` disables them.
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

    /// Text without special meaning.
    pub fn plain(self) -> Style {
        Style::new()
    }

    /// Less important text.
    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub fn title(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// The title of the focused pane.
    pub fn focused(self) -> Style {
        self.colour(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// Headings of columns.
    pub fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::UNDERLINED)
    }

    /// The sorted column.
    pub fn sorted(self) -> Style {
        self.heading().add_modifier(Modifier::BOLD)
    }

    /// The row that keys act on.
    pub fn selected(self) -> Style {
        // One style for the whole row: colours and dim text in it would look patchy.
        Style::new()
            .fg(Color::Reset)
            .add_modifier(Modifier::REVERSED)
            .remove_modifier(Modifier::DIM)
    }

    /// A key.
    pub fn key(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Normal.
    pub fn good(self) -> Style {
        self.colour(Color::Green)
    }

    /// Needs attention.
    pub fn warning(self) -> Style {
        self.colour(Color::Yellow)
    }

    /// An error.
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
