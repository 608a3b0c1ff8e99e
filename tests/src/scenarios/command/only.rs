//! Only the command's own connections count, all of them, while other processes open the same kind.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{
    in_netns, output,
    server::{self, Noise},
    shell, text, twtrace,
};
use crate::{
    actor::program::{self, Way},
    runner::{Context, TierLimit},
    scenarios::{Usage, programs::program},
    sys::hidden_births::Recording,
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "command/only_its_own",
        run: |context| counted(context, Way::Plain, 200),
    },
    Usage {
        name: "command/short_lived_children",
        run: |context| counted(context, Way::Children, 40),
    },
    Usage {
        name: "command/orphaned_grandchild",
        run: |context| counted(context, Way::Orphan, 20),
    },
    Usage {
        name: "command/child_of_thread",
        run: |context| counted(context, Way::ChildOfThread, 20),
    },
    Usage {
        name: "command/exec_by_thread",
        run: |context| counted(context, Way::ExecByThread, 20),
    },
    Usage {
        name: "command/spawned_children",
        run: |context| counted(context, Way::Spawned, 20),
    },
    Usage {
        name: "command/curl_in_a_loop",
        run: curl_in_a_loop,
    },
    Usage {
        name: "command/ab",
        run: ab,
    },
    Usage {
        name: "command/traced",
        run: traced,
    },
    Usage {
        name: "command/too_many_descendants",
        run: too_many_descendants,
    },
];

/// Maximum number of tries if this kernel may hide something from every program, or from classic tracepoints.
const TRIES: u32 = 5;

/// Counts of a report.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    connects: u64,
    births: u64,
    /// By destination.
    births_there: u64,
}

fn counted(context: &Context, way: Way, count: usize) -> Result<()> {
    let expected = count as u64;
    let expected = Counts {
        connects: expected,
        births: expected,
        births_there: expected,
    };
    let line = |server| program::line(way, server, count);
    exactly(context, line, &[expected])
}

/// Each curl closes first.
fn curl_in_a_loop(context: &Context) -> Result<()> {
    let curl = program("curl")?;
    let script = |server| {
        let curl = curl.display();
        Ok(shell(&format!(
            "for i in 1 2 3 4 5 6 7 8; do {curl} --silent --fail http://{server}/ || exit 1; done"
        )))
    };
    let expected = Counts {
        connects: 8,
        births: 8,
        births_there: 8,
    };
    exactly(context, script, &[expected])
}

/// The server closes first; its processes do not belong to the command. Now and then ab opens one connection more than
/// requested for some of its parallel ones, and closes these itself.
fn ab(context: &Context) -> Result<()> {
    let ab = program("ab")?.display().to_string();
    let line = |server| {
        let url = format!("http://{server}/");
        Ok([&ab, "-q", "-n", "200", "-c", "4", &url]
            .map(str::to_owned)
            .to_vec())
    };
    let with_more = |more| Counts {
        connects: 200 + more,
        births: more,
        births_there: more,
    };
    exactly(context, line, &[0, 1, 2, 3].map(with_more))
}

/// Runs it beside the noise, and compares.
fn exactly(
    context: &Context,
    line: impl Fn(SocketAddr) -> Result<Vec<String>> + Sync,
    expected: &[Counts],
) -> Result<()> {
    let hidden = Recording::begin();
    let hidden_so_far = || {
        let recorded = hidden.as_ref().and_then(|recording| recording.all().ok());
        recorded.unwrap_or(0)
    };
    in_netns(|| {
        let server = server::start()?;
        let line = line(server)?;
        for _ in 1..TRIES {
            let before = hidden_so_far();
            let counts = report_beside_noise(context, server, &line)?;
            if expected.contains(&counts) {
                return Ok(());
            }
            let may_miss = hidden_so_far() > before || context.tier == TierLimit::Classic;
            let too_many = expected
                .iter()
                .all(|most| counts.connects > most.connects || counts.births > most.births);
            if too_many || !may_miss {
                bail!("{counts:?}, not {expected:?}");
            }
            context.again(&format!(
                "{counts:?}, not {expected:?}, where something may be hidden"
            ));
        }
        let counts = report_beside_noise(context, server, &line)?;
        ensure!(expected.contains(&counts), "{counts:?}, not {expected:?}");
        Ok(())
    })
}

fn report_beside_noise(context: &Context, server: SocketAddr, line: &[String]) -> Result<Counts> {
    let mut noise = Noise::start(server)?;
    let before = noise.made();
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("report");
    let path = file.to_str().context("not UTF-8")?;
    let done = output(&mut twtrace(
        context,
        &["report", "--json", "--output", path],
        line,
    ))?;
    noise.check()?;
    ensure!(noise.made() > before, "there was no noise");
    ensure!(
        done.status.success(),
        "ended with {}: {}",
        done.status,
        text(&done.stderr)
    );
    let report: Value = serde_json::from_slice(&std::fs::read(&file)?).context("no report")?;
    counts(&report, noise.pid())
}

fn counts(report: &Value, noise: u32) -> Result<Counts> {
    let rows = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    let sum = |value: &Value| {
        let members = value.as_object().into_iter().flatten();
        members.filter_map(|(_, value)| value.as_u64()).sum::<u64>()
    };
    let mut counts = Counts {
        connects: 0,
        births: 0,
        births_there: 0,
    };
    for row in rows("processes") {
        let pid = row["process"]["pid"].as_u64();
        let foreign = [
            None,
            Some(u64::from(noise)),
            Some(u64::from(std::process::id())),
        ];
        ensure!(!foreign.contains(&pid), "a row of others: {row}");
        counts.births += sum(&row["time_wait"]);
        let ports = row["ports"].as_array().cloned().unwrap_or_default();
        let connects = ports.iter().filter(|port| port["op"] == "connect");
        counts.connects += connects
            .filter_map(|port| port["count"].as_u64())
            .sum::<u64>();
    }
    for row in rows("destinations") {
        counts.births_there += row["time_wait"].as_u64().unwrap_or(0);
    }
    ensure!(
        report["lost"]
            .as_array()
            .is_some_and(|lost| { lost.iter().all(|row| row["count"] == 0) }),
        "something was lost: {}",
        report["lost"]
    );
    Ok(counts)
}

/// `trace -- COMMAND`: the events of the command, with its command line in the first event.
fn traced(context: &Context) -> Result<()> {
    const COUNT: usize = 20;
    in_netns(|| {
        let server = server::start()?;
        let mut noise = Noise::start(server)?;
        let line = program::line(Way::Children, server, COUNT)?;
        let done = output(&mut twtrace(context, &["trace", "--json"], &line))?;
        noise.check()?;
        ensure!(
            done.status.success(),
            "ended with {}: {}",
            done.status,
            text(&done.stderr)
        );
        ensure!(
            done.stdout.is_empty(),
            "the command's own: {}",
            text(&done.stdout)
        );
        let stderr = text(&done.stderr);
        let mut events = stderr.lines().filter(|line| line.starts_with('{'));
        let start: Value = serde_json::from_str(events.next().context("no event")?)?;
        ensure!(
            start["options"]["command"] == serde_json::json!(line),
            "{start}"
        );
        let mut births = 0;
        for event in events {
            let event: Value = serde_json::from_str(event)?;
            let pid = &event["process"]["pid"];
            ensure!(
                event["event"] == "lost" || pid.is_u64() && *pid != noise.pid(),
                "{event}"
            );
            births += usize::from(event["event"] == "time_wait");
        }
        // The reports test how exact this is.
        ensure!((1..=COUNT).contains(&births), "{births} births");
        Ok(())
    })
}

/// Processes that found no room are counted, and no figure is called exact.
fn too_many_descendants(context: &Context) -> Result<()> {
    // Eight processes are followed for each one that is counted.
    let verb = ["report", "--json", "--max-processes", "1"];
    in_netns(|| {
        let line = program::line(Way::Children, server::start()?, 20)?;
        let done = output(&mut twtrace(context, &verb, &line))?;
        let stderr = text(&done.stderr);
        // The log precedes the report.
        let report = stderr.lines().last().context("no report")?;
        let report: Value = serde_json::from_str(report)?;
        let lost = report["lost"].as_array().cloned().unwrap_or_default();
        let missed = lost.iter().find(|row| row["probe"] == "descendant_map");
        let missed = missed.and_then(|row| row["count"].as_u64());
        // The program and its first seven children are the eight.
        ensure!(missed == Some(13), "{missed:?} lost, not 13: {stderr}");
        let exact = &report["exact"];
        ensure!(
            exact["processes"] == false && exact["destinations"] == false,
            "{exact}"
        );
        Ok(())
    })
}
