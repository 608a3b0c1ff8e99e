//! The sections of `bench run`, and their tables.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::Result;
use clap::{Parser, ValueEnum};

use crate::sys::process;

use super::{
    against, bystander,
    load::LoadKind,
    pairs, path, replay, scale, start,
    subject::{self, Subject},
    table, targets,
    tracer::{Setup, TracerKind},
};

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// Plain closes, under each tracer.
    Churn,
    /// Other ends of connections, without a tracer, under empty programs and under `twtrace report`.
    Kinds,
    /// Work without any TCP.
    Bystanders,
    /// From one process and one destination to very many.
    Scale,
    /// A million TIME_WAITs to 100,000 destinations.
    Memory,
    /// From the start to the first event that could be seen.
    Start,
    /// Reading a recording with a million events.
    Replay,
    /// The cost of an event in userspace, by stage.
    Path,
    /// Plain closes under each tier that this kernel has, and under peers that need no compiler.
    Tiers,
}

/// Options of `bench run`.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// The twtrace to measure.
    #[arg(long)]
    pub twtrace: PathBuf,
    /// What to measure; by default everything.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub section: Vec<Section>,
    /// Which tracers to use in `churn`; by default all.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub who: Vec<TracerKind>,
    /// The example program `path` of twtrace, for that section.
    #[arg(long)]
    pub path_program: Option<PathBuf>,
    /// Instructions of its stages, as committed.
    #[arg(long)]
    pub path_committed: Option<PathBuf>,
    /// Write the measured instructions to that file.
    #[arg(long)]
    pub path_commit: bool,
    /// Another build of twtrace, to compare `churn`, `tiers`, `start` and `replay` with.
    #[arg(long)]
    pub against: Option<PathBuf>,
    /// Number of pairs.
    #[arg(long, default_value_t = 5)]
    pub pairs: u32,
    /// Connections per run.
    #[arg(long, default_value_t = 40_000)]
    pub connections: u64,
    /// More options of twtrace.
    #[arg(last = true)]
    pub options: Vec<String>,
}

/// Measures, and returns tables in Markdown.
pub fn run(options: &Options) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let setup = Setup {
        twtrace: options.twtrace.clone(),
        options: options.options.clone(),
        directory: directory.path().to_owned(),
    };
    let sections = if options.section.is_empty() {
        Section::value_variants()
    } else {
        &options.section[..]
    };
    let mut text = String::new();
    for section in sections {
        match section {
            Section::Churn => text += &churn(options, &setup)?,
            Section::Kinds => text += &kinds(options, &setup)?,
            Section::Bystanders => text += &bystander::measure(&setup, options.pairs)?,
            Section::Scale => {
                text += &scale::measure(&setup, options.connections, options.pairs.min(3))?
            }
            Section::Memory => text += &scale::memory(&setup, options.connections)?,
            Section::Start => {
                text += &{ start::measure(&setup, options.against.as_deref(), options.pairs)? }
            }
            Section::Tiers => text += &tiers(options, &setup)?,
            Section::Replay => {
                let against = options.against.as_deref();
                text += &replay::measure(&setup, against, options.connections, options.pairs)?
            }
            Section::Path => text += &way(options)?,
        }
    }
    Ok(text)
}

fn way(options: &Options) -> Result<String> {
    let (Some(program), Some(committed)) = (&options.path_program, &options.path_committed) else {
        return Ok("The way of an event is not measured: --path-program and --path-committed tell of it.\n\n".to_owned());
    };
    let given = path::Given {
        program: program.clone(),
        committed: committed.clone(),
        commit: options.path_commit,
    };
    path::measure(&given, options.pairs)
}

fn load(kind: LoadKind, connections: u64) -> Vec<String> {
    let connections = connections.to_string();
    ["--kind", kind.word(), "--connections", &connections]
        .map(str::to_owned)
        .to_vec()
}

fn churn(options: &Options, setup: &Setup) -> Result<String> {
    let whom = if options.who.is_empty() {
        TracerKind::value_variants()
    } else {
        &options.who[..]
    };
    let subjects = whom.iter().copied().map(Subject::plain);
    let subjects = match &options.against {
        Some(program) => subject::with_other_build(subjects, program),
        None => subjects.collect(),
    };
    let load = load(LoadKind::Plain, options.connections);
    let counted = options.pairs.min(3);
    let all = pairs::measure(&subjects, setup, &load, (options.pairs, counted))?;
    let mut text = format!(
        "### Plain closes\n\n{} connections a run, {} pairs.\n\n",
        options.connections, options.pairs
    );
    text += &table::of(&all);
    text += &against::of(&all);
    text += &targets::of(&all);
    text += &table::programs(&all);
    Ok(text)
}

/// Peers whose programs are compiled for any kernel: they run without kernel headers.
const COMPILED: [TracerKind; 4] = [
    TracerKind::LibbpfTcpstates,
    TracerKind::LibbpfTcplife,
    TracerKind::LibbpfTcptracer,
    TracerKind::LibbpfFunclatency,
];

fn tiers(options: &Options, setup: &Setup) -> Result<String> {
    let subjects = match &options.against {
        Some(program) => subject::tiers_of_builds(program),
        None => subject::tiers(&COMPILED),
    };
    let load = load(LoadKind::Plain, options.connections);
    let counted = options.pairs.min(2);
    let all = pairs::measure(&subjects, setup, &load, (options.pairs, counted))?;
    let mut text = format!(
        "Linux {}, CPUs: {}. {} connections a run, {} pairs.\n\n",
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        process::cpus(),
        options.connections,
        options.pairs
    );
    text += &table::of(&all);
    text += &against::of(&all);
    text += &table::programs(&all);
    Ok(text)
}

fn kinds(options: &Options, setup: &Setup) -> Result<String> {
    let mut text = String::new();
    for kind in LoadKind::value_variants()
        .iter()
        .filter(|kind| **kind != LoadKind::Plain)
    {
        let pairs = options.pairs.min(3);
        let load = load(*kind, options.connections);
        let subjects =
            [TracerKind::Nobody, TracerKind::Empty, TracerKind::Report].map(Subject::plain);
        let all = pairs::measure(&subjects, setup, &load, (pairs, pairs.min(2)))?;
        let _ = write!(
            text,
            "### {}\n\n{} runs of {} each.\n\n",
            kind.word(),
            pairs,
            options.connections
        );
        text += &table::of(&all);
    }
    Ok(text)
}
