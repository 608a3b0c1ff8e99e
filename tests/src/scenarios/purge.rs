//! What happens to TIME_WAITs when their network namespace is removed, and to its number.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Usage;
use crate::{
    runner::{Context, Reporting, play_until_lucky, stage_process::StageProcess},
    stage::{Ip, Skip},
    sys::process,
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "usage/purged_with_namespace",
        run: purged_with_namespace,
    },
    Usage {
        name: "usage/number_of_another_namespace",
        run: number_of_another,
    },
];

/// A scenario that leaves one TIME_WAIT, of the actor in this role.
const SCENARIO: &str = "client_closes_first";
const MAKER: &str = "cl";

/// A kernel worker purges it: the end is still counted for the process that created it.
fn purged_with_namespace(context: &Context) -> Result<()> {
    let report = Reporting::plain(context)?;
    let mut keeper = Vec::new();
    let (stage, _) = play_until_lucky(context, || {
        StageProcess::start(SCENARIO, Ip::V4, &mut keeper)
    })?;
    let maker = stage.comm(MAKER);
    // The last holders of the namespace.
    drop((stage, keeper));
    let patience = if process::emulated() { 6 } else { 3 };
    thread::sleep(Duration::from_secs(patience));
    let report = report.end()?;
    let purged: u64 = report["processes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["process"]["comm"] == maker.as_str())
        .filter_map(|row| row["ended"]["purged"].as_u64())
        .sum();
    ensure!(
        purged == 1,
        "{purged} TIME_WAITs were purged with their namespace, not 1: {}",
        Value::from(report["processes"].to_string())
    );
    Ok(())
}

/// Maximum number of namespaces, created one after the other, until one has the number of an earlier one.
const NAMESPACES: usize = 20;

/// The kernel gives the number of a removed namespace to the next one: nothing of one is reported for the other.
fn number_of_another(context: &Context) -> Result<()> {
    let report = Reporting::plain(context)?;
    let mut numbers = Vec::new();
    let last = loop {
        if numbers.len() == NAMESPACES {
            return Err(Skip("no number came again".to_owned()).into());
        }
        let mut keeper = Vec::new();
        let (stage, _) = play_until_lucky(context, || {
            StageProcess::start(SCENARIO, Ip::V4, &mut keeper)
        })?;
        let netns = stage.namespace.netns;
        if numbers.contains(&netns) {
            break (stage, keeper);
        }
        numbers.push(netns);
        drop((stage, keeper));
        // A kernel worker removes it.
        thread::sleep(Duration::from_millis(500));
    };
    let netns = last.0.namespace.netns;
    let report = report.end()?;
    drop(last);
    let nth = |row: &Value| row["netns_nth"].as_u64().unwrap_or(0);
    let of_number = |table: &str| {
        let rows = report[table].as_array().cloned().unwrap_or_default();
        rows.into_iter().filter(|row| row["netns"] == netns)
    };
    let latest = of_number("audit").map(|row| nth(&row)).max().unwrap_or(0);
    let (now, before): (Vec<_>, Vec<_>) = of_number("audit").partition(|row| nth(row) == latest);
    let audited = now.first().context("the namespace is not in the audit")?;
    for (figure, expected) in [("births_seen", 1), ("births_kernel", 1), ("difference", 0)] {
        ensure!(
            audited[figure] == expected,
            "{figure} is not {expected}: {audited}"
        );
    }
    ensure!(audited["audited"] == true, "it was not audited: {audited}");
    ensure!(
        !before.is_empty() && before.iter().all(|row| row["audited"] == false),
        "those that had its number before: {before:?}"
    );
    let time_waits = |is_live: bool| -> u64 {
        of_number("destinations")
            .filter(|row| (nth(row) == latest) == is_live)
            .filter_map(|row| row["time_wait"].as_u64())
            .sum()
    };
    ensure!(
        time_waits(true) == 1 && time_waits(false) >= 1,
        "{} TIME_WAITs of it by destination, {} of those before",
        time_waits(true),
        time_waits(false)
    );
    Ok(())
}
