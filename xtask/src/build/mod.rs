//! `cargo xtask build`: the eBPF object, then one static binary with the object inside.

mod bpf;
mod programs;

use std::{path::PathBuf, thread};

use anyhow::Result;
use clap::Args;

pub use programs::{cargo, lints, unit_tests};

use crate::{setup, workspace::Workspace};

/// Separates flags in CARGO_ENCODED_RUSTFLAGS, so that a path may hold a space.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// Options of `cargo xtask build`.
#[derive(Args)]
pub struct BuildArgs {
    /// Optimise the whole program and strip it, as packages have it; takes about twice as long
    #[arg(long)]
    release: bool,
}

/// How the userspace programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build and quick enough to run: what developers run and tests test.
    Quick,
    /// What users run.
    Release,
}

/// Which userspace programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// twtrace alone.
    Program,
    /// twtrace, and the programs of the tests crate.
    ProgramAndTests,
    /// All programs, and all unit tests.
    All,
}

/// The programs built.
#[derive(Debug)]
pub struct Binaries {
    /// Where all of them are.
    directory: PathBuf,
}

impl Binaries {
    /// The tracer.
    pub fn twtrace(&self) -> PathBuf {
        self.directory.join("twtrace")
    }

    /// The scenario runner.
    pub fn scenarios(&self) -> PathBuf {
        self.directory.join("scenarios")
    }

    /// What measures the cost of tracing.
    pub fn bench(&self) -> PathBuf {
        self.directory.join("bench")
    }

    /// One stage of an event's way through twtrace.
    pub fn path(&self) -> PathBuf {
        self.directory.join("examples/path")
    }

    /// The first process of a virtual machine.
    pub fn guest_init(&self) -> PathBuf {
        self.directory.join("guest_init")
    }
}

/// Builds, and prints the program's path as the last line on stdout.
///
/// # Errors
/// When setup or one of the builds fails.
pub fn verb(workspace: &Workspace, args: &BuildArgs) -> Result<()> {
    let profile = Profile::of(args.release);
    let binaries = everything(workspace, profile, Parts::Program)?;
    println!("{}", binaries.twtrace().display());
    Ok(())
}

impl Profile {
    /// Which one `--release` asks for.
    pub fn of(release: bool) -> Self {
        if release { Self::Release } else { Self::Quick }
    }
}

/// Setup, the eBPF object beside the libraries, then the programs asked for.
///
/// # Errors
/// When setup or one of the builds fails.
pub fn everything(workspace: &Workspace, profile: Profile, parts: Parts) -> Result<Binaries> {
    let toolchain = setup::ensure(workspace)?;
    announce(workspace, profile, parts);
    let (object, libraries) = thread::scope(|scope| {
        let object = scope.spawn(|| bpf::object(workspace, &toolchain, parts));
        let libraries = programs::libraries(workspace, profile, parts);
        if !object.is_finished() {
            eprintln!("waiting for the eBPF object");
        }
        (object.join(), libraries)
    });
    object.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    libraries?;
    programs::build(workspace, profile, parts)
}

/// Says what is built, and how long it usually takes where nothing of it is there yet.
fn announce(workspace: &Workspace, profile: Profile, parts: Parts) {
    if programs::are_built(workspace, profile) {
        eprintln!("building what has changed");
        return;
    }
    let (what, minutes) = match (profile, parts) {
        (Profile::Quick, Parts::Program) => ("twtrace", 2),
        (Profile::Quick, _) => ("twtrace and its tests", 4),
        (Profile::Release, Parts::Program) => ("twtrace, fully optimised", 4),
        (Profile::Release, _) => ("twtrace and its tests, fully optimised", 6),
    };
    eprintln!("building {what}: usually {minutes} minutes on two CPUs, and seconds from then on");
}

/// Where it was built is nobody's business, and must not make a difference: places of panics have it otherwise.
fn without_own_paths(workspace: &Workspace) -> Vec<String> {
    let mut flags = vec![format!(
        "--remap-path-prefix={}=/twtrace",
        workspace.root.display()
    )];
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    if let Some(home) = home {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    flags
}
