//! The one `twtrace trace` that watches all scenarios, and its output by network namespace.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::stage_process::Namespace;
use crate::{
    stage::fence,
    sys::{bpf, process},
};

/// How long twtrace may take to end after SIGINT.
const END_LIMIT: Duration = Duration::from_secs(60);

/// A running `twtrace trace --json`.
pub struct Trace {
    child: Child,
    pub start: Value,
    shared: Arc<SharedLines>,
    reader: Option<JoinHandle<io::Result<File>>>,
    errors: Option<JoinHandle<String>>,
}

/// How a trace ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
    /// The `lost` events.
    pub lost: Vec<Value>,
    /// Lines that are not JSON objects.
    pub unreadable: Vec<String>,
    /// Everything reported, by namespace.
    events: HashMap<u64, Vec<Arc<Value>>>,
    /// Its standard output.
    pub output: File,
}

impl Ended {
    /// Everything reported for a namespace, without the fence.
    pub fn events(&self, namespace: Namespace) -> Vec<Value> {
        let mut collected = Collected::default();
        let all = self.events.get(&namespace.netns);
        collected.add(namespace, all.map_or(&[], Vec::as_slice));
        collected.events
    }
}

/// Longest wait for a line between two checks of the time limit.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct SharedLines {
    lines: Mutex<Lines>,
    /// Signals that there are more lines.
    came: Condvar,
}

/// The events of a namespace.
#[derive(Default)]
pub struct Collected {
    /// The events, without the fence's.
    pub events: Vec<Value>,
    /// Whether the fence was reported.
    pub is_fenced: bool,
}

impl Collected {
    fn add(&mut self, namespace: Namespace, fresh: &[Arc<Value>]) {
        for event in fresh.iter().filter(|event| namespace.has(event)) {
            self.is_fenced |= fence::is_passed_by(event);
            if !fence::is_about(event) {
                self.events.push((**event).clone());
            }
        }
    }
}

#[derive(Default)]
struct Lines {
    events: HashMap<u64, Vec<Arc<Value>>>,
    lost: Vec<Value>,
    unreadable: Vec<String>,
}

impl Lines {
    /// The events of a namespace from number `from` on, including those of earlier namespaces with its number.
    fn from(&self, namespace: Namespace, from: usize) -> Vec<Arc<Value>> {
        let all = self.events.get(&namespace.netns);
        all.and_then(|all| all.get(from..))
            .map(<[Arc<Value>]>::to_vec)
            .unwrap_or_default()
    }
}

impl SharedLines {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, line: &str) {
        let mut lines = self.lines();
        match serde_json::from_str::<Value>(line) {
            Ok(value) if value["event"] == "lost" => lines.lost.push(value),
            Ok(value) if value.is_object() => {
                let netns = value["netns"].as_u64().unwrap_or(0);
                lines.events.entry(netns).or_default().push(Arc::new(value));
            }
            _ => lines.unreadable.push(line.to_owned()),
        }
        drop(lines);
        self.came.notify_all();
    }
}

impl Trace {
    /// Starts `twtrace trace --json --slow-port 0` with further options, and waits for its first line, which shows that
    /// the probes are attached.
    ///
    /// # Errors
    /// If it does not get that far; with its standard error.
    pub fn start(twtrace: &Path, options: &[String]) -> Result<Self> {
        let mut child = spawn(twtrace, &["trace", "--json", "--slow-port", "0"], options)?;
        let stdout = child.stdout.take().context("twtrace has no output")?;
        let stderr = child.stderr.take().context("twtrace has no errors")?;
        let errors = thread::spawn(move || all_of(stderr));
        let mut stdout = BufReader::new(stdout);
        let mut first = String::new();
        stdout.read_line(&mut first)?;
        let start = serde_json::from_str::<Value>(&first).unwrap_or_default();
        if start["event"] != "start" {
            let _ = child.kill();
            let status = child.wait()?;
            let stderr = errors.join().unwrap_or_default();
            bail!(
                "twtrace trace began with \"{}\" and ended ({status}): {}",
                first.trim(),
                stderr.trim()
            );
        }
        let shared = Arc::new(SharedLines::default());
        let mut output = tempfile::tempfile().context("keep what is told")?;
        output.write_all(first.as_bytes())?;
        let reader = thread::spawn({
            let shared = Arc::clone(&shared);
            move || read_into(stdout, &shared, output)
        });
        Ok(Self {
            child,
            start,
            shared,
            reader: Some(reader),
            errors: Some(errors),
        })
    }

    /// The events of a namespace once its fence was reported and they are `complete`, without the fence's own; or as
    /// they are if none arrived for the time `limit`.
    ///
    /// Events that are reported together end with the fence, as a rule. Only ends of TIME_WAITs that are known after a
    /// time come later.
    pub fn collect(
        &self,
        namespace: Namespace,
        limit: Duration,
        complete: impl Fn(&[Value]) -> bool,
    ) -> Collected {
        let mut last = Instant::now();
        let mut taken = 0;
        let mut collected = Collected::default();
        loop {
            // Only copies under the lock: twtrace's reader must not wait for a comparison.
            let mut lines = self.shared.lines();
            let mut fresh = lines.from(namespace, taken);
            if fresh.is_empty() {
                let waited = self.shared.came.wait_timeout(lines, PATIENCE);
                lines = waited.unwrap_or_else(PoisonError::into_inner).0;
                fresh = lines.from(namespace, taken);
            }
            drop(lines);
            taken += fresh.len();
            if fresh.is_empty() {
                if last.elapsed() >= limit {
                    return collected;
                }
                continue;
            }
            last = Instant::now();
            collected.add(namespace, &fresh);
            if collected.is_fenced && complete(&collected.events) {
                return collected;
            }
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        process::signal(self.child.id().cast_signed(), signal)
    }

    /// How often the kernel has skipped its programs so far; 0 if the kernel does not count it.
    pub fn misses(&self) -> u64 {
        bpf::misses_of(self.child.id()).unwrap_or(0)
    }

    /// Ids of the BPF programs that it holds.
    pub fn programs(&self) -> io::Result<BTreeSet<u32>> {
        bpf::programs_of(self.child.id())
    }

    /// Ends it with SIGINT, as a user does.
    pub fn end(mut self) -> Result<Ended> {
        self.signal(libc::SIGINT)?;
        let status = wait(&mut self.child, END_LIMIT)?;
        let output = self.reader.take().and_then(|reader| reader.join().ok());
        let output = output.context("the reader panicked")?;
        let errors = self.errors.take();
        let stderr = errors.and_then(|errors| errors.join().ok());
        let mut lines = self.shared.lines();
        Ok(Ended {
            status,
            stderr: stderr.unwrap_or_default(),
            lost: std::mem::take(&mut lines.lost),
            unreadable: std::mem::take(&mut lines.unreadable),
            events: std::mem::take(&mut lines.events),
            output: output.context("read what is told")?,
        })
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // It has exited already if `end` was called.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts twtrace with its standard output and standard error in pipes.
pub fn spawn(twtrace: &Path, verb: &[&str], options: &[String]) -> Result<Child> {
    Command::new(twtrace)
        .args(verb)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", twtrace.display()))
}

/// Waits for a child to end.
///
/// # Errors
/// If it does not end within `limit`; it is then killed.
pub fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            bail!("twtrace did not end within {limit:?}, and was killed");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Reads all lines, and also writes them to `output` unchanged.
fn read_into(
    stdout: BufReader<ChildStdout>,
    shared: &SharedLines,
    output: File,
) -> io::Result<File> {
    let mut output = BufWriter::new(output);
    for line in stdout.split(b'\n') {
        let line = line?;
        shared.take(&String::from_utf8_lossy(&line));
        output.write_all(&line)?;
        output.write_all(b"\n")?;
    }
    Ok(output.into_inner()?)
}

fn all_of(mut stderr: ChildStderr) -> String {
    let mut bytes = Vec::new();
    // Output before an error is still worth showing.
    let _ = stderr.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
