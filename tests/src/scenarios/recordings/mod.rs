//! Recordings: a replay reports the same as the live view, and damaged, unusable or partial files are reported.

mod damaged;
mod file;
mod filtered;
mod refused;
mod same;
mod several;
pub mod traffic;

use std::{
    ffi::OsStr,
    fs::File,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Usage,
    command::{in_netns, output, text},
};
use crate::{
    runner::{Context, report::RunningReport},
    sys::check,
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "recordings/report_is_the_same",
        run: same::report,
    },
    Usage {
        name: "recordings/trace_is_the_same",
        run: same::trace,
    },
    Usage {
        name: "recordings/filters",
        run: filtered::filters,
    },
    Usage {
        name: "recordings/of_a_command",
        run: filtered::command,
    },
    Usage {
        name: "recordings/killed",
        run: damaged::killed,
    },
    Usage {
        name: "recordings/refused",
        run: refused::refused,
    },
    Usage {
        name: "recordings/parts",
        run: several::parts,
    },
    Usage {
        name: "recordings/two_hosts",
        run: several::two_hosts,
    },
];

/// The uid of nobody.
const UNPRIVILEGED: u32 = 65_534;

/// Starts `twtrace VERB`, and waits until it counts or records.
pub fn start<S: AsRef<OsStr>>(context: &Context, verb: &[S]) -> Result<RunningReport> {
    let mut words: Vec<&str> = Vec::new();
    for word in verb {
        words.push(word.as_ref().to_str().context("not UTF-8")?);
    }
    RunningReport::start_verb(&context.twtrace, &words, &context.tier.options())
}

/// Runs `twtrace` with these arguments, to its end.
fn run<S: AsRef<OsStr>>(context: &Context, arguments: &[S]) -> Result<Output> {
    let mut command = Command::new(&context.twtrace);
    output(command.args(arguments).stdin(Stdio::null()))
}

/// The same as a user without privileges.
fn run_unprivileged<S: AsRef<OsStr>>(context: &Context, arguments: &[S]) -> Result<Output> {
    // The directory of the binary may be inaccessible to others: the open file is executed instead.
    let program = File::open(&context.twtrace)?;
    let fd = program.as_raw_fd();
    let mut command = Command::new(format!("/proc/self/fd/{fd}"));
    command.args(arguments).stdin(Stdio::null());
    // SAFETY: makes only system calls between fork and exec.
    unsafe {
        command.pre_exec(move || {
            check(libc::fcntl(fd, libc::F_SETFD, 0))?;
            check(libc::setgroups(0, std::ptr::null()))?;
            check(libc::setgid(UNPRIVILEGED))?;
            check(libc::setuid(UNPRIVILEGED))?;
            Ok(())
        });
    }
    output(&mut command)
}

/// Its standard output, if its exit code is 0.
fn printed(done: &Output) -> Result<&str> {
    ensure!(
        done.status.success(),
        "ended with {}: {}",
        done.status,
        text(&done.stderr)
    );
    Ok(std::str::from_utf8(&done.stdout)?)
}

/// Standard output of `twtrace` with these arguments, if its exit code is 0.
pub fn printed_by<S: AsRef<OsStr>>(context: &Context, arguments: &[S]) -> Result<String> {
    Ok(printed(&run(context, arguments)?)?.to_owned())
}

/// Checks for one line on standard error with all these words, and this exit code.
fn fails_with(done: &Output, code: i32, words: &[&str]) -> Result<()> {
    let stderr = text(&done.stderr);
    ensure!(
        done.status.code() == Some(code),
        "ended with {}, not with code {code}: {stderr}",
        done.status
    );
    ensure!(
        code == 2 || stderr.lines().count() == 1,
        "not one line but {}: {stderr}",
        stderr.lines().count()
    );
    for word in words {
        ensure!(stderr.contains(word), "does not say {word}: {stderr}");
    }
    Ok(())
}

/// Records some traffic in a namespace of its own.
pub fn recorded(context: &Context, path: &Path) -> Result<()> {
    let recorder = start(
        context,
        &[OsStr::new("record"), "-o".as_ref(), path.as_ref()],
    )?;
    let traffic = in_netns(traffic::play)?;
    recorder.end_with(&[0])?;
    drop(traffic);
    Ok(())
}

/// The verb, followed by `FLAG FILE` for each file.
pub fn with_files<'a>(verb: &[&'a str], flag: &'a str, files: &[&'a Path]) -> Vec<&'a OsStr> {
    let verb = verb.iter().map(|word| OsStr::new(*word));
    let files = files
        .iter()
        .flat_map(|file| [OsStr::new(flag), file.as_os_str()]);
    verb.chain(files).collect()
}
