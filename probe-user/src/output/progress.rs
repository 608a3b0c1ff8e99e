//! How far reading has come, on a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// What takes less long has no bar.
const PATIENCE: Duration = Duration::from_millis(700);
/// Between two drawings.
const INTERVAL: Duration = Duration::from_millis(100);
const WIDTH: usize = 40;

/// A bar on standard error, where that is a terminal and standard output is none that would be torn.
#[derive(Debug)]
pub struct Progress {
    is_shown: bool,
    began: Instant,
    drawn: Option<Instant>,
    calls: u32,
    /// Calls of which one asks the clock.
    stride: u32,
}

impl Progress {
    /// Nothing drawn yet. `tears_output` where lines are printed meanwhile.
    pub fn new(tears_output: bool) -> Self {
        Self {
            is_shown: io::stderr().is_terminal() && !(tears_output && io::stdout().is_terminal()),
            began: Instant::now(),
            drawn: None,
            calls: 0,
            stride: 1024,
        }
    }

    /// The same where each call comes after some work: the clock is asked each time.
    pub fn each_call(tears_output: bool) -> Self {
        Self {
            stride: 1,
            ..Self::new(tears_output)
        }
    }

    /// Draws, if it is time to. `done` gives how much of 1 is.
    pub fn tick(&mut self, done: impl FnOnce() -> Option<f64>) {
        self.calls = self.calls.wrapping_add(1);
        // Clocks are not asked for each line.
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
            // That nobody may see it is no error.
            let _ = write!(io::stderr(), "\r{}", bar(done));
        }
    }
}

/// Takes the bar away.
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
