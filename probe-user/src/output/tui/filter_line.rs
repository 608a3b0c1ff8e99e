//! The line in which a filter is typed.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use twtrace_core::filter::Filter;

/// Makes a filter of the words of the command line, or says what is wrong with them.
pub type Parse = fn(&str) -> Result<Filter, String>;

/// Characters that are taken.
const MAX_CHARS: usize = 500;

/// What is typed.
#[derive(Clone, Debug, Default)]
pub struct FilterLine {
    text: String,
    /// Why it can't be applied.
    mistake: Option<String>,
}

/// What came of a key.
#[derive(Debug)]
pub enum Typed {
    /// There is more to come.
    More,
    /// Given up.
    Cancelled,
    /// A filter, and the words that it was made of.
    Done(Box<Filter>, String),
}

impl FilterLine {
    /// Begins with what is in force.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            mistake: None,
        }
    }

    /// What was typed so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with it.
    pub fn mistake(&self) -> Option<&str> {
        self.mistake.as_deref()
    }

    /// Takes a key.
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
