//! Programs that do nothing, on the hooks that twtrace reports it would use.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use serde::Deserialize;

use crate::sys::{
    bpf_attach::{AttachPoint, attach_empty},
    process,
};

/// Options of `bench null`.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// The twtrace that reports its hooks.
    #[arg(long)]
    pub twtrace: PathBuf,
    /// Options of twtrace.
    #[arg(last = true)]
    pub options: Vec<String>,
}

/// The fields of `twtrace probes --json` that are used here.
#[derive(Deserialize)]
struct Probes {
    tiers: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    question: String,
    tier: String,
    hooks: Vec<String>,
}

/// Attaches the programs, prints `ready`, and keeps them until standard input is closed.
///
/// # Errors
/// If a program can't be attached.
pub fn run(options: &Options) -> Result<()> {
    process::die_with_parent()?;
    raise_memlock_limit();
    let output = Command::new(&options.twtrace)
        .args(["probes", "--json"])
        .args(&options.options)
        .output()
        .context("twtrace probes")?;
    ensure!(output.status.success(), "twtrace probes: {}", output.status);
    let probes: Probes = serde_json::from_slice(&output.stdout)?;
    let mut attached = Vec::new();
    for place in places(&probes) {
        attached.push(attach_empty(&place).with_context(|| format!("{place:?}"))?);
    }
    println!("ready");
    io::stdout().flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// Kernels before 5.11 charge programs to RLIMIT_MEMLOCK, and refuse them with EPERM. Later ones do not, so it does not
/// matter if the limit can't be raised.
fn raise_memlock_limit() {
    let unlimited = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the kernel only reads the limit.
    let _ = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) };
}

/// All hooks, except those for following a command.
fn places(probes: &Probes) -> Vec<AttachPoint> {
    let mut places = Vec::new();
    for choice in probes
        .tiers
        .iter()
        .filter(|choice| choice.question != "descendants")
    {
        for hook in &choice.hooks {
            for place in places_of(choice, hook) {
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
    }
    places
}

fn places_of(choice: &Choice, hook: &str) -> Vec<AttachPoint> {
    if let Some((category, name)) = hook.split_once(':') {
        return vec![AttachPoint::Tracepoint(
            category.to_owned(),
            name.to_owned(),
        )];
    }
    let name = hook.to_owned();
    // Both ends if the duration or the result is used; otherwise only the end that is reported.
    let (entry, exit) = match (choice.question.as_str(), choice.tier.as_str()) {
        ("port", _) => (true, true),
        ("accept", _) => (false, true),
        ("time_wait", "fentry") => (false, true),
        ("time_wait", _) => (true, true),
        ("time_wait_end", tier) => {
            let judged = matches!(hook, "tcp_twsk_unique" | "tcp_timewait_state_process");
            (!judged || tier == "kprobe", judged)
        }
        _ => (true, false),
    };
    match choice.tier.as_str() {
        "fentry" => [
            entry.then(|| AttachPoint::Fentry(name.clone())),
            exit.then_some(AttachPoint::Fexit(name)),
        ]
        .into_iter()
        .flatten()
        .collect(),
        "kprobe" => [
            entry.then(|| AttachPoint::Kprobe(name.clone())),
            exit.then_some(AttachPoint::Kretprobe(name)),
        ]
        .into_iter()
        .flatten()
        .collect(),
        _ => vec![AttachPoint::RawTracepoint(name)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hook_is_taken_where_twtrace_takes_it() {
        let text = r#"{"tiers":[
            {"question":"state","tier":"raw_tracepoint","hooks":["inet_sock_set_state"]},
            {"question":"port","tier":"fentry","hooks":["inet_csk_get_port"]},
            {"question":"time_wait_end","tier":"kprobe","hooks":["inet_twsk_kill","tcp_twsk_unique"]},
            {"question":"accept","tier":"syscall","hooks":["syscalls:sys_exit_accept"]},
            {"question":"descendants","tier":"raw_tracepoint","hooks":["sched_process_fork"]}]}"#;
        let probes: Probes = serde_json::from_str(text).unwrap();
        assert_eq!(
            places(&probes),
            [
                AttachPoint::RawTracepoint("inet_sock_set_state".to_owned()),
                AttachPoint::Fentry("inet_csk_get_port".to_owned()),
                AttachPoint::Fexit("inet_csk_get_port".to_owned()),
                AttachPoint::Kprobe("inet_twsk_kill".to_owned()),
                AttachPoint::Kprobe("tcp_twsk_unique".to_owned()),
                AttachPoint::Kretprobe("tcp_twsk_unique".to_owned()),
                AttachPoint::Tracepoint("syscalls".to_owned(), "sys_exit_accept".to_owned()),
            ]
        );
    }
}
