//! What is sampled every few seconds, and the checks at the end.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{load::LoadCounters, of};
use crate::sys::{http, process_usage};

/// One sample.
#[derive(Clone, Debug)]
pub struct SoakSample {
    resident_kib: u64,
    cpu_ms: u64,
    at: Instant,
    jobs: u64,
    connections: u64,
    /// Number of samples on the page, and its length.
    series: usize,
    page_bytes: usize,
    scrape_ms: u128,
    /// Sums by metric name.
    sums: BTreeMap<String, f64>,
    /// TIME_WAITs of the load's network namespace, as twtrace and the kernel counted them.
    audited: [f64; 2],
}

impl SoakSample {
    pub const HEADER: &str = "    time    RSS_KiB    jobs  connections  series  page_KiB  scrape_ms  \
                              time_wait  resets  lost  unexplained";

    /// Takes a sample.
    ///
    /// # Errors
    /// If the service does not answer.
    pub fn take(pid: u32, address: SocketAddr, played: &LoadCounters) -> Result<Self> {
        let asked = Instant::now();
        let answer = http::get(address, "/metrics")?;
        ensure!(answer.status == 200, "{answer:?}");
        let page = answer.body;
        let scrape_ms = asked.elapsed().as_millis();
        let mut sums = BTreeMap::new();
        let mut series = 0;
        let netns = of(&played.netns);
        let mut audited = [0.0; 2];
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else {
                continue;
            };
            series += 1;
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            let value: f64 = value.parse().with_context(|| line.to_owned())?;
            *sums.entry(name.to_owned()).or_default() += value;
            if name == AUDITED && labels.contains(&format!("netns=\"{netns}\"")) {
                if labels.contains("twtrace") {
                    audited[0] = value
                } else {
                    audited[1] = value
                }
            }
        }
        Ok(Self {
            resident_kib: process_usage::resident_memory_kib(pid)?,
            cpu_ms: process_usage::cpu_ns(pid)? / 1_000_000,
            at: Instant::now(),
            jobs: of(&played.jobs),
            connections: of(&played.client_first) + of(&played.server_first) + of(&played.resets),
            series,
            page_bytes: page.len(),
            scrape_ms,
            sums,
            audited,
        })
    }

    /// A row of the table.
    pub fn row(&self, elapsed: Duration) -> String {
        format!(
            "{:>7}s {:>10} {:>7} {:>12} {:>7} {:>9} {:>10} {:>10} {:>7} {:>5} {:>12}",
            elapsed.as_secs(),
            self.resident_kib,
            self.jobs,
            self.connections,
            self.series,
            self.page_bytes >> 10,
            self.scrape_ms,
            self.sum(TIME_WAIT),
            self.sum(RESETS),
            self.sum(LOST),
            self.sum(UNEXPLAINED),
        )
    }

    fn sum(&self, name: &str) -> f64 {
        self.sums.get(name).copied().unwrap_or_default()
    }
}

const TIME_WAIT: &str = "twtrace_time_waits_total";
const RESETS: &str = "twtrace_resets_total";
const LOST: &str = "twtrace_lost_total";
const AUDITED: &str = "twtrace_audit_time_waits";
const UNEXPLAINED: &str = "twtrace_audit_absolute_difference_sockets";

/// Checks all samples; prints the results, and returns whether all checks passed.
///
/// # Errors
/// If there are too few samples.
pub fn summary(
    samples: &[SoakSample],
    played: &LoadCounters,
    hidden: Option<u64>,
    said: &[String],
) -> Result<bool> {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        anyhow::bail!("no samples");
    };
    let wall_s = last.at.duration_since(first.at).as_secs_f64();
    let made = of(&played.client_first) + of(&played.server_first);
    let [counted, by_kernel] = last.audited;
    let hidden = hidden.unwrap_or(0);
    let peak = |part: &[SoakSample]| part.iter().map(|sample| sample.resident_kib).max();
    let settled = &samples[samples.len() / 3..];
    let (second, third) = settled.split_at(settled.len() / 2);
    println!(
        "{:.0} s; {} processes ({:.0}/s), {} connections ({:.0}/s), {} failed, {} reset by their client",
        wall_s,
        of(&played.jobs),
        of(&played.jobs) as f64 / wall_s,
        last.connections,
        last.connections as f64 / wall_s,
        of(&played.failed),
        of(&played.resets),
    );
    println!(
        "TIME_WAITs: {made} played, {by_kernel} counted by the kernel, {counted} by twtrace; {hidden} were made \
         where this kernel runs no eBPF program"
    );
    println!(
        "memory: {} KiB at first, at most {} in the second third and {} in the last; CPU {:.1} % of one core",
        first.resident_kib,
        peak(second).unwrap_or(0),
        peak(third).unwrap_or(0),
        (last.cpu_ms - first.cpu_ms) as f64 / wall_s / 10.0,
    );
    let most = samples.iter().map(|sample| sample.series).max();
    println!(
        "series: at most {}; lost: {}; unexplained by the audit: {}",
        most.unwrap_or(0),
        last.sum(LOST),
        last.sum(UNEXPLAINED)
    );
    for line in said {
        println!("it said: {line}");
    }
    let is_flat = peak(third)
        .zip(peak(second))
        .is_some_and(|(third, second)| third <= second + second / 20);
    Ok(is_flat && last.sum(LOST) == 0.0 && last.sum(UNEXPLAINED) <= hidden as f64)
}
