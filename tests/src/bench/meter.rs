//! What is read off the kernel's meters before and after a load.

use std::{collections::BTreeMap, fs, io, thread, time::Duration};

use anyhow::{Context as _, Result};

use crate::sys::{
    bpf::{self, Runs},
    process_usage::TICK_NS,
};

/// Turns the kernel's counting of program runs on or off, and puts it back when it goes.
#[derive(Debug)]
pub struct BpfStatistics {
    before: String,
}

const BPF_STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl BpfStatistics {
    /// Remembers how it is.
    ///
    /// # Errors
    /// When the kernel has no such setting.
    pub fn keep() -> io::Result<Self> {
        Ok(Self {
            before: fs::read_to_string(BPF_STATISTICS)?,
        })
    }

    /// Turns it on or off. It costs each run of a program two looks at the clock, so times are measured without.
    ///
    /// # Errors
    /// errno of write().
    pub fn set(&self, on: bool) -> io::Result<()> {
        fs::write(BPF_STATISTICS, if on { "1" } else { "0" })
    }
}

impl Drop for BpfStatistics {
    fn drop(&mut self) {
        let _ = fs::write(BPF_STATISTICS, &self.before);
    }
}

/// CPU time that this machine has spent on anything: all but idle, waiting for disks, and stolen.
///
/// # Errors
/// When /proc/stat can't be read.
pub fn machine_cpu_ns() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy: u64 = [0, 1, 2, 5, 6]
        .iter()
        .filter_map(|index| ticks.get(*index))
        .sum();
    Ok(busy * TICK_NS)
}

/// What the programs of a process took between two looks, by name.
pub fn runs_between(before: &BTreeMap<u32, Runs>, after: &BTreeMap<u32, Runs>) -> Vec<Runs> {
    let mut by_name: BTreeMap<&str, Runs> = BTreeMap::new();
    for (id, runs) in after {
        let earlier = before.get(id).cloned().unwrap_or_default();
        let sum = by_name.entry(&runs.name).or_default();
        sum.name.clone_from(&runs.name);
        sum.time_ns += runs.time_ns.saturating_sub(earlier.time_ns);
        sum.count += runs.count.saturating_sub(earlier.count);
    }
    by_name
        .into_values()
        .filter(|runs| runs.count > 0)
        .collect()
}

/// Its programs, once their number does not change any more.
///
/// # Errors
/// When there are none after a while, or the process is gone.
pub fn await_programs(pid: u32, limit: Duration) -> Result<()> {
    const STEP: Duration = Duration::from_millis(20);
    let (mut last, mut same, mut waited) = (0, 0, Duration::ZERO);
    while waited < limit {
        let count = bpf::programs_of(pid)?.len();
        same = if count == last && count > 0 {
            same + 1
        } else {
            0
        };
        if same >= 20 {
            return Ok(());
        }
        last = count;
        thread::sleep(STEP);
        waited += STEP;
    }
    anyhow::bail!("it attaches no programs")
}

/// Waits until the machine is quiet, for a few seconds at most: what a load leaves behind (a network namespace full
/// of TIME_WAITs) takes a while to go.
///
/// # Errors
/// When /proc/stat can't be read.
pub fn settle() -> Result<()> {
    const STEP: Duration = Duration::from_millis(200);
    for _ in 0..10 {
        let before = machine_cpu_ns()?;
        thread::sleep(STEP);
        if machine_cpu_ns()? - before <= 2 * TICK_NS {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(name: &str, time_ns: u64, count: u64) -> Runs {
        Runs {
            name: name.to_owned(),
            time_ns,
            count,
        }
    }

    #[test]
    fn programs_of_one_name_are_added_and_idle_ones_left_out() {
        let before = BTreeMap::from([(1, runs("a", 10, 1)), (3, runs("b", 5, 5))]);
        let after = BTreeMap::from([
            (1, runs("a", 30, 2)),
            (2, runs("a", 7, 1)),
            (3, runs("b", 5, 5)),
        ]);
        assert_eq!(runs_between(&before, &after), [runs("a", 27, 2)]);
    }
}
