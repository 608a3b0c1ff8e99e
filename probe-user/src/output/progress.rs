//! Progress of reading, on a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Shorter work shows no bar.
const PATIENCE: Duration = Duration::from_millis(700);
/// Interval between two updates.
const INTERVAL: Duration = Duration::from_millis(100);
const WIDTH: usize = 40;

/// A bar on standard error, if that is a terminal and the bar does not disturb lines on standard output.
#[derive(Debug)]
pub struct Progress {
    is_shown: bool,
    began: Instant,
    drawn: Option<Instant>,
    calls: u32,
    /// The clock is read once per this many calls.
    stride: u32,
}

impl Progress {
    /// A bar that is not drawn yet. `tears_output` if lines are printed at the same time.
    pub fn new(tears_output: bool) -> Self {
        Self {
            is_shown: io::stderr().is_terminal() && !(tears_output && io::stdout().is_terminal()),
            began: Instant::now(),
            drawn: None,
            calls: 0,
            stride: 1024,
        }
    }

    /// The same for calls with some work in between: each call reads the clock.
    pub fn each_call(tears_output: bool) -> Self {
        Self {
            stride: 1,
            ..Self::new(tears_output)
        }
    }

    /// Draws the bar if that is due. `done` returns the finished fraction, 0 to 1.
    pub fn tick(&mut self, done: impl FnOnce() -> Option<f64>) {
        self.calls = self.calls.wrapping_add(1);
        // The clock is not read for each line.
        if !self.is_shown || !self.calls.is_multiple_of(self.stride) {
            return;
        }
        let now = Instant::now();
        let is_due = match self.drawn {
            None => now.duration_since(self.began) >= PATIENCE,
            Some(drawn) => now.duration_since(drawn) >= INTERVAL,
        };
        if let (true, Some(done)) = (is_due, done()) {
            self.drawn = Some(now);
            // It is no error if nobody sees it.
            let _ = write!(io::stderr(), "\r{}", bar(done));
        }
    }
}

/// Erases the bar.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr(), "\r{}\r", " ".repeat(WIDTH + 16));
        }
    }
}

fn bar(done: f64) -> String {
    let done = done.clamp(0.0, 1.0);
    let full = (done * WIDTH as f64) as usize;
    format!(
        "reading [{}{}] {:3.0} %",
        "#".repeat(full),
        ".".repeat(WIDTH - full),
        done * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        assert!(bar(0.0).ends_with(".]   0 %"));
        assert!(bar(0.5).contains("#.") && bar(0.5).ends_with("]  50 %"));
        assert!(bar(7.0).ends_with("#] 100 %"));
        assert_eq!(bar(0.0).len(), bar(1.0).len());
        assert!(bar(0.3).len() <= WIDTH + 16);
    }
}
