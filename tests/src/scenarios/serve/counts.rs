//! What is served equals what `report` and the kernel count.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    scrape::sum,
    service::{Service, until},
    traffic::{NamedProgram, answer},
};
use crate::{
    runner::Context,
    sys::{netns, proc_net::KernelCounters, process},
};

/// Connections, each closed first by its client.
const COUNT: usize = 400;
/// The same page is served for one second.
const PAGES_KEPT: Duration = Duration::from_millis(1_100);
/// Address of the server.
const SERVER: &str = "127.78.0.1:0";

/// One service counts by process in the kernel, one counts events by address; a report runs beside them, and the
/// kernel has its own count of the namespace.
pub fn equal(context: &Context) -> Result<()> {
    let named = NamedProgram::new("counted")?;
    let by_process = Service::start(context, &["--comm", &named.comm])?;
    let by_address = Service::start(context, &["--remote", "127.78.0.1"])?;
    let report = Command::new(&context.twtrace)
        .args([
            "report",
            "--json",
            "--duration",
            "600s",
            "--comm",
            &named.comm,
        ])
        .args(context.tier.options())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let report_pid = report.id().cast_signed();
    until("the report traces", || {
        let stat = std::fs::read_to_string(format!("/proc/{report_pid}/status"))?;
        // Privileges are dropped once everything is attached.
        Ok(stat.lines().any(|line| line == "NoNewPrivs:\t1"))
    })?;
    std::thread::sleep(Duration::from_secs(1));

    let kernel = std::thread::scope(|scope| {
        let played = scope.spawn(|| -> Result<u64> {
            netns::enter_new()?;
            let (address, server) = answer(SERVER, COUNT)?;
            named.connect(address, COUNT)?;
            server.join().ok().context("the server panicked")??;
            // A FIN that overtakes the handshake's last segment ends some of them at once.
            Ok(KernelCounters::read()?.births())
        });
        played.join().ok().context("the traffic panicked")?
    })?;
    process::signal(report_pid, libc::SIGINT)?;
    let output = report.wait_with_output()?;
    ensure!(output.status.success(), "the report: {output:?}");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let rows = report["processes"].as_array().context("no processes")?;
    let reported: f64 = rows
        .iter()
        .filter_map(|row| row["time_wait"]["client"].as_f64())
        .sum();

    let count = COUNT as f64;
    ensure!(kernel as f64 == count, "the kernel has {kernel} of {count}");
    ensure!(
        reported == count,
        "reported {reported} of {count}: {rows:?}"
    );
    let mut page = by_process.metrics()?;
    // Each page takes the counts out of the kernel side, alternating between its two halves: they must not be counted
    // twice.
    for _ in 0..3 {
        std::thread::sleep(PAGES_KEPT);
        page = by_process.metrics()?;
    }
    let name = "twtrace_process_time_waits_total";
    let own = [("process", named.comm.as_str()), ("side", "client")];
    for (what, counted) in [
        ("by process", sum(&page, name, &own)?),
        ("in all", sum(&page, "twtrace_time_waits_total", &[])?),
        (
            "of searches",
            sum(&page, "twtrace_process_port_searches_total", &own[..1])?,
        ),
    ] {
        ensure!(counted == count, "{what}: {counted} of {count}\n{page}");
    }
    let lost = sum(&page, "twtrace_lost_total", &[])?;
    ensure!(lost == 0.0, "lost {lost}");
    let page = by_address.metrics()?;
    for (what, counted) in [
        ("events by process", sum(&page, name, &own)?),
        (
            "events by destination",
            sum(
                &page,
                "twtrace_destination_time_waits_total",
                &[("side", "client")],
            )?,
        ),
        (
            "events by process and destination",
            sum(&page, "twtrace_pair_time_waits_total", &own)?,
        ),
    ] {
        ensure!(counted == count, "{what}: {counted} of {count}\n{page}");
    }
    by_process.stop()?;
    by_address.stop().map(drop)
}
