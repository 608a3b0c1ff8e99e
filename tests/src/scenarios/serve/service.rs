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

use crate::{
    runner::Context,
    sys::{http, process, process_usage},
};

const SERVING: &str = "serving http://";

/// It, until it is dropped.
pub struct Service {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    /// Where its endpoint is.
    pub address: SocketAddr,
}

impl Drop for Service {
    fn drop(&mut self) {
        // Ended already, most of the time.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command line of one that listens where there is room.
pub fn command(context: &Context, arguments: &[&str]) -> Command {
    let mut command = Command::new(&context.twtrace);
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(arguments)
        .args(context.tier.options())
        .stdin(Stdio::null());
    command
}

/// Waits for something, but not for long.
///
/// # Errors
/// When it does not come, or can't be asked for.
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
    /// Starts one, and waits until it traces.
    ///
    /// # Errors
    /// When it does not get so far.
    pub fn start(context: &Context, arguments: &[&str]) -> Result<Self> {
        Self::of(command(context, arguments))
    }

    /// The same of a command line that [`command`] made.
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
                lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
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

    /// What it said on standard error so far.
    pub fn said(&self) -> Vec<String> {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until it says this.
    pub fn until_it_says(&self, words: &str) -> Result<()> {
        until(&format!("it says {words:?}"), || {
            Ok(self.said().iter().any(|line| line.contains(words)))
        })
        .with_context(|| self.said().join("\n"))
    }

    /// The text of its metrics.
    ///
    /// # Errors
    /// When there is none.
    pub fn metrics(&self) -> Result<String> {
        let answer = http::get(self.address, "/metrics")?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.body)
    }

    /// A signal for it.
    pub fn signal(&self, signal: i32) -> Result<()> {
        Ok(process::signal(self.child.id().cast_signed(), signal)?)
    }

    /// Ends it as a service manager does.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub fn stop(mut self) -> Result<Vec<String>> {
        self.signal(libc::SIGTERM)?;
        let status = self.ended()?;
        ensure!(status.success(), "{status}: {}", self.said().join("\n"));
        Ok(self.said())
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let mut ended = None;
        until("it ends", || {
            ended = self.child.try_wait()?;
            Ok(ended.is_some())
        })?;
        ended.context("no status")
    }

    /// Fields of /proc/PID/status, of each of its threads by name.
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

/// The one that ran to its end without serving: what it printed on either output.
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

/// One that only checks its configuration.
pub fn check(context: &Context, file: &OsStr, arguments: &[&str]) -> Command {
    let mut command = Command::new(&context.twtrace);
    command
        .args(["serve", "--check-config", "--config"])
        .arg(file)
        .args(arguments)
        .stdin(Stdio::null());
    command
}
