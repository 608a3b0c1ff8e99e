//! `cargo xtask build`: the eBPF object, then one static binary with the object inside.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    process::run,
    setup::{self, BpfToolchain, Origin},
    stack_depth,
    strip::strip,
    workspace::{Workspace, host_triple},
};

const BPF_TARGET: &str = "bpfel-unknown-none";

/// Separates flags in CARGO_ENCODED_RUSTFLAGS, so that a path may hold a space.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// Options of `cargo xtask build`.
#[derive(Args)]
pub struct BuildArgs {
    /// Optimise and strip the program
    #[arg(long)]
    release: bool,
}

/// How the userspace programs are built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build, with debug info.
    Dev,
    /// What users run.
    Release,
}

/// Which userspace programs are built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// twtrace alone.
    Program,
    /// twtrace, and the programs of the tests crate.
    ProgramAndTests,
    /// The same, and the program that does one stage of an event's way.
    ForBench,
}

/// The programs built.
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
    let profile = if args.release {
        Profile::Release
    } else {
        Profile::Dev
    };
    let binaries = everything(workspace, profile, Parts::Program)?;
    println!("{}", binaries.twtrace().display());
    Ok(())
}

/// Setup, the eBPF object, then the programs asked for.
///
/// # Errors
/// When setup or one of the builds fails.
pub fn everything(workspace: &Workspace, profile: Profile, parts: Parts) -> Result<Binaries> {
    let toolchain = setup::ensure(workspace)?;
    let object = bpf_object(workspace, &toolchain)?;
    match (stack_depth::check(&object), parts) {
        (Ok(()), _) => {}
        // Other compilers lay out other stacks, and this one's kernel may be a later one.
        (Err(error), Parts::Program) => eprintln!("warning: {error:#}"),
        (Err(error), _) => return Err(error),
    }
    let stripped = strip(&object)?;
    userspace(workspace, profile, parts, &stripped)
}

/// Builds the eBPF side and returns the object's path.
///
/// # Errors
/// When the build fails.
pub fn bpf_object(workspace: &Workspace, toolchain: &BpfToolchain) -> Result<PathBuf> {
    // A directory of its own: another compiler in the common one would mean rebuilding both each time.
    let target = workspace.target.join("bpf");
    let mut flags = vec![
        format!("-Clinker={}", toolchain.linker.display()),
        "-Clink-arg=--btf".to_owned(),
        // Else every array that is cleared is a call of memset(), one byte at a time.
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
    ];
    // It has debug info, for BTF.
    flags.extend(without_own_paths(workspace));
    let mut command = workspace.clean_cargo(&toolchain.cargo);
    command
        .args([
            "build",
            "--locked",
            "--package",
            "probe-ebpf",
            "--profile",
            "bpf",
        ])
        .args(["-Zbuild-std=core", "--target", BPF_TARGET, "--target-dir"])
        .arg(&target)
        .env("RUSTC", &toolchain.rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join(FLAG_SEPARATOR));
    if toolchain.origin == Origin::System {
        // A stable compiler; build-std is a nightly feature.
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    run(&mut command).with_context(|| {
        format!(
            "can't build the eBPF side (if the linker is at fault: {} must link LLVM {}, as {} does)",
            toolchain.linker.display(),
            toolchain.llvm_major,
            toolchain.rustc.display()
        )
    })?;
    let object = target.join(BPF_TARGET).join("bpf/twtrace-bpf");
    ensure!(object.is_file(), "the build left no {}", object.display());
    Ok(object)
}

fn userspace(
    workspace: &Workspace,
    profile: Profile,
    parts: Parts,
    object: &Path,
) -> Result<Binaries> {
    let triple = host_triple();
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    if profile == Profile::Release {
        flags.extend(without_own_paths(workspace));
    }
    let mut command = workspace.clean_cargo(&crate::workspace::outer_cargo());
    command
        // The triple is named, so that the flags are for the programs only, not for build scripts.
        .args(["build", "--locked", "--target", &triple, "--target-dir"])
        .arg(&workspace.target)
        .args(["--package", "probe-user", "--bins"])
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join(FLAG_SEPARATOR))
        .env("TWTRACE_BPF_OBJECT", object);
    match parts {
        Parts::Program => {}
        Parts::ProgramAndTests => {
            command.args(["--package", "twtrace-tests"]);
        }
        Parts::ForBench => {
            command.args(["--package", "twtrace-tests", "--examples"]);
        }
    }
    if profile == Profile::Release {
        command.arg("--release");
    }
    run(&mut command).context("can't build the userspace programs")?;
    let directory = match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    };
    Ok(Binaries {
        directory: workspace.target.join(triple).join(directory),
    })
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
