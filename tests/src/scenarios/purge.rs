//! What becomes of TIME_WAITs whose network namespace goes.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Usage;
use crate::{
    runner::{Context, play_until_lucky, report::Report, stage_process::StageProcess},
    stage::Ip,
    sys::process,
};

pub const USAGES: &[Usage] = &[Usage {
    name: "usage/purged_with_namespace",
    run: purged_with_namespace,
}];

/// A scenario that leaves one TIME_WAIT, of the actor in this role.
const SCENARIO: &str = "client_closes_first";
const MAKER: &str = "cl";

/// A worker of the kernel purges it: the end is still counted under its maker.
fn purged_with_namespace(context: &Context) -> Result<()> {
    let report = Report::start(&context.twtrace, &context.tier.options())?;
    let mut keeper = Vec::new();
    let (stage, _) = play_until_lucky(context, || {
        StageProcess::start(SCENARIO, Ip::V4, &mut keeper)
    })?;
    let maker = stage.comm(MAKER);
    // The last that holds the namespace.
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
