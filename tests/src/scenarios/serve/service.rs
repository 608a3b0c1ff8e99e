//! A running `twtrace serve`.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::super::is_of_neighbours;
use crate::{
    runner::Context,
    sys::{http, process, process_usage},
};

const SERVING: &str = "serving http://";

/// The service, stopped when dropped.
pub struct Service {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    /// Address of its endpoint.
    pub address: SocketAddr,
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has exited already in most cases.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command line of a service that listens on a free port.
pub fn command(context: &Context, arguments: &[&str]) -> Command {
    let mut command = Command::new(&context.twtrace);
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(arguments)
        .args(context.tier.options())
        .stdin(Stdio::null());
    command
}

/// Waits for a condition, up to a time limit.
///
/// # Errors
/// If it does not become true in time, or can't be checked.
pub fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let limit = Duration::from_secs(if process::emulated() { 240 } else { 30 });
    let end = Instant::now() + limit;
    while !is_so()? {
        ensure!(Instant::now() < end, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

impl Service {
    /// Starts a service, and waits until it traces.
    ///
    /// # Errors
    /// If it does not get that far.
    pub fn start(context: &Context, arguments: &[&str]) -> Result<Self> {
        Self::of(command(context, arguments))
    }

    /// The same for a command line from [`command`].
    pub fn of(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start twtrace")?;
        let stderr = BufReader::new(child.stderr.take().context("no stderr")?);
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&said);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if !is_of_neighbours(&line) {
                    lines
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(line);
                }
            }
        });
        let mut service = Self {
            child,
            said,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
        };
        until("it says where it serves", || {
            if let Some(status) = service.child.try_wait()? {
                bail!("it ended with {status}: {}", service.said().join("\n"));
            }
            let said = service.said();
            let address = said.iter().find_map(|line| {
                let (_, url) = line.split_once(SERVING)?;
                url.split('/').next()?.parse().ok()
            });
            service.address = address.unwrap_or(service.address);
            Ok(address.is_some())
        })?;
        Ok(service)
    }

    /// What it has printed on standard error so far.
    pub fn said(&self) -> Vec<String> {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until it prints this.
    pub fn until_it_says(&self, words: &str) -> Result<()> {
        until(&format!("it says {words:?}"), || {
            Ok(self.said().iter().any(|line| line.contains(words)))
        })
        .with_context(|| self.said().join("\n"))
    }

    /// The text of its metrics.
    pub fn metrics(&self) -> Result<String> {
        let answer = http::get(self.address, "/metrics")?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.body)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        Ok(process::signal(self.child.id().cast_signed(), signal)?)
    }

    /// Ends it as a service manager does.
    ///
    /// # Errors
    /// If it does not end, or ends with an error.
    pub fn stop(mut self) -> Result<Vec<String>> {
        self.signal(libc::SIGTERM)?;
        let status = self.ended()?;
        ensure!(status.success(), "{status}: {}", self.said().join("\n"));
        Ok(self.said())
    }

    /// Waits until it has exited.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let mut ended = None;
        until("it ends", || {
            ended = self.child.try_wait()?;
            Ok(ended.is_some())
        })?;
        ended.context("no status")
    }

    /// Fields of /proc/PID/status, for each of its threads by name.
    pub fn threads(&self) -> Result<Vec<(String, String)>> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()))?;
        tasks
            .map(|task| {
                let task = task?.path();
                let comm = fs::read_to_string(task.join("comm"))?;
                let status = fs::read_to_string(task.join("status"))?;
                Ok((comm.trim().to_owned(), status))
            })
            .collect()
    }

    /// Its peak memory, KiB.
    pub fn peak_memory_kib(&self) -> Result<u64> {
        process_usage::peak_memory_kib(self.child.id())
    }
}

/// Runs one that ends without serving; returns its exit code and what it printed on either output.
pub fn refused(mut command: Command) -> Result<(i32, String)> {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let output = child.wait_with_output()?;
    let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
    let said = [text(&output.stdout), text(&output.stderr)].concat();
    Ok((output.status.code().unwrap_or(-1), said))
}

/// Runs one that only checks its configuration.
pub fn check(context: &Context, file: &OsStr, arguments: &[&str]) -> Command {
    let mut command = Command::new(&context.twtrace);
    command
        .args(["serve", "--check-config", "--config"])
        .arg(file)
        .args(arguments)
        .stdin(Stdio::null());
    command
}
