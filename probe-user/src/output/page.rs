//! The size and the colours of what a document is printed to.

use std::fmt::Display;
use std::io::IsTerminal;

use ratatui::crossterm::style::{Color, Stylize};
use ratatui::crossterm::terminal;
use twtrace_core::doctor::finding::Severity;

/// What a document is printed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Characters in a line; `None` if lines may be of any length.
    pub width: Option<usize>,
    /// Lines that are seen at once; `None` if that is not known.
    pub height: Option<usize>,
    /// Whether it shows bold text and colours.
    pub has_colour: bool,
}

impl Page {
    /// That of a stream: a terminal, or a file or pipe without limits.
    pub fn of(stream: impl IsTerminal) -> Self {
        if !stream.is_terminal() {
            return Self::default();
        }
        let size = terminal::size().ok();
        Self {
            // 0 if the terminal does not know, such as a serial line.
            width: size
                .map(|(columns, _)| usize::from(columns))
                .filter(|it| *it > 0),
            height: size
                .map(|(_, lines)| usize::from(lines))
                .filter(|it| *it > 0),
            has_colour: has_colour(),
        }
    }

    /// The same with lines of any length, if that is wanted.
    pub fn wide(self, is_wanted: bool) -> Self {
        Self {
            width: self.width.filter(|_| !is_wanted),
            ..self
        }
    }

    /// Emphasised text, such as a heading.
    pub fn bold(self, text: impl Display) -> String {
        let text = text.to_string();
        if self.has_colour {
            text.bold().to_string()
        } else {
            text
        }
    }

    /// A word in the colour of a severity.
    pub fn severity(self, severity: Severity) -> String {
        let word = severity.word().to_uppercase();
        if !self.has_colour {
            return word;
        }
        let colour = match severity {
            Severity::Critical => Color::Red,
            Severity::Warning => Color::Yellow,
            Severity::Notice => Color::Cyan,
        };
        word.with(colour).bold().to_string()
    }
}

/// Whether a terminal is to be coloured: <https://no-color.org>, and no terminal that can't.
pub fn has_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
