//! The `twtrace trace` that watches a storm: its events as they arrive; none is kept.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, ChildStdout},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::plan::{self, End, Life};
use crate::{
    expect::environment::Facts,
    runner,
    sys::{bpf, process, process_usage},
};

/// A process, as an event names it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ReportedProcess {
    /// Thread group.
    pub pid: i32,
    /// comm of its leader.
    pub comm: String,
}

/// The compared fields of an event.
#[derive(Clone, Debug, Deserialize)]
pub struct TraceEvent {
    /// `event`
    pub event: String,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub mono_ns: u64,
    /// Inode number of the network namespace; 0 if the event has none.
    #[serde(default)]
    pub netns: u64,
    /// This end.
    #[serde(default)]
    pub local: Option<SocketAddr>,
    /// The other end.
    #[serde(default)]
    pub remote: Option<SocketAddr>,
    /// `client`, `server` or `unknown`.
    #[serde(default)]
    pub side: Option<String>,
    /// The responsible process.
    #[serde(default)]
    pub process: Option<ReportedProcess>,
    /// The process that connected or accepted.
    #[serde(default)]
    pub opener: Option<ReportedProcess>,
    /// Why there is no process.
    #[serde(default)]
    pub unattributed: Option<String>,
    /// Of a reset.
    #[serde(default)]
    pub direction: Option<String>,
    /// Of a reset or an abort.
    #[serde(default)]
    pub reason: Option<String>,
    /// Of a sent RST: the kernel's own reason, if it has one.
    #[serde(default)]
    pub kernel_reason: Option<String>,
    /// Of a reset or an abort: the state before it.
    #[serde(default)]
    pub state: Option<String>,
    /// Of the end of a TIME_WAIT.
    #[serde(default)]
    pub cause: Option<String>,
    /// The whole line.
    #[serde(skip)]
    pub line: String,
}

impl TraceEvent {
    /// The life that it is about, and which end of it.
    pub fn end(&self) -> Option<(Life, End)> {
        plan::end_of(self.local?, self.remote?)
    }

    /// `event`, for a reset with its direction.
    pub fn kind(&self) -> String {
        match &self.direction {
            Some(direction) => format!("{} {direction}", self.event),
            None => self.event.clone(),
        }
    }

    /// Whether a listener did it, or one of its half-open requests.
    pub fn is_of_listener(&self) -> bool {
        matches!(self.state.as_deref(), Some("listen" | "new_syn_recv"))
    }

    /// Whether it ended an open connection: what the kernel counts in EstabResets.
    pub fn is_connection_reset(&self) -> bool {
        matches!(self.state.as_deref(), Some("established" | "close_wait"))
            && matches!(self.event.as_str(), "reset" | "abort")
    }

    /// Whether it is a reset in this direction.
    pub fn is_reset(&self, direction: &str) -> bool {
        self.event == "reset" && self.direction.as_deref() == Some(direction)
    }
}

#[derive(Default)]
struct Came {
    events: Vec<TraceEvent>,
    lost: u64,
    last_lost: String,
    unreadable: Vec<String>,
}

/// A running `twtrace trace --json`.
pub struct StormTracer {
    child: Child,
    /// The tiers that it reports.
    pub facts: Facts,
    came: Arc<Mutex<Came>>,
    threads: Vec<JoinHandle<()>>,
    errors: Arc<Mutex<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StormTracer {
    /// Starts it with these options, and waits until it has attached.
    ///
    /// # Errors
    /// If it does not get that far.
    pub fn start(twtrace: &Path, options: &[String]) -> Result<Self> {
        let verb = ["trace", "--json", "--ring-mb", "64", "--slow-port", "10s"];
        let mut child = runner::spawn(twtrace, &verb, options)?;
        let mut stdout = BufReader::new(child.stdout.take().context("twtrace has no output")?);
        let stderr = child.stderr.take().context("twtrace has no errors")?;
        let errors = Arc::new(Mutex::new(String::new()));
        let mut threads = vec![thread::spawn({
            let errors = Arc::clone(&errors);
            move || take_errors(stderr, &errors)
        })];
        let mut first = String::new();
        stdout.read_line(&mut first)?;
        let start: Value = serde_json::from_str(&first).unwrap_or_default();
        let facts = serde_json::from_value(start["tiers"].clone()).map(|tiers| Facts {
            tiers,
            ..Facts::default()
        });
        let Ok(facts) = facts else {
            let _ = child.kill();
            let _ = child.wait();
            threads.into_iter().for_each(|thread| drop(thread.join()));
            bail!(
                "twtrace trace began with \"{}\": {}",
                first.trim(),
                locked(&errors).trim()
            );
        };
        let came = Arc::new(Mutex::new(Came::default()));
        threads.push(thread::spawn({
            let came = Arc::clone(&came);
            move || take_events(stdout, &came)
        }));
        Ok(Self {
            child,
            facts,
            came,
            threads,
            errors,
        })
    }

    /// Everything reported since the last call, once `is_whole` returns true for all of it or nothing arrived for the
    /// time `patience`.
    ///
    /// # Errors
    /// If it has ended.
    pub fn take(
        &mut self,
        patience: Duration,
        is_whole: impl Fn(&[TraceEvent]) -> bool,
    ) -> Result<Vec<TraceEvent>> {
        let mut all = Vec::new();
        let mut last = Instant::now();
        loop {
            let fresh = std::mem::take(&mut locked(&self.came).events);
            if !fresh.is_empty() {
                last = Instant::now();
                all.extend(fresh);
                if is_whole(&all) {
                    return Ok(all);
                }
            }
            if last.elapsed() >= patience {
                return Ok(all);
            }
            ensure!(
                self.child.try_wait()?.is_none(),
                "twtrace ended: {}",
                locked(&self.errors).trim()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The number of lost events so far, the last line that reported it, and the first line that is not an event.
    pub fn trouble(&self) -> (u64, String, Option<String>) {
        let came = locked(&self.came);
        (
            came.lost,
            came.last_lost.clone(),
            came.unreadable.first().cloned(),
        )
    }

    /// How often the kernel has skipped its programs so far; 0 if the kernel does not count it.
    pub fn misses(&self) -> u64 {
        bpf::misses_of(self.child.id()).unwrap_or(0)
    }

    /// Its peak memory, KiB.
    pub fn peak_kib(&self) -> Result<u64> {
        process_usage::peak_memory_kib(self.child.id())
    }

    /// Ends it as a user does; returns its standard error.
    ///
    /// # Errors
    /// If it does not end, or ends with an error.
    pub fn end(mut self) -> Result<String> {
        process::signal(self.child.id().cast_signed(), libc::SIGINT)?;
        let status = runner::wait(&mut self.child, Duration::from_secs(60))?;
        self.threads
            .drain(..)
            .for_each(|thread| drop(thread.join()));
        let said = locked(&self.errors).clone();
        ensure!(status.success(), "twtrace ended ({status}): {said}");
        Ok(said)
    }
}

impl Drop for StormTracer {
    fn drop(&mut self) {
        // It has exited already if `end` was called.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn take_errors(stderr: ChildStderr, errors: &Mutex<String>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let mut errors = locked(errors);
        errors.push_str(&line);
        errors.push('\n');
    }
}

fn take_events(mut stdout: BufReader<ChildStdout>, came: &Mutex<Came>) {
    let mut line = Vec::new();
    let mut fresh = Vec::new();
    loop {
        line.clear();
        match stdout.by_ref().read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => fresh.push(String::from_utf8_lossy(&line).trim_end().to_owned()),
        }
        // One lock for all lines that arrived together.
        if stdout.buffer().is_empty() {
            take_lines(&mut fresh, came);
        }
    }
    take_lines(&mut fresh, came);
}

fn take_lines(lines: &mut Vec<String>, came: &Mutex<Came>) {
    let events: Vec<_> = lines
        .drain(..)
        .map(|line| match serde_json::from_str::<TraceEvent>(&line) {
            Ok(event) => Ok(TraceEvent { line, ..event }),
            Err(_) => Err(line),
        })
        .collect();
    let mut came = locked(came);
    for event in events {
        match event {
            Ok(event) if event.event == "lost" => {
                let value: Value = serde_json::from_str(&event.line).unwrap_or_default();
                came.lost += value["count"].as_u64().unwrap_or(1);
                came.last_lost = event.line;
            }
            Ok(event) => came.events.push(event),
            Err(line) => came.unreadable.push(line),
        }
    }
}
