//! Its privileges once it has attached its probes.

use std::{
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    super::privileges::{has_confined_helper, is_restricted},
    service::{self, Service},
};
use crate::{
    runner::Context,
    sys::{check, process::field},
};

const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;
/// More than exist.
const MAX_CAPABILITY: u32 = 63;

/// By mode and thread, as the kernel reports them. (That nothing more can be opened then is covered by one of the
/// program's own tests.)
pub fn kept(context: &Context) -> Result<()> {
    let bits = |capabilities: &[u32]| capabilities.iter().fold(0, |set, bit| set | 1_u64 << bit);
    // CAP_SYS_ADMIN takes the place of CAP_BPF before 5.8.
    let maps = [bits(&[CAP_BPF]), bits(&[CAP_SYS_ADMIN])];
    let naming = bits(&[CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE]);
    for (mode, allowed) in [
        ("naming", maps.map(|maps| naming | maps).to_vec()),
        // Some kernels require one of them to read maps.
        ("least", [vec![0], maps.to_vec()].concat()),
    ] {
        let directory = tempfile::tempdir()?;
        let history = directory.path().to_str().context("not UTF-8")?;
        let arguments = ["--privileges", mode, "--history", history];
        let service = Service::start(context, &arguments)?;
        let threads = service.threads()?;
        ensure!(threads.len() == 3, "{threads:?}");
        for (name, status) in &threads {
            let held = field(status, "CapPrm").context("no CapPrm")?;
            let held = u64::from_str_radix(held, 16)?;
            match name.as_str() {
                "http" | "history" => ensure!(held == 0, "{mode}: {name} has {held:x}"),
                _ => ensure!(allowed.contains(&held), "{mode}: {name} has {held:x}"),
            }
            ensure!(
                field(status, "CapEff") == field(status, "CapPrm"),
                "{mode}: {status}"
            );
            is_restricted(status).with_context(|| format!("{mode}: {name}"))?;
        }
        if mode == "naming" {
            has_confined_helper(service.id())?;
        }
        ensure!(
            service.metrics()?.contains("twtrace_"),
            "{mode}: no metrics"
        );
        service.stop()?;
    }
    Ok(())
}

/// With fewer privileges at the start it does less, or reports what is missing.
pub fn to_start(context: &Context) -> Result<()> {
    let mut elsewhere = Command::new("sleep");
    elsewhere.arg("600");
    // SAFETY: makes only a system call between fork and exec.
    unsafe {
        elsewhere.pre_exec(|| check(libc::unshare(libc::CLONE_NEWNET)).map(drop));
    }
    let mut elsewhere = elsewhere.spawn().context("start sleep")?;
    let tried = fs::metadata(format!("/proc/{}/ns/net", elsewhere.id()))
        .map_err(Into::into)
        .and_then(|namespace| try_each(context, namespace.ino()));
    elsewhere.kill()?;
    elsewhere.wait()?;
    tried
}

fn try_each(context: &Context, netns: u64) -> Result<()> {
    let least = [CAP_BPF, CAP_PERFMON, CAP_DAC_READ_SEARCH];
    for (held, is_blind) in [
        (&least[..], true),
        // It may enter namespaces, but finds none: the owners of processes can't be read.
        (&[CAP_SYS_ADMIN][..], true),
        (
            &[&least[..], &[CAP_SYS_ADMIN, CAP_SYS_PTRACE]].concat()[..],
            false,
        ),
    ] {
        let service = Service::of(with_only(service::command(context, &[]), held))?;
        let page = service.metrics()?;
        let is_seen = page.contains(&format!(
            "twtrace_netns_time_wait_sockets{{netns=\"{netns}\"}}"
        ));
        ensure!(
            is_seen != is_blind,
            "with {held:?} namespace {netns} is {}seen\n{page}",
            if is_seen { "" } else { "not " }
        );
        service.stop()?;
    }
    for missing in least {
        let held: Vec<u32> = least.into_iter().filter(|held| *held != missing).collect();
        let (code, said) = service::refused(with_only(service::command(context, &[]), &held))?;
        let name = match missing {
            CAP_BPF => "missing CAP_BPF",
            CAP_PERFMON => "missing CAP_PERFMON",
            _ => "missing CAP_DAC_READ_SEARCH",
        };
        ensure!(code == 1 && said.contains(name), "{code}: {said}");
    }
    Ok(())
}

/// A program that gets only these capabilities, although it is root's.
fn with_only(mut command: Command, held: &[u32]) -> Command {
    let held = held.to_vec();
    // SAFETY: makes only system calls between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for capability in (0..=MAX_CAPABILITY).filter(|capability| !held.contains(capability)) {
                let dropped = libc::prctl(
                    libc::PR_CAPBSET_DROP,
                    libc::c_ulong::from(capability),
                    0,
                    0,
                    0,
                );
                // EINVAL: this kernel has no such capability.
                if dropped < 0
                    && std::io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL)
                {
                    check(dropped)?;
                }
            }
            Ok(())
        });
    }
    command
}
