//! Why the probes could not be loaded.

use std::{env, io, path::PathBuf};

use twtrace_core::event::text::shell_word;

use super::Question;

/// What twtrace uses without root, as setcap takes it. docs/privileges.md describes each.
const CAPABILITIES: &str = "cap_bpf,cap_perfmon,cap_dac_read_search,cap_syslog,cap_sys_ptrace";

/// The binary, as an argument of a shell's command.
fn own_path() -> String {
    let path = env::current_exe().map_or_else(
        |_| "twtrace".to_owned(),
        |path| path.to_string_lossy().into_owned(),
    );
    shell_word(&path).into_owned()
}

/// Each error names what failed and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The caller may not load eBPF programs.
    #[error(
        "missing {}: run as root (sudo twtrace ...), or allow it without root, to all who may run it: \
         sudo setcap {CAPABILITIES}=ep {} (before Linux 5.8: cap_sys_admin in place of cap_bpf,cap_perfmon)",
        .missing.join(" and "), own_path()
    )]
    Privileges {
        /// Required capabilities that are not held.
        missing: Vec<&'static str>,
    },
    /// The kernel does not report the caller's capabilities.
    #[error("can't read this process's capabilities: {0}")]
    Capabilities(io::Error),
    /// The kernel refuses a clock.
    #[error("can't read the clock: {0}")]
    Clock(io::Error),
    /// The kernel refuses to read or set the limit of open files.
    #[error("can't set the limit of open files (RLIMIT_NOFILE) while the object is loaded: {0}")]
    FileLimit(io::Error),
    /// This build carries no programs.
    #[error("this binary was built without its eBPF programs: build it with `cargo xtask build`")]
    NoObject,
    /// The kernel's type information can't be read.
    #[error(
        "can't read the kernel's BTF {}: {error}; twtrace needs a kernel built with \
         CONFIG_DEBUG_INFO_BTF=y, or its BTF given by --btf FILE", .path.display()
    )]
    BtfUnreadable {
        /// The file of `--btf`, or the kernel's own.
        path: PathBuf,
        error: io::Error,
    },
    /// The file is not BTF.
    #[error("{} is not a BTF file of this byte order, or it is damaged", .0.display())]
    BtfMalformed(PathBuf),
    /// The kernel's structs are not as any known kernel has them.
    #[error("the kernel's BTF has no {strct}.{member}: this kernel is not supported")]
    NoMember {
        strct: &'static str,
        member: &'static str,
    },
    /// aya could not load the object.
    #[error("can't load the eBPF object: {0}")]
    Object(String),
    /// Even the last tier of a required question was refused.
    #[error("no hook for `{}` works on this kernel: {}", .question.name(), .refusals)]
    Refused {
        question: Question,
        /// Each tier and the kernel's reason.
        refusals: String,
    },
    /// New processes can't be seen.
    #[error(
        "can't tell which processes a command starts, so none can be traced alone ({0}): run it beside twtrace, \
         with --comm or --pid"
    )]
    NoDescendants(String),
    /// A map of the object could not be read.
    #[error("can't read the map {map}: {error}")]
    Map {
        /// Its name in the object.
        map: &'static str,
        error: String,
    },
    /// A program of the object could not be run by userspace.
    #[error("can't run the program {program}: {why}")]
    Run {
        /// Its name in the object.
        program: &'static str,
        why: String,
    },
    /// A file of /proc could not be read.
    #[error("can't read {path}: {error}")]
    Proc {
        path: String,
        /// The system's error.
        error: io::Error,
    },
}
