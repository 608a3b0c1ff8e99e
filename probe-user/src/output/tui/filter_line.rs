//! The line in which the user types a filter.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use twtrace_core::filter::Filter;

/// Parses the words of a filter as on the command line, or returns the error.
pub type Parse = fn(&str) -> Result<Filter, String>;

/// Maximum number of characters.
const MAX_CHARS: usize = 500;

/// The typed text.
#[derive(Clone, Debug, Default)]
pub struct FilterLine {
    text: String,
    /// Why it can't be applied.
    mistake: Option<String>,
}

/// Result of a key.
#[derive(Debug)]
pub enum Typed {
    /// The text is not finished.
    More,
    /// The user has cancelled.
    Cancelled,
    /// A filter, and the text that it was parsed from.
    Done(Box<Filter>, String),
}

impl FilterLine {
    /// Begins with the current filter.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            mistake: None,
        }
    }

    /// The text typed so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Why it can't be applied.
    pub fn mistake(&self) -> Option<&str> {
        self.mistake.as_deref()
    }

    /// Handles a key.
    pub fn key(&mut self, key: KeyEvent, parse: Parse) -> Typed {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Esc => return Typed::Cancelled,
            KeyCode::Enter => match parse(&self.text) {
                Ok(filter) => {
                    let words: Vec<&str> = self.text.split_whitespace().collect();
                    return Typed::Done(Box::new(filter), words.join(" "));
                }
                Err(mistake) => {
                    self.mistake = Some(mistake);
                    return Typed::More;
                }
            },
            KeyCode::Backspace => {
                self.text.pop();
            }
            KeyCode::Char('u') if is_control => self.text.clear(),
            KeyCode::Char('w') if is_control => {
                let kept = self.text.trim_end().rfind(' ').map_or(0, |at| at + 1);
                self.text.truncate(kept);
            }
            KeyCode::Char(char)
                if !is_control && !char.is_control() && self.text.chars().count() < MAX_CHARS =>
            {
                self.text.push(char);
            }
            _ => return Typed::More,
        }
        self.mistake = None;
        Typed::More
    }
}
