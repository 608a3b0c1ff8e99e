//! twtrace in a pid namespace, where /proc has few processes and other ids, and network namespaces that only a thread is in.

mod inside;
mod mounted;
mod time;

use std::{fs, sync::mpsc, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    Usage,
    command::{in_netns, server},
};
use crate::{
    actor::program::{self, Way},
    runner::{Context, report::RunningReport},
    sys::{netns, process},
};

use inside::{Inside, Into, duration, traffic};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "usage/pid_namespace",
        run: pid_namespace,
    },
    Usage {
        name: "usage/pid_namespace_with_the_hosts_proc",
        run: with_hosts_proc,
    },
    Usage {
        name: "usage/command_in_pid_namespace",
        run: command_in_pid_namespace,
    },
    Usage {
        name: "usage/time_namespace",
        run: time::time_namespace,
    },
    Usage {
        name: "usage/namespace_of_a_thread",
        run: namespace_of_a_thread,
    },
    Usage {
        name: "usage/namespace_kept_by_mount",
        run: mounted::kept_by_mount,
    },
    Usage {
        name: "usage/namespace_left_to_its_mount",
        run: mounted::left_to_its_mount,
    },
];

/// A report from inside, about traffic of this process in a network namespace of its own; returns the report, that
/// namespace, and standard error.
fn report(context: &Context, into: Into) -> Result<(Value, u64, String)> {
    let arguments = ["report", "--json", "--duration", duration()];
    let mut inside = Inside::start(context, into, &arguments, &[])?;
    inside.await_text("counting")?;
    in_netns(|| {
        let _open = traffic()?;
        // A namespace is found through its processes, and this is a thread.
        let _inhabitant = server::Noise::start(server::start()?)?;
        let (printed, said) = inside.end()?;
        Ok((serde_json::from_str(&printed)?, netns::own()?, said))
    })
}

/// The row of a network namespace.
fn row_of(report: &Value, rows: &str, netns: u64) -> Result<Value> {
    let found = report[rows].as_array().into_iter().flatten();
    let found = found.filter(|row| row["netns"] == netns);
    // Scenarios beside this one may have had a namespace of that number.
    let row = found.max_by_key(|row| row["netns_nth"].as_u64().unwrap_or(0));
    let row = row.with_context(|| format!("{rows} has no row of {netns}: {}", report[rows]))?;
    Ok(row.clone())
}

fn row_of_own_process(report: &Value) -> Result<Value> {
    let mut rows = report["processes"].as_array().into_iter().flatten();
    let own = rows.find(|row| row["process"]["pid"] == std::process::id());
    Ok(own.context("no row of the runner")?.clone())
}

/// What can't be known is reported as unknown, in each view and at the start; the rest is correct.
fn pid_namespace(context: &Context) -> Result<()> {
    let (report, netns, said) = report(context, Into::PidNamespace)?;
    let warnings = said.lines().filter(|line| line.contains("pid namespace"));
    ensure!(warnings.count() == 1, "not one warning: {said}");
    let tiers = report["tiers"].as_array().into_iter().flatten();
    ensure!(
        tiers
            .filter_map(|tier| tier["lost"].as_str())
            .any(|lost| lost.contains("pid namespace")),
        "nothing is said to be lost: {}",
        report["tiers"]
    );
    for rows in ["audit", "unscanned", "budgets_unknown"] {
        let row = row_of(&report, rows, netns)?;
        let why = row["why"].as_str().unwrap_or_default();
        ensure!(why.contains("pid namespace"), "{rows} says {why:?}: {row}");
    }
    let audit = row_of(&report, "audit", netns)?;
    ensure!(audit["births_seen"].as_u64() >= Some(5), "{audit}");
    ensure!(audit["audited"] == false, "{audit}");
    row_of_own_process(&report)?;
    Ok(())
}

/// Everything is known.
fn with_hosts_proc(context: &Context) -> Result<()> {
    let (report, netns, said) = report(context, Into::PidNamespaceOnly)?;
    ensure!(!said.contains("pid namespace"), "{said}");
    let audit = row_of(&report, "audit", netns)?;
    ensure!(audit["births_seen"].as_u64() >= Some(5), "{audit}");
    ensure!(audit["audited"] == true, "{audit}");
    // A child that another thread of the runner has just forked may hold more of them.
    let left = report["close_wait"].as_array().context("no close_wait")?;
    let is_own = |row: &Value| row["netns"] == netns && row["process"]["pid"] == std::process::id();
    ensure!(left.iter().any(is_own), "{left:?}");
    let own = row_of_own_process(&report)?;
    ensure!(own["process"]["exe"].is_string(), "{own}");
    Ok(())
}

/// Processes in the same namespace are found by the ids that events have, although /proc shows them under other ids.
fn command_in_pid_namespace(context: &Context) -> Result<()> {
    // So that it lives until it is looked up.
    let made = if process::emulated() { 100 } else { 3_000 };
    let (program, report) = in_netns(|| {
        let line = program::line(Way::Noise, server::start()?, made)?;
        let output = tempfile::NamedTempFile::new()?;
        let path = output.path().to_str().context("not UTF-8")?;
        let arguments = ["report", "--json", "--output", path];
        Inside::start(context, Into::PidNamespace, &arguments, &line)?.end()?;
        let document: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        Ok((line[0].clone(), document))
    })?;
    let rows = report["processes"].as_array().context("no processes")?;
    let [row] = &rows[..] else {
        anyhow::bail!("not one process: {rows:?}");
    };
    let births = &row["time_wait"]["client"];
    ensure!(*births == made, "{births} TIME_WAITs: {row}");
    let process = &row["process"];
    // Ids in a new namespace are small.
    ensure!(process["pid"].as_u64() > Some(10), "{process}");
    let exe = fs::canonicalize(program)?;
    ensure!(process["exe"].as_str() == exe.to_str(), "{process}");
    Ok(())
}

/// Namespaces that contain only a thread are audited: one with connections before the start, and one without until
/// then.
fn namespace_of_a_thread(context: &Context) -> Result<()> {
    const IS_BEFORE: [bool; 2] = [false, true];
    let (report, namespaces) = thread::scope(|scope| {
        let players = IS_BEFORE.map(|is_before| {
            let ((say, said), (cue, cued)) = (mpsc::channel(), mpsc::channel());
            let play = move || {
                let before = is_before.then(traffic).transpose()?;
                say.send(())?;
                cued.recv()?;
                let open = [traffic()?, traffic()?];
                // It is read five times per second.
                thread::sleep(Duration::from_millis(700));
                let more = traffic()?;
                say.send(())?;
                // Until the report has ended, or will never begin.
                let _ = cued.recv();
                drop((before, open, more));
                Ok(netns::own()?)
            };
            (said, cue, scope.spawn(|| in_netns(play)))
        });
        let reported = || -> Result<Value> {
            for (said, ..) in &players {
                said.recv()?;
            }
            // Not from a thread that is in one of them: twtrace would be in it, too.
            let report = RunningReport::start(&context.twtrace, &context.tier.options())?;
            for (_, cue, _) in &players {
                cue.send(())?;
            }
            for (said, ..) in &players {
                said.recv()?;
            }
            report.end()
        };
        let report = reported();
        let namespaces = players.map(|(_, cue, player)| {
            drop(cue);
            let netns = player.join();
            netns.unwrap_or_else(|_| Err(anyhow::anyhow!("the traffic panicked")))
        });
        (report, namespaces)
    });
    let namespaces = namespaces.into_iter().collect::<Result<Vec<u64>>>()?;
    let report = report?;
    for (netns, is_before) in namespaces.into_iter().zip(IS_BEFORE) {
        audited_by_thread(&report, netns, is_before)?;
    }
    Ok(())
}

fn audited_by_thread(report: &Value, netns: u64, is_before: bool) -> Result<()> {
    /// The births of [`traffic`], three times.
    const BIRTHS: u64 = 3 * 5;
    let rows = report["audit"].as_array().context("no audit")?;
    let row = rows
        .iter()
        .filter(|row| row["netns"] == netns)
        .max_by_key(|row| row["netns_nth"].as_u64())
        .with_context(|| format!("no row of {netns}: {rows:?}"))?;
    let figure = |name: &str| row[name].as_u64().unwrap_or(u64::MAX);
    ensure!(row["audited"] == true, "not audited: {row}");
    ensure!(
        row["difference"].as_i64().map(i64::unsigned_abs) <= row["uncertainty"].as_u64(),
        "the audit is off: {row}"
    );
    let is_all = if is_before {
        // Counted from the time when it was found.
        (1..=BIRTHS).contains(&figure("births_kernel"))
    } else {
        figure("births_kernel") == BIRTHS && figure("births_seen") == BIRTHS
    };
    ensure!(is_all, "there were {BIRTHS} births: {row}");
    Ok(())
}
