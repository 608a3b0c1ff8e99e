//! Figures read from the kernel before and after a load.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::sys::{
    bpf::{self, Runs},
    process_usage::{self, TICK_NS},
};

/// Turns the kernel's counting of program runs on or off, and restores the setting when dropped.
#[derive(Debug)]
pub struct BpfStatistics {
    before: String,
}

const BPF_STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl BpfStatistics {
    /// Remembers the current setting.
    ///
    /// # Errors
    /// If the kernel has no such setting.
    pub fn keep() -> io::Result<Self> {
        Ok(Self {
            before: fs::read_to_string(BPF_STATISTICS)?,
        })
    }

    /// Turns it on or off. If it is on, each run of a program reads the clock twice, so times are measured without it.
    pub fn set(&self, on: bool) -> io::Result<()> {
        fs::write(BPF_STATISTICS, if on { "1" } else { "0" })
    }
}

impl Drop for BpfStatistics {
    fn drop(&mut self) {
        let _ = fs::write(BPF_STATISTICS, &self.before);
    }
}

/// CPU time that this machine has spent: all but idle, waiting for disks, and stolen time.
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

/// CPU time and runs of the programs of a process between two samples, by name.
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

/// Waits until a process has programs, their number no longer changes, and the process is idle: if the kernel takes
/// long to verify a program, the number does not change for a while either.
///
/// # Errors
/// If there are no programs after a while, or the process has ended.
pub fn await_programs(child: &mut Child, limit: Duration) -> Result<()> {
    const STEP: Duration = Duration::from_millis(20);
    const STEPS: usize = 20;
    let mut samples: VecDeque<(usize, u64)> = VecDeque::new();
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        samples.push_back((
            bpf::programs_of(child.id())?.len(),
            process_usage::cpu_ns(child.id())?,
        ));
        if samples.len() > STEPS {
            samples.pop_front();
            if is_at_rest(samples.make_contiguous()) {
                return Ok(());
            }
        }
        thread::sleep(STEP);
    }
    bail!("it attaches no programs")
}

/// Decides from samples of the number of programs and of the CPU time so far.
fn is_at_rest(samples: &[(usize, u64)]) -> bool {
    // A fifth of the time between first and last: drawing a screen takes less.
    const MOST_NS: u64 = 80_000_000;
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return false;
    };
    first.0 > 0
        && samples.iter().all(|sample| sample.0 == first.0)
        && last.1.saturating_sub(first.1) <= MOST_NS
}

/// Waits until the machine is idle, a few seconds at most: the kernel takes a while to free what a load leaves behind
/// (a network namespace full of TIME_WAITs).
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
    fn who_still_works_is_not_at_rest() {
        let ms = |count, ms: u64| (count, ms * 1_000_000);
        assert!(is_at_rest(&[ms(9, 500), ms(9, 510), ms(9, 520)]));
        assert!(!is_at_rest(&[ms(9, 500), ms(9, 700), ms(9, 900)]));
        assert!(!is_at_rest(&[ms(9, 500), ms(10, 500), ms(9, 500)]));
        assert!(!is_at_rest(&[ms(0, 500), ms(0, 500)]) && !is_at_rest(&[]));
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
