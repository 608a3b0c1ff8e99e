//! The terminal: taken for the view, and given back however the program ends.

use std::io::{self, IsTerminal, Stdout, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, DisableMouseCapture, EnableMouseCapture};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use tokio::sync::mpsc;

use super::App;
use crate::output::log_lines;

pub use ratatui::crossterm::event::Event as Input;

/// Keys that may wait.
const WAITING: usize = 64;

/// Whether the terminal is taken.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, while it is taken.
#[derive(Debug)]
pub struct Screen(Terminal<CrosstermBackend<Stdout>>);

/// The view can't be shown.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// Output or input goes elsewhere.
    #[error("standard {0} is no terminal: use `twtrace trace` or `twtrace report` there")]
    NoTerminal(&'static str),
    /// The terminal refuses.
    #[error("taking the terminal")]
    Terminal(#[from] io::Error),
}

/// Whether a full-screen view can be shown.
///
/// # Errors
/// When it can't: input and output have to be a terminal.
pub fn check() -> Result<(), ScreenError> {
    match (io::stdout().is_terminal(), io::stdin().is_terminal()) {
        (false, _) => Err(ScreenError::NoTerminal("output")),
        (true, false) => Err(ScreenError::NoTerminal("input")),
        (true, true) => Ok(()),
    }
}

impl Screen {
    /// Takes the terminal: raw mode, the alternate screen; the log goes to the view. It is given back when this
    /// is dropped, and before the message of a panic.
    ///
    /// # Errors
    /// When there is none, or it refuses.
    pub fn open() -> Result<Self, ScreenError> {
        check()?;
        give_back_at_panic();
        take()?;
        // Dropped if there is an error: `give_back` in any case.
        match Terminal::new(CrosstermBackend::new(io::stdout())) {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                give_back();
                Err(error.into())
            }
        }
    }

    /// Draws what has changed, as one piece where the terminal knows how.
    ///
    /// # Errors
    /// When the terminal can't be written to.
    pub fn draw(&mut self, app: &mut App) -> io::Result<()> {
        queue!(io::stdout(), BeginSynchronizedUpdate)?;
        self.0.draw(|frame| app.draw(frame))?;
        execute!(io::stdout(), EndSynchronizedUpdate)
    }

    /// Forgets what the terminal shows; all is drawn next time.
    ///
    /// # Errors
    /// When the terminal can't be written to.
    pub fn clear(&mut self) -> io::Result<()> {
        // `Terminal::clear` asks the terminal for its cursor, and the thread that reads keys takes the answer.
        execute!(io::stdout(), Clear(ClearType::All))?;
        self.0 = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }

    /// Has the terminal report the mouse, or not.
    ///
    /// # Errors
    /// When the terminal can't be written to.
    pub fn mouse(&mut self, is_on: bool) -> io::Result<()> {
        if is_on {
            execute!(io::stdout(), EnableMouseCapture)
        } else {
            execute!(io::stdout(), DisableMouseCapture)
        }
    }

    /// Gives the terminal back and stops the process until SIGCONT, then takes it again.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        // SAFETY: a system call without pointers. SIGSTOP stops every thread until SIGCONT.
        if unsafe { libc::raise(libc::SIGSTOP) } != 0 {
            log::warn!("can't stop: {}", io::Error::last_os_error());
        }
        take()?;
        self.clear()
    }
}

impl Drop for Screen {
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

/// Once for each time it was taken. That the terminal may be gone is no error.
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
        LeaveAlternateScreen,
        Show
    )
}

/// The message of a panic is to be read on the terminal as it was before.
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

/// Keys, the mouse and changes of size, from a thread of its own. To be called after privileges are dropped,
/// which is done by thread.
///
/// # Errors
/// When the system has no thread left.
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
        // As if it were taken: raw mode is never entered, so leaving it does nothing.
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
