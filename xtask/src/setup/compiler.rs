//! The compilers that can build for `bpfel-unknown-none`: each needs its own `core` for it, or the source of that.

use std::{
    env, fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use super::bpf_core::{self, Core};
use crate::{
    apt,
    process::{find_program, output},
    workspace::{host_triple, outer_cargo},
};

/// The workspace's rust-version: older compilers can't build it.
const MINIMUM: (u32, u32) = (1, 88);

/// Debian's compiler packages, each with a `core` for eBPF: precompiled, or its source, which is larger and has to be
/// compiled.
const APT_PAIRS: [[&str; 2]; 4] = [
    ["rustc-web", "libstd-rust-web-dev-bpf"],
    ["rustc-web", "rust-web-src"],
    ["rustc", "libstd-rust-dev-bpf"],
    ["rustc", "rust-src"],
];

/// Arguments of rustup that install a nightly.
pub const RUSTUP_INSTALL: [&str; 7] = [
    "toolchain",
    "install",
    "nightly",
    "--profile",
    "minimal",
    "--component",
    "rust-src",
];

/// Arguments that add the source to an installed nightly.
pub const RUSTUP_ADD_SOURCE: [&str; 5] = ["component", "add", "rust-src", "--toolchain", "nightly"];

/// The LLVM majors that our bpf-linker version can be built for.
pub const LLVM_IN_LINKER: RangeInclusive<u32> = 21..=23;

/// Origin of a compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// rustup's nightly toolchain.
    RustupNightly,
    /// The system's own packages; its stable compiler is allowed to use nightly features.
    System,
}

impl Origin {
    /// Its name in the stamp file.
    pub fn name(self) -> &'static str {
        match self {
            Self::RustupNightly => "rustup-nightly",
            Self::System => "system",
        }
    }

    /// The origin of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::RustupNightly, Self::System]
            .into_iter()
            .find(|origin| origin.name() == name)
    }
}

/// A suitable compiler.
#[derive(Debug)]
pub struct Compiler {
    pub origin: Origin,
    /// The compiler itself, not a proxy.
    pub rustc: PathBuf,
    /// The cargo to drive it.
    pub cargo: PathBuf,
    /// `core` of the same version.
    pub core: Core,
    /// Major version of its LLVM.
    pub llvm_major: u32,
}

/// rustup's nightly, if it has rust-src; otherwise why not.
pub fn rustup_nightly() -> Result<Compiler, String> {
    let Some(home) = rustup_home() else {
        return Err("there is no rustup".into());
    };
    let toolchain = home
        .join("toolchains")
        .join(format!("nightly-{}", host_triple()));
    let rustc = toolchain.join("bin/rustc");
    if !rustc.is_file() {
        return Err("rustup has no nightly".into());
    }
    let core = toolchain.join("lib/rustlib/src/rust/library/core");
    if !core.join("Cargo.toml").is_file() {
        return Err("rustup's nightly has no rust-src".into());
    }
    let version = version_of(&rustc)?;
    let cargo = toolchain.join("bin/cargo");
    let cargo = if cargo.is_file() {
        cargo
    } else {
        outer_cargo()
    };
    Ok(Compiler {
        origin: Origin::RustupNightly,
        rustc,
        cargo,
        core: Core::Source(core),
        llvm_major: version.llvm_major,
    })
}

/// The system's compiler, if it is new enough and has a `core` or its source; otherwise why not.
pub fn system() -> Result<Compiler, String> {
    let rustc = PathBuf::from("/usr/bin/rustc");
    // A link to rustup's proxy is not a system compiler.
    let is_proxy = fs::canonicalize(&rustc).is_ok_and(|p| p.ends_with("rustup"));
    if !rustc.is_file() || is_proxy {
        return Err("the system has no compiler at /usr/bin/rustc".into());
    }
    let version = version_of(&rustc)?;
    if (version.major, version.minor) < MINIMUM {
        return Err(format!("the system's rustc {} is too old", version.release));
    }
    let core = match bpf_core::ready(&rustc) {
        Some(library) => Core::Ready(library),
        None => Core::Source(system_source(&version)?),
    };
    Ok(Compiler {
        origin: Origin::System,
        rustc,
        cargo: outer_cargo(),
        core,
        llvm_major: version.llvm_major,
    })
}

/// The source of the system's `core`, if it exists with the compiler's version; otherwise why not.
fn system_source(version: &Version) -> Result<PathBuf, String> {
    let core = PathBuf::from("/usr/lib/rustlib/src/rust/library/core");
    if !core.join("Cargo.toml").is_file() {
        return Err(format!(
            "the system's rustc {} has no core for {}, nor its source",
            version.release,
            bpf_core::TARGET
        ));
    }
    match source_version(&core).filter(|v| *v != version.release) {
        Some(other) => Err(format!(
            "the system's rustc is {}, but its source {other}",
            version.release
        )),
        None => Ok(core),
    }
}

/// Debian keeps the source in a directory with its version, such as `rustc-1.96.0`.
fn source_version(core: &Path) -> Option<String> {
    let real = fs::canonicalize(core).ok()?;
    real.iter()
        .find_map(|part| part.to_str()?.strip_prefix("rustc-").map(str::to_owned))
}

fn rustup_home() -> Option<PathBuf> {
    let home = match env::var_os("RUSTUP_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(env::var_os("HOME")?).join(".rustup"),
    };
    home.join("toolchains").is_dir().then_some(home)
}

/// The packages that apt should install, according to this machine's sources.
///
/// # Errors
/// If this machine has no apt, or its sources have no compiler that is new enough.
pub fn apt_packages() -> Result<Vec<String>> {
    if find_program("apt-cache").is_none() {
        bail!("this is no Debian");
    }
    if let Some(packages) = packages_in_lists()? {
        return Ok(packages);
    }
    // Images come without lists, or with lists that are older than the packages.
    if crate::process::is_root() {
        apt::update()?;
        if let Some(packages) = packages_in_lists()? {
            return Ok(packages);
        }
    }
    bail!(
        "no package of rustc {}.{} or newer in the machine's apt sources",
        MINIMUM.0,
        MINIMUM.1
    )
}

fn packages_in_lists() -> Result<Option<Vec<String>>> {
    for pair in APT_PAIRS {
        if let Some(version) = apt::candidate(pair[0])?
            && leading_version(&version).is_some_and(|v| v >= MINIMUM)
            && apt::candidate(pair[1])?.is_some_and(|other| other == version)
        {
            return Ok(Some(pair.map(str::to_owned).to_vec()));
        }
    }
    Ok(None)
}

struct Version {
    release: String,
    major: u32,
    minor: u32,
    llvm_major: u32,
}

fn version_of(rustc: &Path) -> Result<Version, String> {
    let mut command = Command::new(rustc);
    command.arg("-vV").env_remove("LD_LIBRARY_PATH");
    let text = output(&mut command).map_err(|error| format!("{error:#}"))?;
    parse_version(&text).ok_or_else(|| format!("{} -vV says nothing of use", rustc.display()))
}

fn parse_version(text: &str) -> Option<Version> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let release = field("release:")?.to_owned();
    let (major, minor) = leading_version(&release)?;
    let llvm_major = field("LLVM version:")?.split('.').next()?.parse().ok()?;
    Some(Version {
        release,
        major,
        minor,
        llvm_major,
    })
}

/// The first two numbers of a version: (1, 96) of `1.96.0+dfsg1-1`.
fn leading_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_rustc() {
        let text = "rustc 1.97.0-nightly (e50 2026-05-19)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
            release: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        let version = parse_version(text).unwrap();
        assert_eq!(
            (version.major, version.minor, version.llvm_major),
            (1, 97, 22)
        );
        assert_eq!(version.release, "1.97.0-nightly");
        assert!(parse_version("rustc 1").is_none());
    }

    #[test]
    fn package_versions_compare_with_the_minimum() {
        assert!(leading_version("1.96.0+dfsg1-1~deb12u2").unwrap() >= MINIMUM);
        assert!(leading_version("1.63.0+dfsg1-2").unwrap() < MINIMUM);
        assert_eq!(leading_version("x"), None);
    }
}
