//! Where things are: the workspace, its target directory, cargo itself.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Variables that the outer cargo or its user set, and that must not reach an inner build: they would
/// change the compiler or its flags behind our back.
const COMPILER_VARIABLES: [&str; 8] = [
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "RUSTC_BOOTSTRAP",
    // rustup puts its toolchain's libraries here; another compiler must find its own.
    "LD_LIBRARY_PATH",
];

/// The workspace this xtask belongs to.
pub struct Workspace {
    /// Directory of the top-level Cargo.toml.
    pub root: PathBuf,
    /// cargo's target directory; what xtask downloads and caches is kept there too.
    pub target: PathBuf,
}

impl Workspace {
    /// Finds the workspace by the directory of the xtask package.
    ///
    /// # Errors
    /// When that directory is gone: the workspace was moved after xtask was built.
    pub fn find() -> Result<Self> {
        let package =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&package)
            .parent()
            .context("the xtask package has no parent directory")?
            .to_owned();
        ensure!(
            root.join("probe-ebpf").is_dir(),
            "{} is not the workspace of twtrace",
            root.display()
        );
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(directory) => root.join(directory),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The cargo that runs this xtask, in the workspace's directory.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(outer_cargo());
        command.current_dir(&self.root);
        command
    }

    /// A cargo (the one given) whose compiler and flags are the caller's alone.
    pub fn clean_cargo(&self, cargo: &Path) -> Command {
        let mut command = Command::new(cargo);
        command.current_dir(&self.root);
        for variable in COMPILER_VARIABLES {
            command.env_remove(variable);
        }
        command
    }

    /// Directory with the kernel packages of virtual machines.
    pub fn kernels(&self) -> PathBuf {
        self.target.join("kernels")
    }

    /// Directory with the initramfs and the logs of virtual machines.
    pub fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }
}

/// The cargo that started xtask.
pub fn outer_cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// The triple of this machine, for builds that name it.
pub fn host_triple() -> String {
    format!("{}-unknown-linux-gnu", env::consts::ARCH)
}
