//! A command line in a shell, which ends by itself, or by SIGINT to its twtrace.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;

use crate::{
    runner::wait,
    sys::{bpf, process},
};

/// How long a command may take to end by itself, or to attach: many seconds if everything else runs at the same time.
const LIMIT: Duration = Duration::from_secs(180);
/// How long a command counts: those with a longer `--duration` end early, as with Ctrl-C.
const COUNTS_FOR: Duration = Duration::from_secs(1);
/// How often it is checked.
const PAUSE: Duration = Duration::from_millis(20);
/// What `serve` prints once it answers.
const SERVES: &str = "serving http://";

/// A running command.
pub struct Running {
    shell: Child,
    errors: NamedTempFile,
}

/// How a command ended.
pub struct Ended {
    pub code: i32,
    /// Its standard error.
    pub errors: String,
}

/// Starts a command line in a directory; its programs come from `path` first.
pub fn start(command: &str, directory: &Path, path: &str) -> Result<Running> {
    let errors = NamedTempFile::new()?;
    let shell = Command::new("bash")
        // A pipeline fails if any part of it does.
        .args(["--norc", "-o", "pipefail", "-c", command])
        .current_dir(directory)
        .env("PATH", path)
        .env("HOME", directory)
        .env_remove("SUDO_UID")
        .env_remove("SUDO_GID")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors.reopen()?)
        .process_group(0)
        .spawn()
        .context("start bash")?;
    Ok(Running { shell, errors })
}

impl Running {
    /// Waits until it ends, counts, or serves; returns whether it serves.
    pub fn is_service(&mut self) -> Result<bool> {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end && self.shell.try_wait()?.is_none() {
            if self.printed()?.contains(SERVES) {
                return Ok(true);
            }
            let tracers = self.tracers();
            if tracers.iter().any(|pid| counts(*pid) && !serves(*pid)) {
                return Ok(false);
            }
            thread::sleep(PAUSE);
        }
        Ok(false)
    }

    /// Waits for its end; if its twtrace counts for long, sends it SIGINT, unless it ends with a command of its own.
    pub fn end(mut self) -> Result<Ended> {
        let mut counting: Option<Instant> = None;
        let limit = Instant::now() + LIMIT;
        while Instant::now() < limit && self.shell.try_wait()?.is_none() {
            let tracers = self.tracers();
            if tracers
                .iter()
                .any(|pid| counts(*pid) && !words(*pid).contains(&"--".to_owned()))
            {
                let since = *counting.get_or_insert_with(Instant::now);
                if since.elapsed() >= COUNTS_FOR {
                    for tracer in tracers {
                        // It may have ended by now.
                        let _ = process::signal(tracer.cast_signed(), libc::SIGINT);
                    }
                    break;
                }
            }
            thread::sleep(PAUSE);
        }
        let waited = wait(&mut self.shell, LIMIT);
        if waited.is_err() {
            self.kill_all();
        }
        let status = waited?;
        let errors = self.printed()?;
        let code = status
            .code()
            .with_context(|| format!("ended with {status}: {errors}"))?;
        Ok(Ended { code, errors })
    }

    fn printed(&self) -> Result<String> {
        let text = fs::read(self.errors.path())?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Kills its process group: all parts of a pipeline. The group keeps its number while it has members.
    fn kill_all(&self) {
        let _ = process::signal(-self.shell.id().cast_signed(), libc::SIGKILL);
    }

    /// Processes named twtrace of its process group.
    fn tracers(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut open = vec![self.shell.id()];
        while let Some(pid) = open.pop() {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if comm.trim() == "twtrace" {
                found.push(pid);
            }
            let children = format!("/proc/{pid}/task/{pid}/children");
            let children = fs::read_to_string(children).unwrap_or_default();
            open.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        found
    }
}

/// Whether a process holds programs: it is attached, or about to be.
fn counts(pid: u32) -> bool {
    bpf::programs_of(pid).is_ok_and(|held| !held.is_empty())
}

fn serves(pid: u32) -> bool {
    words(pid).get(1).is_some_and(|verb| verb == "serve")
}

/// The command line of a process.
fn words(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0);
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already if `end` was called; its number may then be another's.
        if !matches!(self.shell.try_wait(), Ok(None)) {
            return;
        }
        self.kill_all();
        let _ = self.shell.wait();
    }
}
