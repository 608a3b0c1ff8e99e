//! The privileges that verbs keep once their probes are attached.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::Usage;
use crate::{runner::Context, sys::process::field};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "usage/privileges",
        run: privileges,
    },
    Usage {
        name: "usage/privileges_to_read",
        run: privileges_to_read,
    },
];

/// CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, to name processes; CAP_BPF, to read maps.
const KEPT: [u32; 3] = [2, 19, 39];
/// CAP_DAC_READ_SEARCH, for the recordings of other users.
const KEPT_TO_READ: [u32; 1] = [2];

/// To enter namespaces.
const CAP_SYS_ADMIN: u32 = 21;

/// How long a start may take on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What verbs print on standard error once everything is attached.
const READY: [&str; 2] = ["counting", "recording"];

/// Most are dropped for good: if untrusted input takes over the process, it gains little.
fn privileges(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let recording = directory.path().join("recording");
    let recording = recording.to_str().context("not UTF-8")?;
    for verb in [
        &["report", "--json"][..],
        &["doctor", "--duration", "1h"],
        &["record", "--output", recording],
    ] {
        let mut child = Command::new(&context.twtrace)
            .args(verb)
            .args(context.tier.options())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start twtrace")?;
        let kept = kept_by(&mut child);
        child.kill()?;
        child.wait()?;
        kept.with_context(|| format!("{verb:?}"))?;
    }
    Ok(())
}

fn kept_by(child: &mut Child) -> Result<()> {
    let stderr = child.stderr.take().context("no errors")?;
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    if !lines.any(|line| READY.iter().any(|ready| line.contains(ready))) {
        bail!("it did not get ready");
    }
    keeps_only(child, &KEPT)?;
    has_confined_helper(child.id())
}

fn keeps_only(child: &Child, capabilities: &[u32]) -> Result<()> {
    let allowed = capabilities.iter().fold(0, |set, bit| set | 1_u64 << bit);
    for thread in fs::read_dir(format!("/proc/{}/task", child.id()))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        for set in ["CapPrm", "CapEff"] {
            let held = field(&status, set).with_context(|| format!("no {set}"))?;
            let held = u64::from_str_radix(held, 16)?;
            ensure!(held & !allowed == 0, "{set} is {held:x}: {status}");
        }
        is_restricted(&status)?;
    }
    Ok(())
}

/// Whether a thread has no_new_privs, a list of system calls, and nothing in its bounding set.
pub fn is_restricted(status: &str) -> Result<()> {
    for (name, value) in [
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("CapBnd", "0000000000000000"),
    ] {
        ensure!(
            field(status, name) == Some(value),
            "not {name} {value}: {status}"
        );
    }
    Ok(())
}

/// The process that enters namespaces for this one may do only that.
pub fn has_confined_helper(parent: u32) -> Result<()> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let mut statuses = Vec::new();
    for child in children.split_whitespace() {
        statuses.push(fs::read_to_string(format!("/proc/{child}/status"))?);
    }
    let helper = statuses
        .iter()
        .find(|status| field(status, "Name") == Some("twtrace-netns"))
        .context("no helper")?;
    for set in ["CapPrm", "CapEff"] {
        ensure!(
            field(helper, set) == Some(&format!("{:016x}", 1_u64 << CAP_SYS_ADMIN)),
            "{helper}"
        );
    }
    is_restricted(helper)
}

/// What reads a recording has dropped them before the first byte of it.
fn privileges_to_read(context: &Context) -> Result<()> {
    for verb in [&["trace", "--from", "-"][..], &["report", "--from", "-"]] {
        let mut child = Command::new(&context.twtrace)
            .args(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start twtrace")?;
        let kept = until(PATIENCE, || keeps_only(&child, &KEPT_TO_READ));
        child.kill()?;
        child.wait()?;
        kept.with_context(|| format!("{verb:?}"))?;
    }
    Ok(())
}

/// Tries again until it succeeds, or it takes too long.
fn until(patience: Duration, attempt: impl Fn() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(_) if began.elapsed() < patience => thread::sleep(Duration::from_millis(10)),
            result => return result,
        }
    }
}
