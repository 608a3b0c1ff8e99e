//! A soak: `twtrace serve` beside a crowd of short-lived processes for the requested time, and the resources it used.

mod load;
mod sample;

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use tempfile::NamedTempFile;

use crate::sys::{hidden_births::Recording, process};
use load::{Load, LoadCounters};
use sample::SoakSample;

/// Time for the start, and for slow steps.
const GRACE: Duration = Duration::from_secs(60);

/// Options of `soak`.
#[derive(Debug, Parser)]
pub struct Options {
    /// The twtrace to test.
    #[arg(long)]
    pub twtrace: PathBuf,
    /// Duration in minutes.
    #[arg(long, default_value_t = 30.0)]
    pub minutes: f64,
    /// Processes started per second.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub jobs_per_s: u32,
    /// Connections of each process.
    #[arg(long, default_value_t = 12)]
    pub connections: u32,
    /// Number of different process names.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub names: u32,
    /// Time between two samples, seconds.
    #[arg(long, default_value_t = 15)]
    pub sample_s: u64,
    /// More options for `twtrace serve`.
    #[arg(last = true)]
    pub serve: Vec<String>,
}

/// Runs the soak; prints samples as they are taken, and a summary. Returns whether all checks passed.
pub fn run(options: &Options) -> Result<bool> {
    let load = Load {
        jobs_per_s: options.jobs_per_s,
        connections: options.connections,
        names: options.names,
        duration: Duration::from_secs_f64(options.minutes * 60.0),
    };
    let mut service = Service::start(options)?;
    let played = LoadCounters::shared()?;
    println!("{}", SoakSample::HEADER);
    let mut samples = vec![SoakSample::take(
        service.child.id(),
        service.address,
        played,
    )?];
    let hidden = Recording::begin();
    let started = Instant::now();
    let pid = load::start(load, played)?;
    let mut next = started + Duration::from_secs(options.sample_s);
    while of(&played.done) == 0 {
        thread::sleep(Duration::from_millis(100));
        ensure!(
            !process::reap(pid, Duration::ZERO) && started.elapsed() < load.duration * 2 + GRACE,
            "the load did not get to its end"
        );
        if Instant::now() < next {
            continue;
        }
        let sample = SoakSample::take(service.child.id(), service.address, played)?;
        println!("{}", sample.row(started.elapsed()));
        samples.push(sample);
        next += Duration::from_secs(options.sample_s);
    }
    // The audit is updated every ten seconds.
    thread::sleep(load::AFTERWARDS / 2);
    let last = SoakSample::take(service.child.id(), service.address, played)?;
    println!("{}", last.row(started.elapsed()));
    samples.push(last);
    let hidden = hidden.map(|hidden| hidden.births()).transpose()?;
    ensure!(
        process::reap(pid, load::AFTERWARDS * 2),
        "the load does not end"
    );
    let said = service.stop()?;
    sample::summary(&samples, played, hidden, &said)
}

struct Service {
    child: Child,
    /// A file, as an unread pipe would block the service, and there are no threads yet when the load is forked.
    stderr: NamedTempFile,
    address: SocketAddr,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    fn start(options: &Options) -> Result<Self> {
        let stderr = NamedTempFile::new()?;
        let child = Command::new(&options.twtrace)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(&options.serve)
            .stdin(Stdio::null())
            .stderr(stderr.reopen()?)
            .spawn()
            .context("start twtrace")?;
        let mut service = Self {
            child,
            stderr,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let said = service.said()?;
            if let Some((_, url)) = said
                .iter()
                .find_map(|line| line.split_once("serving http://"))
            {
                service.address = url.split('/').next().unwrap_or_default().parse()?;
                return Ok(service);
            }
            ensure!(
                service.child.try_wait()?.is_none() && Instant::now() < end,
                "twtrace does not serve: {}",
                said.join("\n")
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn said(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.stderr.path())?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Ends it; returns everything it wrote to standard error.
    fn stop(&mut self) -> Result<Vec<String>> {
        process::signal(self.child.id().cast_signed(), libc::SIGTERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "twtrace ended with {status}");
        self.said()
    }
}

/// Value of a counter that all processes share.
fn of(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
