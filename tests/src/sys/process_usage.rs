//! Resource usage of a process: memory and CPU time.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::process::field;

/// Tick of /proc/stat and /proc/PID/stat.
pub const TICK_NS: u64 = 10_000_000;

/// Peak memory of a process so far, KiB.
pub fn peak_memory_kib(pid: u32) -> Result<u64> {
    memory_kib(pid, "VmHWM")
}

/// Resident memory of a process, KiB.
pub fn resident_memory_kib(pid: u32) -> Result<u64> {
    memory_kib(pid, "VmRSS")
}

fn memory_kib(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = field(&status, name).and_then(|value| value.split_whitespace().next());
    Ok(kib.with_context(|| format!("no {name}"))?.parse()?)
}

/// CPU time of a process and of the children it has waited for.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    // Nanoseconds by thread, if the kernel has them.
    let mut total = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path().join("schedstat");
        match run_time(&path) {
            Some(ns) => total += ns,
            None => return process_ticks(pid),
        }
    }
    Ok(total)
}

fn run_time(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn process_ticks(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("no comm")?;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks * TICK_NS)
}
