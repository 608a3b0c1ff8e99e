//! Runs in turns: alone, traced, alone, traced by another. Each traced run is compared with the two beside it, so that
//! other work of the machine (it changes every minute) affects all of them in the same way.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    load::LoadResult,
    meter::{self, BpfStatistics},
    spread::Spread,
    subject::Subject,
    tracer::{Said, Setup, Tracer, TracerKind},
};
use crate::sys::{
    bpf::{self, Runs},
    process_usage,
};

/// Time for a tracer to read what a load left in its buffers.
const DRAIN: Duration = Duration::from_millis(300);

#[derive(Clone, Debug)]
pub struct RunSample {
    /// The load that was played.
    pub played: LoadResult,
    /// CPU time of the whole machine during the run.
    pub machine_ns: f64,
    /// CPU time of the tracer during the run.
    pub tracer_ns: f64,
    /// Runs of its programs, if they were counted.
    pub runs: Vec<Runs>,
    /// Its peak memory.
    pub peak_kib: u64,
    /// Memory of its maps.
    pub map_bytes: u64,
    /// What it reported.
    pub said: Option<Said>,
}

impl RunSample {
    /// A total, divided by the number of connections.
    pub fn each(&self, total: f64) -> f64 {
        total / self.played.connections as f64
    }

    /// Time in programs for each connection, nanoseconds.
    pub fn bpf_ns(&self) -> f64 {
        self.each(self.runs.iter().map(|runs| runs.time_ns as f64).sum())
    }

    /// Runs of programs for each connection.
    pub fn bpf_runs(&self) -> f64 {
        self.each(self.runs.iter().map(|runs| runs.count as f64).sum())
    }

    /// How many of the reported TIME_WAITs are correct; `None` if nothing was reported.
    pub fn right(&self) -> Option<u64> {
        self.said
            .as_ref()
            .map(|said| said.births_client + said.births_server)
    }
}

/// A load that is ready to start.
#[derive(Debug)]
pub struct StartedLoad {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Drop for StartedLoad {
    fn drop(&mut self) {
        // Its namespace ends with it.
        drop(self.stdin.take());
        if self.child.wait().is_err() {
            let _ = self.child.kill();
        }
    }
}

impl StartedLoad {
    /// Starts it with these options, and waits until it is ready.
    pub fn start(arguments: &[String]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["load", "--wait"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("no standard output")?;
        let mut load = Self {
            child,
            stdin,
            lines: BufReader::new(stdout).lines(),
        };
        load.line().context("the load does not begin")?;
        Ok(load)
    }

    fn line(&mut self) -> Result<String> {
        Ok(self.lines.next().context("it ended")??)
    }

    /// Plays it. Its sockets and processes stay until it is dropped.
    pub fn play(&mut self) -> Result<LoadResult> {
        let stdin = self.stdin.as_mut().context("no standard input")?;
        stdin.write_all(b"go\n")?;
        Ok(serde_json::from_str(&self.line()?)?)
    }
}

/// Plays a load once, with a tracer or without.
pub fn sample(who: TracerKind, setup: &Setup, load: &[String]) -> Result<RunSample> {
    let tracer = Tracer::start(who, setup)?;
    let pid = tracer.as_ref().map(Tracer::pid);
    let mut load = StartedLoad::start(load)?;
    meter::settle()?;
    let of_tracer = || -> Result<_> {
        Ok(match pid {
            Some(pid) => (bpf::runs_of(pid)?, process_usage::cpu_ns(pid)?),
            None => Default::default(),
        })
    };
    let (runs, tracer_ns) = of_tracer()?;
    let machine_ns = meter::machine_cpu_ns()?;
    let played = load.play()?;
    thread::sleep(DRAIN);
    let machine_ns = meter::machine_cpu_ns()? - machine_ns;
    let (runs_after, tracer_after_ns) = of_tracer()?;
    let (peak_kib, map_bytes) = match pid {
        Some(pid) => (
            process_usage::peak_memory_kib(pid)?,
            bpf::map_bytes_of(pid)?,
        ),
        None => (0, 0),
    };
    let (said, last_kib) = match tracer {
        Some(tracer) => tracer.finish(setup)?,
        None => (None, 0),
    };
    drop(load);
    Ok(RunSample {
        played,
        machine_ns: machine_ns as f64,
        tracer_ns: tracer_after_ns.saturating_sub(tracer_ns) as f64,
        runs: meter::runs_between(&runs, &runs_after),
        peak_kib: peak_kib.max(last_kib),
        map_bytes,
        said,
    })
}

/// A traced run, and the two untraced runs beside it.
#[derive(Clone, Debug)]
pub struct TracedPair {
    pub traced: RunSample,
    /// Before and after.
    pub alone: [RunSample; 2],
}

impl TracedPair {
    /// A figure of the traced run, as a multiple of the same figure of the other two.
    pub fn ratio(&self, of: impl Fn(&RunSample) -> f64) -> f64 {
        of(&self.traced) * 2.0 / self.alone.iter().map(of).sum::<f64>()
    }
}

/// The measurements of one tracer.
#[derive(Clone, Debug)]
pub struct Measured {
    pub subject: Subject,
    /// Runs in turns with others, without counting runs of programs.
    pub pairs: Vec<TracedPair>,
    /// Runs with counting.
    pub counted: Vec<RunSample>,
    /// Why there are no measurements, or no more.
    pub trouble: Option<String>,
}

impl Measured {
    fn sample(&self, setup: &Setup, load: &[String]) -> Result<RunSample> {
        sample(self.subject.who, &self.subject.setup(setup), load)
    }

    /// A ratio over all pairs.
    pub fn ratio(&self, of: impl Fn(&RunSample) -> f64 + Copy) -> Option<Spread> {
        Spread::of(self.pairs.iter().map(|pair| pair.ratio(of)))
    }

    /// Traced runs, counted or not.
    pub fn samples(&self) -> impl Iterator<Item = &RunSample> {
        self.pairs
            .iter()
            .map(|pair| &pair.traced)
            .chain(&self.counted)
    }

    /// Time in programs for each connection, nanoseconds.
    pub fn bpf_ns(&self) -> Option<Spread> {
        Spread::of(self.counted.iter().map(RunSample::bpf_ns))
    }

    /// CPU time of its process for each connection, nanoseconds.
    pub fn own_ns(&self) -> Option<Spread> {
        Spread::of(
            self.pairs
                .iter()
                .map(|pair| pair.traced.each(pair.traced.tracer_ns)),
        )
    }

    /// Runs of programs for each connection.
    pub fn bpf_runs(&self) -> Option<Spread> {
        Spread::of(self.counted.iter().map(RunSample::bpf_runs))
    }
}

/// Measures each tracer with this load: `pairs` pairs, and `counted` runs with programs counted.
///
/// # Errors
/// If the load can't be played alone.
pub fn measure(
    subjects: &[Subject],
    setup: &Setup,
    load: &[String],
    (pairs, counted): (u32, u32),
) -> Result<Vec<Measured>> {
    let statistics = BpfStatistics::keep()?;
    let mut all: Vec<Measured> = subjects
        .iter()
        .map(|subject| Measured {
            subject: subject.clone(),
            pairs: Vec::new(),
            counted: Vec::new(),
            trouble: None,
        })
        .collect();
    for round in 0..pairs {
        statistics.set(false)?;
        let mut before = sample(TracerKind::Nobody, setup, load)?;
        for measured in all.iter_mut().filter(|measured| measured.trouble.is_none()) {
            eprintln!(
                "bench: {} {}, {} of {pairs}",
                load.join(" "),
                measured.subject.title(),
                round + 1
            );
            let traced = measured.sample(setup, load);
            let after = sample(TracerKind::Nobody, setup, load)?;
            match traced {
                Ok(traced) => measured.pairs.push(TracedPair {
                    traced,
                    alone: [before, after.clone()],
                }),
                Err(error) => measured.trouble = Some(format!("{error:#}")),
            }
            before = after;
        }
        statistics.set(true)?;
        let counted_now = all.iter_mut().filter(|measured| {
            measured.trouble.is_none()
                && measured.subject.who != TracerKind::Nobody
                && round < counted
        });
        for measured in counted_now {
            match measured.sample(setup, load) {
                Ok(sample) => measured.counted.push(sample),
                Err(error) => measured.trouble = Some(format!("{error:#}")),
            }
        }
    }
    Ok(all)
}
