//! Where the program's log goes: to stderr, or, while a full-screen view is up, to that view.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lines that are kept for the view.
const MAX_LINES: usize = 100;

/// `None`: to stderr.
static HELD: Mutex<Option<VecDeque<String>>> = Mutex::new(None);

fn held() -> MutexGuard<'static, Option<VecDeque<String>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the log writes to.
#[derive(Debug)]
pub struct LogLines;

impl Write for LogLines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match &mut *held() {
            Some(lines) => {
                for line in String::from_utf8_lossy(text).lines() {
                    if lines.len() == MAX_LINES {
                        lines.pop_front();
                    }
                    lines.push_back(line.to_owned());
                }
                Ok(text.len())
            }
            None => io::stderr().write(text),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// From now on lines are kept.
pub fn hold() {
    held().get_or_insert_default();
}

/// Those that were kept since the last time.
pub fn take() -> Vec<String> {
    match &mut *held() {
        Some(lines) => lines.drain(..).collect(),
        None => Vec::new(),
    }
}

/// From now on lines go to stderr again, those that nobody took first.
pub fn release() {
    let lines = held().take();
    for line in lines.into_iter().flatten() {
        // Nobody may listen.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_while_they_are_held() {
        hold();
        for number in 0..MAX_LINES + 1 {
            writeln!(LogLines, "line {number}").unwrap();
        }
        let lines = take();
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines[0], "line 1");
        assert!(take().is_empty());
        release();
        assert!(take().is_empty());
    }
}
