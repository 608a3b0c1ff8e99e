//! A line on standard error that is redrawn while something runs, if that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::page::Page;

/// Goes to the beginning of the line, and erases it.
const ERASE: &str = "\r\x1b[K";
/// Interval between two updates.
const INTERVAL: Duration = Duration::from_secs(1);

/// The line, erased when it is dropped.
#[derive(Debug)]
pub struct StatusLine {
    is_shown: bool,
    began: Instant,
    drawn: Option<Instant>,
}

impl StatusLine {
    /// Not drawn yet. It is shown only if it is wanted, and standard error is a terminal.
    pub fn new(is_wanted: bool) -> Self {
        Self {
            is_shown: is_wanted && io::stderr().is_terminal(),
            began: Instant::now(),
            drawn: None,
        }
    }

    /// Whether there is a terminal that shows it.
    pub fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// Waits until the next update is due; forever if the line is not shown.
    pub async fn due(&self) {
        if !self.is_shown {
            return std::future::pending().await;
        }
        let at = self.drawn.unwrap_or(self.began) + INTERVAL;
        tokio::time::sleep_until(at.into()).await;
    }

    /// Draws the line if that is due. `text` gets the time since the beginning.
    pub fn tick(&mut self, text: impl FnOnce(Duration) -> String) {
        let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= INTERVAL);
        if !self.is_shown || !is_due {
            return;
        }
        self.drawn = Some(Instant::now());
        let text = text(self.began.elapsed());
        // A line that wraps could not be erased.
        let width = Page::of(io::stderr()).width.unwrap_or(usize::MAX);
        let text: String = text.chars().take(width.saturating_sub(1)).collect();
        // It is no error if nobody sees it.
        let _ = write!(io::stderr(), "{ERASE}{text}");
    }

    /// Erases the line, for a message in its place.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(io::stderr(), "{ERASE}");
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}
