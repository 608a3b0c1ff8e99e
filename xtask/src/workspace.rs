//! Paths: the workspace, its target directory, cargo itself.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Variables set by the outer cargo or its user that must not reach an inner build: they would change the compiler or
/// its flags unnoticed.
const COMPILER_VARIABLES: [&str; 8] = [
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "RUSTC_BOOTSTRAP",
    // rustup sets this to its toolchain's libraries; another compiler must find its own.
    "LD_LIBRARY_PATH",
];

/// The workspace this xtask belongs to.
pub struct Workspace {
    /// Directory of the top-level Cargo.toml.
    pub root: PathBuf,
    /// cargo's target directory; also for what xtask downloads and caches.
    pub target: PathBuf,
}

impl Workspace {
    /// Finds the workspace by the directory of the xtask package.
    ///
    /// # Errors
    /// If that directory does not exist: the workspace was moved after xtask was built.
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

    /// This cargo, with a compiler and flags that only the caller sets.
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
