//! A line on standard error that is redrawn while something runs, if that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Interval between two updates.
const INTERVAL: Duration = Duration::from_secs(1);

/// The line, erased when it is dropped.
#[derive(Debug)]
pub struct StatusLine {
    is_shown: bool,
    began: Instant,
    drawn: Option<Instant>,
    /// Characters of the last text.
    length: usize,
}

impl StatusLine {
    /// Not drawn yet. It is shown only if it is wanted, and standard error is a terminal.
    pub fn new(is_wanted: bool) -> Self {
        Self {
            is_shown: is_wanted && io::stderr().is_terminal(),
            began: Instant::now(),
            drawn: None,
            length: 0,
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
        let length = text.chars().count();
        let rest = " ".repeat(self.length.saturating_sub(length));
        self.length = length;
        // It is no error if nobody sees it.
        let _ = write!(io::stderr(), "\r{text}{rest}");
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr(), "\r{}\r", " ".repeat(self.length));
        }
    }
}
