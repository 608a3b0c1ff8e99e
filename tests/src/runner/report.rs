//! Runs a `twtrace report --json` or `twtrace doctor` of its own around one scenario.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader},
    path::Path,
    process::Child,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::spawn;
use crate::sys::{bpf, process};

/// How long attaching may take.
const ATTACH_LIMIT: Duration = Duration::from_secs(120);
/// How long twtrace may take to end after SIGINT.
const END_LIMIT: Duration = Duration::from_secs(120);

/// What it prints on standard error once everything is attached: one of these.
const READY: [&str; 2] = ["counting", "recording; Ctrl-C"];

/// A running report, or another verb that runs until it is ended.
pub struct RunningReport {
    child: Child,
    errors: Receiver<String>,
}

impl RunningReport {
    /// Starts it, and waits until its probes are attached and its first samples taken.
    ///
    /// # Errors
    /// If it does not get that far; with its standard error.
    pub fn start(twtrace: &Path, options: &[String]) -> Result<Self> {
        Self::start_verb(twtrace, &["report", "--json"], options)
    }

    /// The same for another verb that counts or records.
    pub fn start_verb(twtrace: &Path, verb: &[&str], options: &[String]) -> Result<Self> {
        let mut child = spawn(twtrace, verb, options)?;
        let stderr = child.stderr.take().context("twtrace has no errors")?;
        let (sender, errors) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // Nobody reads any more once the report is over.
                let _ = sender.send(line);
            }
        });
        let report = Self { child, errors };
        report.await_ready()?;
        Ok(report)
    }

    fn await_ready(&self) -> Result<()> {
        let end = Instant::now() + ATTACH_LIMIT;
        let mut said = Vec::new();
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            match self.errors.recv_timeout(left) {
                Ok(line) if READY.iter().any(|ready| line.contains(ready)) => return Ok(()),
                Ok(line) => said.push(line),
                Err(_) => break,
            }
        }
        bail!("twtrace did not get ready: {}", said.join("; "))
    }

    /// Ids of the BPF programs that it holds.
    pub fn programs(&self) -> io::Result<BTreeSet<u32>> {
        bpf::programs_of(self.child.id())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it (SIGKILL).
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it with SIGINT, and reads its output.
    ///
    /// # Errors
    /// If it does not end, fails, or prints anything but one JSON document.
    pub fn end(self) -> Result<Value> {
        let (code, output) = self.end_with(&[0])?;
        serde_json::from_str(&output)
            .with_context(|| format!("not a JSON document but, with code {code}: {output:.300}"))
    }

    /// Ends it with SIGINT. Returns its exit code and output.
    ///
    /// # Errors
    /// If it does not end, or not with one of these exit codes.
    pub fn end_with(self, codes: &[i32]) -> Result<(i32, String)> {
        self.end_within(END_LIMIT, codes)
    }

    /// The same, if it may not take as long.
    ///
    /// # Errors
    /// As [`Self::end_with`].
    pub fn end_within(mut self, limit: Duration, codes: &[i32]) -> Result<(i32, String)> {
        process::signal(self.child.id().cast_signed(), libc::SIGINT)?;
        // Reads its output while it ends, so that it can't block on a full pipe.
        let stdout = self.child.stdout.take().context("no output")?;
        let output = thread::spawn(move || io::read_to_string(stdout));
        let status = super::trace::wait(&mut self.child, limit)?;
        let output = output.join().unwrap_or_else(|_| Ok(String::new()))?;
        let code = status.code().filter(|code| codes.contains(code));
        let code = code.with_context(|| {
            format!(
                "twtrace ended with {status}: {}",
                self.errors.iter().collect::<Vec<_>>().join("; ")
            )
        })?;
        Ok((code, output))
    }
}

impl Drop for RunningReport {
    fn drop(&mut self) {
        // It has exited already if `end` was called.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
