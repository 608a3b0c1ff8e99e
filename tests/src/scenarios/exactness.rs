//! No figure is called exact if something was lost that it would have counted.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use super::{Usage, overload::connect_and_close};
use crate::{
    runner::{Context, Reporting, report::RunningReport},
    sys::{bpf_map::EmptyMap, inet, process},
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "usage/exact_beyond_max_sockets",
        run: beyond_max_sockets,
    },
    Usage {
        name: "usage/exact_while_programs_are_skipped",
        run: while_programs_are_skipped,
    },
];

/// The rows of `inexact` about these figures.
fn reasons<'a>(report: &'a Value, figures: &str) -> Vec<&'a Value> {
    let rows = report["inexact"].as_array().into_iter().flatten();
    let is_about = |row: &&Value| {
        let mut of = row["figures"].as_array().into_iter().flatten();
        of.any(|of| of == figures)
    };
    rows.filter(is_about).collect()
}

/// Sockets that found no room have no process, and no side.
fn beyond_max_sockets(context: &Context) -> Result<()> {
    let options = [
        &["--max-sockets".to_owned(), "4".to_owned()][..],
        &context.tier.options(),
    ];
    let report = RunningReport::start(&context.twtrace, &options.concat())?;
    connect_and_close(24)?;
    // Losses are reported once per second.
    thread::sleep(Duration::from_secs(if process::emulated() { 6 } else { 2 }));
    let report = report.end()?;
    for figures in ["processes", "destinations"] {
        ensure!(
            report["exact"][figures] == false,
            "{figures} are called exact: {}, lost: {}",
            report["exact"],
            report["lost"]
        );
        let reasons = reasons(&report, figures);
        ensure!(
            reasons.iter().any(|row| row["by"] == "socket_map"),
            "the reason is not said: {}",
            report["inexact"]
        );
    }
    Ok(())
}

/// How long sockets are bound while maps are read.
const BINDING: Duration = Duration::from_secs(2);
/// Number of threads that bind.
const BINDERS: usize = 8;

/// If the kernel may preempt a task that reads a map, or runs a program, other tasks on that CPU are not seen during
/// this time. Missing events are reported as missing, if the kernel counts them.
fn while_programs_are_skipped(context: &Context) -> Result<()> {
    let report = Reporting::plain(context)?;
    let is_over = AtomicBool::new(false);
    let map = EmptyMap::new()?;
    let bound = thread::scope(|scope| {
        scope.spawn(|| {
            process::pin(0)?;
            while !is_over.load(Ordering::Relaxed) {
                map.read()?;
            }
            std::io::Result::Ok(())
        });
        let binders: Vec<_> = (0..BINDERS)
            .map(|_| scope.spawn(bind_for_a_while))
            .collect();
        let bound = binders.into_iter().map(|binder| {
            let bound = binder.join();
            bound.unwrap_or_else(|_| Err(anyhow!("the thread panicked")))
        });
        let bound = bound.collect::<Vec<_>>();
        is_over.store(true, Ordering::Relaxed);
        bound.into_iter().sum::<Result<u64>>()
    })?;
    let report = report.end()?;
    let rows = report["processes"].as_array().context("no processes")?;
    let own = std::process::id();
    let ports = rows
        .iter()
        .filter(|row| row["process"]["pid"] == own)
        .filter_map(|row| row["ports"].as_array())
        .flatten();
    let found: u64 = ports
        .filter(|port| port["op"] == "bind")
        .filter_map(|port| port["count"].as_u64())
        .sum();
    let misses = report["recursion_misses"].as_array().into_iter().flatten();
    let missed: u64 = misses
        .filter(|row| {
            let name = row["program"].as_str().unwrap_or_default();
            [
                "bind_enter",
                "port_exit",
                "get_port_kprobe",
                "port_kretprobe",
            ]
            .contains(&name)
        })
        .filter_map(|row| row["count"].as_u64())
        .sum();
    eprintln!(
        "exactness: {found} of {bound} searches were counted, programs were skipped {missed} times"
    );
    // Kernels up to 6.6 do not count the runs of kprobes and classic tracepoints that they skip.
    let is_known = missed > 0;
    ensure!(
        found >= bound || !is_known || report["exact"]["processes"] == false,
        "{found} of {bound} searches were counted, programs were skipped {missed} times, and that is called exact"
    );
    ensure!(
        (report["exact"]["processes"] == true) == reasons(&report, "processes").is_empty(),
        "exact is {}, the reasons are {}",
        report["exact"],
        report["inexact"]
    );
    Ok(())
}

/// Binds for [`BINDING`], and returns the number of port allocations.
fn bind_for_a_while() -> Result<u64> {
    process::pin(0)?;
    let end = Instant::now() + BINDING;
    let mut bound = 0;
    while Instant::now() < end {
        let socket = inet::socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
        let done = inet::bind(socket, SocketAddr::from(([127, 0, 0, 1], 0)));
        inet::close(socket)?;
        done?;
        bound += 1;
    }
    Ok(bound)
}
