//! Single facts in reports and the audit whose counting can't be checked from events.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::Usage;
use crate::{
    runner::{Context, Reporting, stage_process::StageProcess},
    stage::{Ip, finding::PlayResult},
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "usage/late_data_in_report",
        run: late_data,
    },
    Usage {
        name: "usage/late_acknowledging_data_in_report",
        run: late_acknowledging_data,
    },
    Usage {
        name: "usage/reuse_in_audit",
        run: reuse,
    },
];

/// The report about a scenario.
struct Reported {
    report: Value,
    /// The scenario's namespace.
    netns: u64,
    client: String,
    server: String,
}

fn report_about(context: &Context, scenario: &str) -> Result<Reported> {
    let report = Reporting::plain(context)?;
    let mut keeper = Vec::new();
    let mut stage = StageProcess::start(scenario, Ip::V4, &mut keeper)?;
    let finding = stage.play()?;
    let reported = Reported {
        report: report.end()?,
        netns: stage.namespace.netns,
        client: stage.comm("cl"),
        server: stage.comm("sv"),
    };
    match finding {
        PlayResult::Played(_) => Ok(reported),
        PlayResult::Broken { error } | PlayResult::Again { reason: error } => bail!("{error}"),
        other => bail!("{other:?}"),
    }
}

impl Reported {
    /// The row of an actor.
    fn row_of(&self, comm: &str) -> Result<&Value> {
        let processes = &self.report["processes"];
        let mut rows = processes.as_array().into_iter().flatten();
        rows.find(|row| row["process"]["comm"] == comm)
            .with_context(|| format!("no row of {comm}: {processes}"))
    }

    /// The scenario's row in the audit.
    fn audited(&self) -> Option<&Value> {
        let rows = self.report["audit"].as_array().into_iter().flatten();
        // Another namespace may have had its number before.
        rows.filter(|row| row["netns"] == self.netns)
            .max_by_key(|row| row["netns_nth"].as_u64())
    }
}

fn is_empty(reasons: &Value) -> bool {
    reasons
        .as_object()
        .is_some_and(|reasons| reasons.is_empty())
}

/// The kernel first takes it for a received RST, and then sends one: only the latter is counted.
fn late_data(context: &Context) -> Result<()> {
    let reported = report_about(context, "data_after_close/full_socket")?;
    let client = reported.row_of(&reported.client)?;
    let (sent, received) = (&client["reset_sent"], &client["reset_received"]);
    ensure!(
        *sent == serde_json::json!({"data_after_close": 1}),
        "the client sent {sent}"
    );
    ensure!(is_empty(received), "the client received {received}");
    let server = &reported.row_of(&reported.server)?["reset_received"];
    ensure!(
        *server == serde_json::json!({"peer": 1}),
        "the server received {server}"
    );
    Ok(())
}

/// The kernel first seems to have refused a mini-socket, or to have created one; then it sends a RST, and only that is
/// counted.
fn late_acknowledging_data(context: &Context) -> Result<()> {
    let reported = report_about(context, "data_after_close/acknowledging")?;
    let client = reported.row_of(&reported.client)?;
    let sent = &client["reset_sent"];
    ensure!(
        *sent == serde_json::json!({"data_after_close": 1}),
        "the client sent {sent}"
    );
    for figure in ["time_wait", "fin_wait2", "overflow"] {
        ensure!(
            client[figure]["client"] == 0,
            "the client's {figure} is not 0: {client}"
        );
    }
    // Without other events there may be no row.
    if let Some(row) = reported.audited() {
        for figure in ["births_seen", "overflow_seen", "inferred"] {
            ensure!(row[figure] == 0, "{figure} is not 0: {row}");
        }
    }
    Ok(())
}

/// One TIME_WAIT is created and reused: the audit has both, with the kernel's counters beside them.
fn reuse(context: &Context) -> Result<()> {
    let reported = report_about(context, "time_wait_end/reused_from_bound_port")?;
    let row = reported.audited();
    let row = row.with_context(|| format!("no row of it: {}", reported.report["audit"]))?;
    for (figure, expected) in [
        ("births_seen", 1),
        ("ends_seen", 1),
        ("reused_seen", 1),
        ("reused_kernel", 1),
        ("alive_difference", 0),
    ] {
        ensure!(row[figure] == expected, "{figure} is not {expected}: {row}");
    }
    Ok(())
}
