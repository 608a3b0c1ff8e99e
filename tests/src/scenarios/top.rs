//! `twtrace top` on a terminal: in tmux, with the keys that a user presses.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use super::{
    Usage,
    terminal::{Tmux, Traffic},
};
use crate::runner::Context;

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
