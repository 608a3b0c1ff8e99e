//! Output of the program's log: stderr, or the full-screen view while one is open.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum number of lines that are kept for the view.
const MAX_LINES: usize = 100;

/// `None`: lines are written to stderr.
static HELD: Mutex<Option<LogBuffer>> = Mutex::new(None);

/// Lines that were not taken yet.
#[derive(Debug, Default)]
struct LogBuffer {
    lines: VecDeque<String>,
    /// An unfinished line.
    begun: String,
}

impl LogBuffer {
    fn push(&mut self, text: &str) {
        for part in text.split_inclusive('\n') {
            match part.strip_suffix('\n') {
                Some(rest) => {
                    if self.lines.len() == MAX_LINES {
                        self.lines.pop_front();
                    }
                    self.lines.push_back(std::mem::take(&mut self.begun) + rest);
                }
                None => self.begun.push_str(part),
            }
        }
    }
}

fn held() -> MutexGuard<'static, Option<LogBuffer>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writer of the log.
#[derive(Debug)]
pub struct LogLines;

impl Write for LogLines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match &mut *held() {
            Some(held) => {
                held.push(&String::from_utf8_lossy(text));
                Ok(text.len())
            }
            None => io::stderr().write(text),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Keeps lines from now on.
pub fn hold() {
    held().get_or_insert_default();
}

/// Takes the lines that were kept since the last call.
pub fn take() -> Vec<String> {
    match &mut *held() {
        Some(held) => held.lines.drain(..).collect(),
        None => Vec::new(),
    }
}

/// Writes lines to stderr again from now on, first those that were not taken.
pub fn release() {
    let lines = held().take().map(|held| held.lines);
    for line in lines.into_iter().flatten() {
        // Nobody may read it.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept() {
        let mut held = LogBuffer::default();
        for number in 0..=MAX_LINES {
            held.push("line ");
            held.push(&format!("{number}\n"));
        }
        held.push("begun");
        assert_eq!(held.lines.len(), MAX_LINES);
        assert_eq!(held.lines[0], "line 1");
        assert_eq!(held.begun, "begun");
    }
}
