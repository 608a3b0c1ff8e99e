//! The start of counting: traffic that continues while twtrace starts belongs to every figure or to none.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    Usage,
    command::{in_netns, server},
};
use crate::{
    actor::program::{self, Way},
    runner::{Context, report::RunningReport},
    sys::{netns, proc_net::KernelCounters, process},
};

pub const USAGES: &[Usage] = &[Usage {
    name: "usage/traffic_at_start",
    run: traffic_at_start,
}];

/// More connections than are opened during any check.
const BUSY: usize = 100_000_000;

/// RSTs before twtrace starts, and after; as many connections end in another way.
const BEFORE: u64 = 50;
const AFTER: u64 = 500;
/// The same in an emulated guest, which handles about a dozen per second.
const AFTER_EMULATED: u64 = 200;

/// Maximum time for them.
const LIMIT: Duration = Duration::from_secs(60);

/// Connections that may be in progress at the start: one, and what the kernel does later for it.
const UNDER_WAY: i64 = 2;

/// A process that connects all the time. Stopped when dropped.
struct Busy(Child);

impl Busy {
    fn start(server: SocketAddr) -> Result<Self> {
        let line = program::line(Way::Busy, server, BUSY)?;
        let child = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// Stops it, and returns its pid.
    fn stop(mut self) -> Result<u32> {
        let ended = self.0.try_wait()?;
        ensure!(ended.is_none(), "the traffic is over: {ended:?}");
        Ok(self.0.id())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connections are opened and ended before twtrace starts, during the start, and after. What its hooks count by process
/// (TIME_WAITs, RSTs and port allocations), and what the audit compares with the kernel, is of the same connections.
fn traffic_at_start(context: &Context) -> Result<()> {
    let (pid, netns, report, made) = in_netns(|| {
        let busy = Busy::start(server::start()?)?;
        await_resets(BEFORE)?;
        let before = KernelCounters::read()?;
        let report = RunningReport::start(&context.twtrace, &context.tier.options())?;
        let attached = KernelCounters::read()?;
        let after = if process::emulated() {
            AFTER_EMULATED
        } else {
            AFTER
        };
        await_resets(attached.resets_sent + after)?;
        let pid = busy.stop()?;
        let end = KernelCounters::read()?;
        let made = (end.since(attached), end.since(before));
        let netns = netns::own()?;
        Ok((pid, netns, report.end()?, made))
    })?;
    let row = row_of(&report, pid)?;
    let births = sum(&row["time_wait"]);
    let (overflow, resets) = (sum(&row["overflow"]), sum(&row["reset_sent"]));
    let searches = row["ports"].as_array().into_iter().flatten();
    let connects: i64 = searches
        .filter(|search| search["op"] == "connect")
        .filter_map(|search| search["count"].as_i64())
        .sum();
    let ended = births + overflow + resets;
    ensure!(
        (connects - ended).abs() <= UNDER_WAY,
        "{connects} connects, {births} TIME_WAITs, {overflow} refused and {resets} RSTs: {row}"
    );
    let rows = report["audit"].as_array().into_iter().flatten();
    let audit = rows
        .filter(|row| row["netns"] == netns)
        .max_by_key(|row| row["netns_nth"].as_u64())
        .with_context(|| format!("no row of it: {}", report["audit"]))?;
    for (figure, counted) in [("births_seen", births), ("overflow_seen", overflow)] {
        ensure!(
            audit[figure] == counted,
            "{figure} is not {counted}: {audit}"
        );
    }
    for [difference, uncertainty] in [
        ["difference", "uncertainty"],
        ["overflow_difference", "overflow_uncertainty"],
        ["resets_sent_difference", "resets_sent_uncertainty"],
    ] {
        let off = audit[difference].as_i64().unwrap_or(0).abs();
        ensure!(
            audit[uncertainty].as_i64() >= Some(off),
            "{difference} is more than {uncertainty}: {audit}"
        );
    }
    let off_by = audit["uncertainty"].as_i64().unwrap_or(0)
        + audit["resets_sent_uncertainty"].as_i64().unwrap_or(0);
    ensure!(
        off_by < ended / 2,
        "the start took as long as half of the traffic: {audit}"
    );
    let (least, most) = made;
    let sent = audit["resets_sent_seen"].as_u64();
    ensure!(
        sent.is_none_or(|sent| (least.resets_sent..=most.resets_sent).contains(&sent)),
        "the kernel counted {} RSTs while it traced, and {} from before its start on: {audit}",
        least.resets_sent,
        most.resets_sent
    );
    Ok(())
}

fn await_resets(count: u64) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while KernelCounters::read()?.resets_sent < count {
        ensure!(Instant::now() < end, "there is no traffic");
        // Reading takes milliseconds in a guest.
        thread::sleep(Duration::from_millis(if process::emulated() {
            50
        } else {
            5
        }));
    }
    Ok(())
}

fn row_of(report: &Value, pid: u32) -> Result<&Value> {
    let mut rows = report["processes"].as_array().into_iter().flatten();
    rows.find(|row| row["process"]["pid"] == pid)
        .with_context(|| format!("no row of {pid}: {}", report["processes"]))
}

/// The sum over sides or reasons.
fn sum(counts: &Value) -> i64 {
    let counts = counts.as_object().into_iter().flatten();
    counts.filter_map(|(_, count)| count.as_i64()).sum()
}
