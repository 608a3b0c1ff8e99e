//! Runs in turns: alone, traced, alone, traced by another. Each traced run is compared with the two beside it, so that
//! what else the machine does (it changes by the minute) comes to all of them alike.

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

/// Until a tracer has what a load left in its buffers.
const DRAIN: Duration = Duration::from_millis(300);

/// One run.
#[derive(Clone, Debug)]
pub struct RunSample {
    /// What was played.
    pub played: LoadResult,
    /// CPU time of the whole machine meanwhile.
    pub machine_ns: f64,
    /// CPU time of the tracer meanwhile.
    pub tracer_ns: f64,
    /// Its programs' runs, if they were counted.
    pub runs: Vec<Runs>,
    /// The most memory it has had.
    pub peak_kib: u64,
    /// Memory of its maps.
    pub map_bytes: u64,
    /// What it says it saw.
    pub said: Option<Said>,
}

impl RunSample {
    /// Something for each connection.
    pub fn each(&self, total: f64) -> f64 {
        total / self.played.connections as f64
    }

    /// What was right of what it says; `None` where it says nothing.
    pub fn right(&self) -> Option<u64> {
        self.said
            .as_ref()
            .map(|said| said.births_client + said.births_server)
    }
}

/// A load that is ready to begin.
#[derive(Debug)]
pub struct StartedLoad {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Drop for StartedLoad {
    fn drop(&mut self) {
        // Its namespace goes with it.
        drop(self.stdin.take());
        if self.child.wait().is_err() {
            let _ = self.child.kill();
        }
    }
}

impl StartedLoad {
    /// Starts it with these options.
    ///
    /// # Errors
    /// When it does not get ready.
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

    /// Plays it. What it leaves stays until it is dropped.
    pub fn play(&mut self) -> Result<LoadResult> {
        let stdin = self.stdin.as_mut().context("no standard input")?;
        stdin.write_all(b"go\n")?;
        Ok(serde_json::from_str(&self.line()?)?)
    }
}

/// Plays a load once, under a tracer or under nobody.
///
/// # Errors
/// When either fails.
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

/// A traced run, and the two without a tracer beside it.
#[derive(Clone, Debug)]
pub struct TracedPair {
    /// Traced.
    pub traced: RunSample,
    /// Before and after.
    pub alone: [RunSample; 2],
}

impl TracedPair {
    /// Something of the traced run, as a multiple of the same of the others.
    pub fn ratio(&self, of: impl Fn(&RunSample) -> f64) -> f64 {
        of(&self.traced) * 2.0 / self.alone.iter().map(of).sum::<f64>()
    }
}

/// What came of one tracer.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The tracer.
    pub subject: Subject,
    /// Runs in turns with others, without counting of programs.
    pub pairs: Vec<TracedPair>,
    /// Runs with it.
    pub counted: Vec<RunSample>,
    /// Why there is nothing, or nothing more.
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
        Spread::of(
            self.counted.iter().map(|sample| {
                sample.each(sample.runs.iter().map(|runs| runs.time_ns as f64).sum())
            }),
        )
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
        Spread::of(
            self.counted
                .iter()
                .map(|sample| sample.each(sample.runs.iter().map(|runs| runs.count as f64).sum())),
        )
    }
}

/// Measures each tracer with this load: so many pairs, and so many runs with programs counted.
///
/// # Errors
/// When the load can't be played alone.
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
