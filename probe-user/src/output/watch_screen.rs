//! A document that is redrawn on the terminal while something runs, as by watch(1).

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ratatui::crossterm::cursor::MoveTo;
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate,
};

use super::page::Page;
use super::tui::terminal::AlternateScreen;

/// Fewest rows that a table is cut down to.
const FEWEST_ROWS: usize = 2;
/// More rows than any table has by default.
const MOST_ROWS: usize = 20;
/// A redraw takes at most this part of the time: counting comes first.
const SHARE: u32 = 10;

/// The screen, given back when it is dropped.
#[derive(Debug)]
pub struct WatchScreen {
    interval: Duration,
    began: Instant,
    /// `None`: never.
    next: Option<Instant>,
    /// `None` only while it is dropped or suspended.
    writer: Option<ScreenWriter>,
    screen: AlternateScreen,
}

impl WatchScreen {
    /// Takes the terminal. Ctrl-C keeps its meaning.
    ///
    /// # Errors
    /// If the terminal refuses, or no thread can be started.
    pub fn open(interval: Duration) -> io::Result<Self> {
        let screen = AlternateScreen::open()?;
        let began = Instant::now();
        Ok(Self {
            interval,
            began,
            next: Some(began),
            writer: Some(ScreenWriter::start()?),
            screen,
        })
    }

    /// Waits until the next redraw is due.
    pub async fn due(&self) {
        match self.next {
            Some(next) => tokio::time::sleep_until(next.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Whether a redraw is due.
    pub fn is_due(&self) -> bool {
        self.next.is_some_and(|next| Instant::now() >= next)
    }

    /// Draws the document. `render` gets the page, and the maximum number of rows of a table if it has to be small. While
    /// the terminal takes no output (Ctrl-S), frames are left out: it must not stop the tracing.
    ///
    /// # Errors
    /// If the terminal no longer exists.
    pub fn draw(&mut self, render: impl Fn(Page, Option<usize>) -> String) -> io::Result<()> {
        let begun = Instant::now();
        let heading = format!(
            "counting for {} s, redrawn every {}; Ctrl-C ends it and prints the report",
            self.began.elapsed().as_secs(),
            humantime::format_duration(self.interval),
        );
        let page = Page::of(io::stdout());
        let frame = frame(page, &lines(page, heading, render))?;
        let drawn = self.writer.as_ref().map_or(Ok(()), |it| it.write(frame));
        let pause = self.interval.max(begun.elapsed() * SHARE);
        self.next = Instant::now().checked_add(pause);
        drawn
    }

    /// Gives the terminal back and stops the process until SIGCONT, then takes the terminal again.
    ///
    /// # Errors
    /// If the terminal refuses, or no thread can be started.
    pub fn suspend(&mut self) -> io::Result<()> {
        self.writer = None;
        self.screen.suspend()?;
        self.writer = Some(ScreenWriter::start()?);
        self.next = Some(Instant::now());
        Ok(())
    }
}

impl Drop for WatchScreen {
    fn drop(&mut self) {
        // Before the screen is given back.
        self.writer = None;
    }
}

/// Writes frames to the terminal in a thread of its own. Dropping it waits for the last one.
#[derive(Debug)]
struct ScreenWriter {
    /// `None` only while it is dropped.
    frames: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl ScreenWriter {
    fn start() -> io::Result<Self> {
        let (sender, frames): (_, Receiver<Vec<u8>>) = sync_channel(1);
        let write = move || {
            for frame in frames {
                let mut out = io::stdout().lock();
                if out.write_all(&frame).and_then(|()| out.flush()).is_err() {
                    return;
                }
            }
        };
        Ok(Self {
            frames: Some(sender),
            thread: Some(thread::Builder::new().name("watch".into()).spawn(write)?),
        })
    }

    fn write(&self, frame: Vec<u8>) -> io::Result<()> {
        match self.frames.as_ref().map(|frames| frames.try_send(frame)) {
            Some(Err(TrySendError::Disconnected(_))) => Err(io::ErrorKind::BrokenPipe.into()),
            Some(Ok(()) | Err(TrySendError::Full(_))) | None => Ok(()),
        }
    }
}

impl Drop for ScreenWriter {
    fn drop(&mut self) {
        self.frames = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What redraws the terminal. A line is cleared before it is written: afterwards the cursor may stand on its last
/// character.
fn frame(page: Page, lines: &[String]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    queue!(out, BeginSynchronizedUpdate, MoveTo(0, 0))?;
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            out.extend(b"\r\n");
        }
        queue!(out, Clear(ClearType::CurrentLine))?;
        out.extend(line.as_bytes());
    }
    // After the last line of a full screen there is nothing to clear.
    if page.height.is_none_or(|height| lines.len() < height) {
        out.extend(b"\r\n");
        queue!(out, Clear(ClearType::FromCursorDown))?;
    }
    queue!(out, EndSynchronizedUpdate)?;
    Ok(out)
}

/// Whether there is a terminal to redraw.
pub fn has_terminal() -> bool {
    io::stdout().is_terminal()
}

/// As many lines as the page has. The terminal cuts those that are too long.
fn lines(
    page: Page,
    heading: String,
    render: impl Fn(Page, Option<usize>) -> String,
) -> Vec<String> {
    let with_heading = |text: String| {
        let mut lines = vec![heading.clone(), String::new()];
        lines.extend(text.lines().map(str::to_owned));
        lines
    };
    let height = page.height.unwrap_or(usize::MAX);
    let whole = with_heading(render(page, None));
    if whole.len() <= height {
        return whole;
    }
    // The most rows with which it fits; the fewest if it never does.
    let (mut low, mut high) = (FEWEST_ROWS, MOST_ROWS);
    let mut shorter = with_heading(render(page, Some(low)));
    while low + 1 < high && shorter.len() <= height {
        let middle = low.midpoint(high);
        let tried = with_heading(render(page, Some(middle)));
        if tried.len() <= height {
            (low, shorter) = (middle, tried);
        } else {
            high = middle;
        }
    }
    if shorter.len() > height {
        // Empty lines matter least.
        let mut room = shorter.len() - height;
        shorter.retain(|line| {
            let is_kept = room == 0 || !line.is_empty();
            room -= usize::from(!is_kept);
            is_kept
        });
    }
    if shorter.len() > height {
        let hidden = shorter.len() - height + 1;
        shorter.truncate(height.saturating_sub(1));
        shorter.push(format!("({hidden} more lines: make the terminal taller)"));
    }
    shorter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(height: usize) -> Page {
        Page {
            width: Some(80),
            height: Some(height),
            has_colour: false,
        }
    }

    /// A document with two lines, and three tables with their headings.
    fn document(_: Page, rows: Option<usize>) -> String {
        let table = "heading\n".to_owned() + &"row\n".repeat(rows.unwrap_or(5));
        format!("first\n{}last\n", table.repeat(3))
    }

    #[test]
    fn what_fits_is_shown_whole() {
        let shown = lines(page(24), "watching".to_owned(), document);
        assert_eq!(shown.len(), 22);
        assert_eq!(shown[..3], ["watching", "", "first"]);
    }

    #[test]
    fn rows_make_room_for_what_follows() {
        let shown = lines(page(20), "watching".to_owned(), document);
        assert_eq!(shown.len(), 19);
        assert_eq!(shown.last().map(String::as_str), Some("last"));
    }

    #[test]
    fn a_line_is_cleared_before_it_is_written_and_a_full_screen_does_not_scroll() {
        let lines = ["12".to_owned(), "34".to_owned()];
        let drawn = |height| String::from_utf8(frame(page(height), &lines).unwrap()).unwrap();
        assert!(drawn(2).contains("\x1b[2K12\r\n\x1b[2K34\x1b[?2026l"));
        assert!(drawn(3).ends_with("34\r\n\x1b[J\x1b[?2026l"));
    }

    #[test]
    fn lines_without_room_are_counted() {
        let shown = lines(page(8), "watching".to_owned(), document);
        assert_eq!(shown.len(), 8);
        assert_eq!(shown[7], "(5 more lines: make the terminal taller)");
    }

    #[test]
    fn empty_lines_make_room_first() {
        let document = |_, _| "first\n\nsecond\n\nlast\n".to_owned();
        let shown = lines(page(5), "watching".to_owned(), document);
        assert_eq!(
            shown,
            ["watching", "first", "second", "", "last"].map(str::to_owned)[..]
        );
    }
}
