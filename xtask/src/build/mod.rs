//! `cargo xtask build`: the eBPF object, then one static binary that contains it.

mod bpf;
mod programs;

use std::{path::PathBuf, thread};

use anyhow::Result;
use clap::Args;

pub use programs::{cargo, lints, unit_tests};

use crate::{setup, workspace::Workspace};

/// Separates flags in CARGO_ENCODED_RUSTFLAGS, so that a path may contain a space.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// Options of `cargo xtask build`.
#[derive(Args)]
pub struct BuildArgs {
    /// Optimise the whole program and strip it, as packages have it; takes about twice as long
    #[arg(long)]
    release: bool,
}

/// How to build the userspace programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Fast to build and fast enough to run: what developers run and tests test.
    Quick,
    /// The build for users.
    Release,
}

/// Which userspace programs to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Only twtrace.
    Program,
    /// twtrace, and the programs of the tests crate.
    ProgramAndTests,
    /// All programs, and all unit tests.
    All,
}

/// The programs built.
#[derive(Debug)]
pub struct Binaries {
    /// Directory of all of them.
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

    /// The program that measures the cost of tracing.
    pub fn bench(&self) -> PathBuf {
        self.directory.join("bench")
    }

    /// One stage of an event's path through twtrace.
    pub fn path(&self) -> PathBuf {
        self.directory.join("examples/path")
    }

    /// The first process of a guest.
    pub fn guest_init(&self) -> PathBuf {
        self.directory.join("guest_init")
    }
}

/// Builds, and prints the program's path as the last line on stdout.
pub fn verb(workspace: &Workspace, args: &BuildArgs) -> Result<()> {
    let profile = Profile::of(args.release);
    let binaries = everything(workspace, profile, Parts::Program)?;
    println!("{}", binaries.twtrace().display());
    Ok(())
}

impl Profile {
    /// Selects by `--release`.
    pub fn of(release: bool) -> Self {
        if release { Self::Release } else { Self::Quick }
    }
}

/// Runs setup, builds the eBPF object and the libraries in parallel, then the requested programs.
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

/// Prints what is built, and how long it usually takes if nothing has been built yet.
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

/// Removes the build directory from the output: it must not make a difference, and the locations of panics would
/// otherwise contain it.
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
