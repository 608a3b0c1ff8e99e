//! Runs test programs, each in a process group of its own: a mutation may make them hang, or leave processes behind,
//! and all of them end here.

use std::{
    io::{self, BufRead, BufReader},
    mem,
    os::unix::process::CommandExt,
    process::Command,
    sync::{
        atomic::{AtomicI32, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::process::line_of;

/// How often to check whether the program has ended although another process still holds its output.
const TICK: Duration = Duration::from_millis(200);

/// The running group; 0 for none.
static RUNNING: AtomicI32 = AtomicI32::new(0);

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramEnd {
    /// It exited, with this code; `None` for a signal.
    Exited(Option<i32>),
    /// It exceeded the time limit, and was killed.
    OverTime,
}

/// Runs a program, and passes on each line of its two outputs. When it has ended, so has its group.
pub fn run(
    mut command: Command,
    limit: Duration,
    mut take: impl FnMut(&str),
) -> Result<ProgramEnd> {
    let line = line_of(&command);
    let (reader, writer) = io::pipe().context("can't make a pipe")?;
    command
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    let child = command.spawn();
    // It holds the write ends: reading does not end before they are closed.
    drop(command);
    let mut child = child.with_context(|| format!("can't run {line}"))?;
    let group = child.id().cast_signed();
    RUNNING.store(group, Ordering::SeqCst);
    let (sender, lines) = mpsc::channel();
    // Not joined: a process that has left the group may hold the pipe for ever.
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + limit;
    let mut is_over_time = false;
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                take(&line);
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            // All output has been read; the process ends soon.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK / 20),
        }
        if has_exited(group) {
            break;
        }
        if Instant::now() >= deadline {
            is_over_time = true;
            break;
        }
    }
    // Before waiting for the process: until then no other process gets its number.
    kill(group);
    RUNNING.store(0, Ordering::SeqCst);
    let status = child.wait();
    let status = status.with_context(|| format!("can't wait for {line}"))?;
    while let Ok(line) = lines.recv_timeout(TICK) {
        take(&line);
    }
    Ok(if is_over_time {
        ProgramEnd::OverTime
    } else {
        ProgramEnd::Exited(status.code())
    })
}

/// Ends the running group when xtask is ended: in a group of its own it does not get the terminal's Ctrl-C.
pub fn end_with_this_process() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler calls only async-signal-safe functions.
        unsafe {
            libc::signal(signal, on_signal as *const () as libc::sighandler_t);
        }
    }
}

extern "C" fn on_signal(signal: libc::c_int) {
    kill(RUNNING.load(Ordering::SeqCst));
    // SAFETY: both are async-signal-safe.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

fn kill(group: i32) {
    // Negated, 0 and 1 would mean other groups than ours.
    if group > 1 {
        // SAFETY: takes only numbers.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}

/// Whether a child has exited; it is not reaped.
fn has_exited(pid: i32) -> bool {
    // SAFETY: a struct of integers, which the call fills.
    unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let id = pid.cast_unsigned();
        libc::waitid(libc::P_PID, id, &raw mut info, options) != 0 || info.si_pid() == pid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> (ProgramEnd, Vec<String>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut lines = Vec::new();
        let end = run(command, limit, |line| lines.push(line.to_owned())).unwrap();
        (end, lines)
    }

    #[test]
    fn lines_and_the_code_are_handed_on() {
        let (end, lines) = shell("echo a; echo b >&2; exit 3", Duration::from_secs(60));
        assert_eq!(end, ProgramEnd::Exited(Some(3)));
        assert_eq!(lines, ["a", "b"]);
    }

    #[test]
    fn what_takes_too_long_is_ended_with_its_children() {
        let begun = Instant::now();
        let script = "sleep 60 & echo $!; wait";
        let (end, lines) = shell(script, Duration::from_millis(500));
        assert_eq!(end, ProgramEnd::OverTime);
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert!(is_gone(&lines[0]));
    }

    #[test]
    fn what_is_left_behind_is_ended() {
        let begun = Instant::now();
        let (end, lines) = shell("sleep 60 & echo $!", Duration::from_secs(60));
        assert_eq!(end, ProgramEnd::Exited(Some(0)));
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert!(is_gone(&lines[0]));
    }

    /// Whether it has exited, even if its new parent has not reaped it yet. Signals take a moment.
    fn is_gone(pid: &str) -> bool {
        (0..100).any(|_| {
            thread::sleep(Duration::from_millis(20));
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            state.is_err() || state.is_ok_and(|state| state.contains(") Z "))
        })
    }
}
