//! A terminal with a shell in it, and traffic to look at.

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

use crate::{stage::Skip, sys::process};

/// A terminal of its own, whose server is stopped when dropped.
pub struct Tmux {
    socket: String,
}

impl Tmux {
    /// A terminal of this size.
    pub fn start(width: u16, height: u16) -> Result<Self> {
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

    /// Presses a key, by tmux's name of it.
    pub fn press(&self, key: &str) -> Result<()> {
        self.command(&["send-keys", key]).map(drop)
    }

    /// Types a text.
    pub fn write(&self, text: &str) -> Result<()> {
        self.command(&["send-keys", "-l", "--", text]).map(drop)
    }

    /// Types a line, with Enter.
    pub fn line(&self, text: &str) -> Result<()> {
        self.write(text)?;
        self.press("Enter")
    }

    fn screen(&self) -> Result<String> {
        self.command(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as expected.
    pub fn await_screen(&self, what: &str, is_so: impl Fn(&str) -> bool) -> Result<String> {
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
    pub fn foreground(&self) -> Result<i32> {
        let shell = self.shell()?;
        let stat = fs::read_to_string(format!("/proc/{shell}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("no stat")?;
        // state, ppid, pgrp, session, tty_nr, tpgid
        let group = fields.split_whitespace().nth(5).context("no tpgid")?;
        Ok(group.parse()?)
    }

    /// Checks that the shell has its terminal back: cooked, with a cursor, not the alternate screen.
    pub fn check_restored(&self, mark: &str) -> Result<()> {
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
pub struct Traffic {
    goes_on: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Traffic {
    /// Starts it: about 200 connections a second, closed by the server.
    pub fn start() -> Result<Self> {
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
