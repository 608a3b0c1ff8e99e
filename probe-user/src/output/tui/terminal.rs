//! The terminal: taken for the view, and restored however the program ends.

use std::io::{self, IsTerminal, Stdout, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, DisableMouseCapture, EnableMouseCapture};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap,
    EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use tokio::sync::mpsc;

use super::App;
use crate::output::log_lines;

pub use ratatui::crossterm::event::Event as Input;

/// Maximum number of waiting inputs.
const WAITING: usize = 64;

/// Whether the terminal is taken.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, while it is taken.
#[derive(Debug)]
pub struct Screen(Terminal<CrosstermBackend<Stdout>>);

/// Why the view can't be shown.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// Output or input is not a terminal.
    #[error("standard {0} is no terminal: use `twtrace trace` or `twtrace report` there")]
    NoTerminal(&'static str),
    /// Error of the terminal.
    #[error("taking the terminal")]
    Terminal(#[from] io::Error),
}

/// Whether a full-screen view can be shown.
///
/// # Errors
/// If it can't: input and output have to be a terminal.
pub fn check() -> Result<(), ScreenError> {
    match (io::stdout().is_terminal(), io::stdin().is_terminal()) {
        (false, _) => Err(ScreenError::NoTerminal("output")),
        (true, false) => Err(ScreenError::NoTerminal("input")),
        (true, true) => Ok(()),
    }
}

impl Screen {
    /// Takes the terminal: raw mode, the alternate screen; the log is shown in the view. The terminal is restored when
    /// this is dropped, and before the message of a panic.
    ///
    /// # Errors
    /// If there is no terminal, or it refuses.
    pub fn open() -> Result<Self, ScreenError> {
        check()?;
        give_back_at_panic();
        take()?;
        // Dropped if there is an error, which calls `give_back` in any case.
        match Terminal::new(CrosstermBackend::new(io::stdout())) {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                give_back();
                Err(error.into())
            }
        }
    }

    /// Draws what has changed, as one update if the terminal supports that.
    pub fn draw(&mut self, app: &mut App) -> io::Result<()> {
        queue!(io::stdout(), BeginSynchronizedUpdate)?;
        self.0.draw(|frame| app.draw(frame))?;
        execute!(io::stdout(), EndSynchronizedUpdate)
    }

    /// Forgets the terminal's contents; the next drawing is complete.
    pub fn clear(&mut self) -> io::Result<()> {
        // `Terminal::clear` requests the position of the cursor, and the thread that reads keys would take the answer.
        execute!(io::stdout(), Clear(ClearType::All))?;
        self.0 = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }

    /// Enables or disables mouse reports of the terminal.
    pub fn mouse(&mut self, is_on: bool) -> io::Result<()> {
        if is_on {
            execute!(io::stdout(), EnableMouseCapture)
        } else {
            execute!(io::stdout(), DisableMouseCapture)
        }
    }

    /// Restores the terminal and stops the process until SIGCONT, then takes the terminal again.
    ///
    /// # Errors
    /// If the terminal refuses.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        stop_until_continued();
        take()?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// The alternate screen without raw mode: Ctrl-C is a signal. Lines are not wrapped; the log is held back. The terminal is
/// restored when this is dropped, and before the message of a panic.
#[derive(Debug)]
pub struct AlternateScreen(());

impl AlternateScreen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// If it refuses.
    pub fn open() -> io::Result<Self> {
        give_back_at_panic();
        // Dropped if there is an error.
        let screen = Self(());
        screen.enter()?;
        Ok(screen)
    }

    /// Restores the terminal and stops the process until SIGCONT, then takes the terminal again.
    ///
    /// # Errors
    /// If the terminal refuses.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        stop_until_continued();
        self.enter()
    }

    fn enter(&self) -> io::Result<()> {
        log_lines::hold();
        IS_TAKEN.store(true, Ordering::SeqCst);
        execute!(io::stdout(), EnterAlternateScreen, DisableLineWrap, Hide)
    }
}

fn stop_until_continued() {
    // SAFETY: a system call without pointers. SIGSTOP stops every thread until SIGCONT.
    if unsafe { libc::raise(libc::SIGSTOP) } != 0 {
        log::warn!("can't stop: {}", io::Error::last_os_error());
    }
}

impl Drop for AlternateScreen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    log_lines::hold();
    IS_TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()
        .and_then(|()| execute!(io::stdout(), EnterAlternateScreen))
        .inspect_err(|_| give_back())
}

/// Once for each time it was taken. It is no error if the terminal no longer exists.
fn give_back() {
    if IS_TAKEN.swap(false, Ordering::SeqCst) {
        let _ = write_back(&mut io::stdout());
        let _ = disable_raw_mode();
        log_lines::release();
    }
}

fn write_back(out: &mut impl Write) -> io::Result<()> {
    execute!(
        out,
        EndSynchronizedUpdate,
        DisableMouseCapture,
        EnableLineWrap,
        LeaveAlternateScreen,
        Show
    )
}

/// The message of a panic must be readable on the restored terminal.
fn give_back_at_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
}

/// Keys, the mouse and changes of size, from a thread of its own. To be called after privileges are dropped, which only
/// affects the calling thread.
///
/// # Errors
/// If the thread can't be started.
pub fn inputs() -> io::Result<mpsc::Receiver<io::Result<Input>>> {
    let (sender, inputs) = mpsc::channel(WAITING);
    thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            loop {
                let input = event::read();
                let is_over = input.is_err();
                if sender.blocking_send(input).is_err() || is_over {
                    break;
                }
            }
        })?;
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_gives_the_terminal_back() {
        give_back_at_panic();
        // Pretends that it is taken: raw mode is never entered, so leaving it does nothing.
        IS_TAKEN.store(true, Ordering::SeqCst);
        let panicked = panic::catch_unwind(|| panic!("a mistake"));
        assert!(panicked.is_err());
        assert!(!IS_TAKEN.load(Ordering::SeqCst));
    }

    #[test]
    fn giving_back_leaves_the_alternate_screen_and_shows_the_cursor() {
        let mut written = Vec::new();
        write_back(&mut written).unwrap();
        let text = String::from_utf8(written).unwrap();
        for code in ["\x1b[?1049l", "\x1b[?25h", "\x1b[?1000l", "\x1b[?2026l"] {
            assert!(text.contains(code), "{code:?} is not in {text:?}");
        }
    }
}
