//! A document that is redrawn on the terminal while something runs, as by watch(1).

use std::io::{self, IsTerminal, Write};
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
/// Tables whose rows make room: those of the overview.
const TABLES: usize = 3;

/// The screen, given back when it is dropped.
#[derive(Debug)]
pub struct WatchScreen {
    interval: Duration,
    began: Instant,
    drawn: Option<Instant>,
    _screen: AlternateScreen,
}

impl WatchScreen {
    /// Takes the terminal. Ctrl-C keeps its meaning.
    ///
    /// # Errors
    /// If the terminal refuses.
    pub fn open(interval: Duration) -> io::Result<Self> {
        Ok(Self {
            interval,
            began: Instant::now(),
            drawn: None,
            _screen: AlternateScreen::open()?,
        })
    }

    /// Waits until the next redraw is due.
    pub async fn due(&self) {
        tokio::time::sleep_until(self.due_at().into()).await;
    }

    /// Whether a redraw is due.
    pub fn is_due(&self) -> bool {
        Instant::now() >= self.due_at()
    }

    fn due_at(&self) -> Instant {
        self.drawn.map_or(self.began, |drawn| drawn + self.interval)
    }

    /// Draws the document. `render` gets the page, and the maximum number of rows of a table if it has to be small.
    ///
    /// # Errors
    /// If the terminal no longer exists.
    pub fn draw(&mut self, render: impl Fn(Page, Option<usize>) -> String) -> io::Result<()> {
        self.drawn = Some(Instant::now());
        let heading = format!(
            "counting for {} s, redrawn every {}; Ctrl-C ends it and prints the report",
            self.began.elapsed().as_secs(),
            humantime::format_duration(self.interval),
        );
        let page = Page::of(io::stdout());
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate, MoveTo(0, 0))?;
        for (number, line) in lines(page, heading, render).iter().enumerate() {
            if number > 0 {
                out.write_all(b"\r\n")?;
            }
            out.write_all(line.as_bytes())?;
            queue!(out, Clear(ClearType::UntilNewLine))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        out.flush()
    }
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
    let rows = super::overview::rows_of(page);
    let fewer = rows.saturating_sub((whole.len() - height).div_ceil(TABLES));
    let mut shorter = with_heading(render(page, Some(fewer.max(FEWEST_ROWS))));
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
    fn lines_without_room_are_counted() {
        let shown = lines(page(8), "watching".to_owned(), document);
        assert_eq!(shown.len(), 8);
        assert_eq!(shown[7], "(6 more lines: make the terminal taller)");
    }
}
