//! `twtrace top` on a terminal: in tmux, with the keys that a user presses.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::Usage;
use crate::{runner::Context, stage::Skip, sys::process};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "top/no_terminal",
        run: no_terminal,
    },
    Usage {
        name: "top/keys",
        run: keys,
    },
    Usage {
        name: "top/restored",
        run: restored,
    },
];

/// Each key, and what must be on the screen soon after it.
const KEYS: [(&str, &str); 27] = [
    ("?", "this help"),
    ("Escape", "▶ Commands"),
    ("Down", "▶ Commands"),
    ("Up", "▶ Commands"),
    ("Enter", "▶ Destinations of this process"),
    ("Escape", "▶ Commands"),
    ("c", "▶ Processes"),
    ("c", "▶ Commands"),
    ("s", "TW/s▼"),
    ("s", "ALIVE▼"),
    ("S", "ALIVE▲"),
    ("Tab", "▶ Destinations"),
    ("Enter", "Destination "),
    ("BSpace", "▶ Destinations"),
    ("Tab", "▶ Doctor"),
    ("Tab", "▶ Events"),
    ("Home", "▶ Events"),
    ("PageDown", "▶ Events"),
    ("Enter", "details"),
    ("Enter", "▶ Events"),
    ("BTab", "▶ Doctor"),
    ("z", "▶ Doctor"),
    ("z", "─ Commands"),
    ("t", "a column 5s"),
    ("i", "Data quality"),
    ("i", "─ Commands"),
    ("Space", "PAUSED"),
];

/// A terminal of its own, whose server is stopped when dropped.
struct Tmux {
    socket: String,
}

impl Tmux {
    fn start(width: u16, height: u16) -> Result<Self> {
        let tmux = Self {
            socket: format!("twtrace-{}-{width}", std::process::id()),
        };
        let (width, height) = (width.to_string(), height.to_string());
        let shell = ["env", "PS1=$ ", "sh"];
        let mut arguments = vec!["-u", "-f", "/dev/null", "new-session", "-d"];
        arguments.extend(["-x", &width, "-y", &height]);
        arguments.extend(shell);
        match tmux.command(&arguments) {
            Err(error) if is_missing(&error) => {
                bail!(Skip("there is no tmux".to_owned()))
            }
            other => other.map(|_| tmux),
        }
    }

    fn command(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("tmux")
            .args(["-L", &self.socket])
            .args(arguments)
            .stdin(Stdio::null())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX")
            .output()?;
        ensure!(
            output.status.success(),
            "tmux {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn press(&self, key: &str) -> Result<()> {
        self.command(&["send-keys", key]).map(drop)
    }

    fn write(&self, text: &str) -> Result<()> {
        self.command(&["send-keys", "-l", "--", text]).map(drop)
    }

    fn line(&self, text: &str) -> Result<()> {
        self.write(text)?;
        self.press("Enter")
    }

    fn screen(&self) -> Result<String> {
        self.command(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as expected.
    fn await_screen(&self, what: &str, is_so: impl Fn(&str) -> bool) -> Result<String> {
        let limit = Duration::from_secs(if process::emulated() { 120 } else { 20 });
        let end = Instant::now() + limit;
        loop {
            let screen = self.screen()?;
            if is_so(&screen) {
                return Ok(screen);
            }
            ensure!(
                Instant::now() < end,
                "{what} is not on the screen:\n{screen}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Pid of the shell.
    fn shell(&self) -> Result<i32> {
        let shell = self.command(&["display-message", "-p", "#{pane_pid}"])?;
        Ok(shell.trim().parse()?)
    }

    /// The process group in the terminal's foreground.
    fn foreground(&self) -> Result<i32> {
        let shell = self.shell()?;
        let stat = fs::read_to_string(format!("/proc/{shell}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("no stat")?;
        // state, ppid, pgrp, session, tty_nr, tpgid
        let group = fields.split_whitespace().nth(5).context("no tpgid")?;
        Ok(group.parse()?)
    }

    /// Checks that the shell has its terminal back: cooked, with a cursor, not the alternate screen.
    fn check_restored(&self, mark: &str) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(20);
        while self.foreground()? != self.shell()? {
            ensure!(Instant::now() < end, "twtrace goes on after {mark}");
            thread::sleep(Duration::from_millis(20));
        }
        self.line(&format!(
            "echo $(stty -a | grep -ow -e '-*isig' -e '-*icanon' -e '-*echo') {mark}$((1))"
        ))?;
        let done = format!("{mark}1");
        let screen = self.await_screen(mark, |screen| screen.contains(&done))?;
        ensure!(
            screen.contains(&format!("isig icanon echo {done}")),
            "the terminal is not as it was after {mark}:\n{screen}"
        );
        let flags = self.command(&[
            "display-message",
            "-p",
            "#{alternate_on} #{cursor_flag} #{mouse_any_flag}",
        ])?;
        ensure!(
            flags.trim() == "0 1 0",
            "alternate screen, cursor, mouse are {flags} after {mark}"
        );
        Ok(())
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // The server of this socket only. It may have exited already.
        let _ = self.command(&["kill-server"]);
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Connections on loopback, until dropped.
struct Traffic {
    goes_on: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Traffic {
    fn start() -> Result<Self> {
        let goes_on = Arc::new(AtomicBool::new(true));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let (accepts, connects) = (goes_on.clone(), goes_on.clone());
        let server = thread::spawn(move || {
            while accepts.load(Ordering::Relaxed) {
                // Closed at once: the server has the TIME_WAIT.
                if listener.accept().is_err() {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let client = thread::spawn(move || {
            while connects.load(Ordering::Relaxed) {
                if let Ok(mut stream) = TcpStream::connect(address) {
                    // Waits until the server has closed.
                    let _ = std::io::copy(&mut stream, &mut std::io::sink());
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        Ok(Self {
            goes_on,
            threads: vec![server, client],
        })
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.goes_on.store(false, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

fn line(context: &Context) -> String {
    let mut words = vec![context.twtrace.display().to_string(), "top".to_owned()];
    words.extend(context.tier.options());
    words.join(" ")
}

/// With a pipe as its output, it prints what to do, and exits.
fn no_terminal(context: &Context) -> Result<()> {
    let output = Command::new(&context.twtrace)
        .arg("top")
        .stdin(Stdio::null())
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && stderr.contains("twtrace trace"),
        "ended with {}: {stderr}",
        output.status
    );
    ensure!(output.stdout.is_empty(), "something was printed");
    Ok(())
}

/// Each key does what the help describes, on a small and on a large terminal.
fn keys(context: &Context) -> Result<()> {
    for (width, height) in [(80, 24), (200, 50)] {
        let tmux = Tmux::start(width, height)?;
        let _traffic = Traffic::start()?;
        tmux.line(&line(context))?;
        // This process: its threads connect and accept.
        let own = format!("({})", std::process::id());
        let screen = tmux.await_screen("this process with a rate", |screen| {
            screen
                .lines()
                .any(|line| line.contains(&own) && line.contains("time_wait"))
                && screen.contains(" max ")
        })?;
        for always in ["live", "lost: nothing", "hooks: ", "kernel", "? help"] {
            ensure!(screen.contains(always), "no {always} in\n{screen}");
        }
        for (key, shown) in KEYS {
            tmux.press(key)?;
            tmux.await_screen(&format!("{shown} after {key}"), |screen| {
                screen.contains(shown)
            })?;
        }
        tmux.press("Space")?;
        tmux.write("/--side left")?;
        tmux.press("Enter")?;
        tmux.await_screen("the mistake", |screen| {
            screen.contains("invalid value 'left'")
        })?;
        tmux.press("C-u")?;
        tmux.write(&format!("--pid {} --event time_wait", std::process::id()))?;
        tmux.press("Enter")?;
        tmux.await_screen("the filter", |screen| {
            screen.contains("shown: --pid") && screen.contains(&own)
        })?;
        tmux.press("q")?;
        tmux.check_restored("quit")?;
    }
    Ok(())
}

/// The terminal is restored however it ends, and while it is stopped.
fn restored(context: &Context) -> Result<()> {
    let tmux = Tmux::start(100, 40)?;
    let is_up = |screen: &str| screen.contains("lost: nothing");
    for (mark, signal) in [
        ("term", libc::SIGTERM),
        ("interrupt", libc::SIGINT),
        ("hangup", libc::SIGHUP),
        ("quit", libc::SIGQUIT),
    ] {
        tmux.line(&line(context))?;
        tmux.await_screen("the status line", is_up)?;
        // SAFETY: a system call without pointers.
        ensure!(unsafe { libc::kill(-tmux.foreground()?, signal) } == 0);
        tmux.await_screen("the shell", |screen| !is_up(screen))?;
        tmux.check_restored(mark)?;
    }
    tmux.line("set -m")?;
    tmux.line(&line(context))?;
    tmux.await_screen("the status line", is_up)?;
    tmux.press("C-z")?;
    tmux.await_screen("the shell", |screen| !is_up(screen))?;
    tmux.check_restored("stopped")?;
    tmux.line("fg")?;
    tmux.await_screen("the status line", is_up)?;
    tmux.press("q")?;
    tmux.check_restored("continued")
}
