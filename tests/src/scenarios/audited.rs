//! The audit: twtrace's counts of each kind against the kernel's, on every tier.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    Usage,
    recordings::{start, with_files},
};
use crate::{
    expect::environment::{self, Question, Tier},
    runner::{Context, Reporting, play_until_lucky, stage_process::StageProcess},
    stage::{Ip, Skip, finding::Played},
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "usage/resets_in_audit",
        run: resets,
    },
    Usage {
        name: "usage/refusals_in_audit",
        run: refusals,
    },
];

/// RSTs of each kind: by close(), instead of a close, for a full socket, for a mini-socket, and without a socket.
const RESETS: &[&str] = &[
    "linger_zero",
    "unread_data",
    "disconnect_by_af_unspec",
    "disconnect_in_fin_wait2",
    "listener_closed_over_queue",
    "data_after_close/full_socket",
    "data_after_close/acknowledging",
    "data_after_close/mini_socket",
    "connection_refused",
];

/// The row of one scenario, and its truth.
struct Audited {
    name: String,
    row: Value,
    played: Played,
}

impl Audited {
    fn figure(&self, name: &str) -> Option<i64> {
        self.row[name].as_i64()
    }

    fn ensure(&self, figure: &str, expected: Option<i64>) -> Result<()> {
        ensure!(
            self.figure(figure) == expected,
            "{}: {figure} is not {expected:?}: {}",
            self.name,
            self.row
        );
        Ok(())
    }
}

/// The audit of a report about scenarios, and the report; also recorded, if the report is not shared.
fn audited(
    context: &Context,
    scenarios: &[&str],
    recording: &Path,
) -> Result<(Value, Vec<Audited>)> {
    let verb = with_files(&["report", "--json"], "--record", &[recording]);
    let report = Reporting::of(context, || start(context, &verb))?;
    let mut keeper = Vec::new();
    let mut played = Vec::new();
    for name in scenarios {
        let start = || StageProcess::start(name, Ip::V4, &mut keeper);
        match play_until_lucky(context, start) {
            Ok((stage, truth)) => played.push((*name, stage, truth)),
            Err(error) if error.is::<Skip>() => {}
            Err(error) => return Err(error.context((*name).to_owned())),
        }
    }
    let report = report.end()?;
    let rows = report["audit"].as_array().context("no audit")?;
    let found = played.into_iter().map(|(name, stage, played)| {
        let netns = stage.namespace.netns;
        // Another namespace may have had its number before.
        let of_number = rows.iter().filter(|row| row["netns"] == netns);
        let row = of_number.max_by_key(|row| row["netns_nth"].as_u64());
        let row = row.with_context(|| format!("no row of {name}: {rows:?}"))?;
        Ok(Audited {
            name: name.to_owned(),
            row: row.clone(),
            played: *played,
        })
    });
    let found = found.collect::<Result<_>>()?;
    Ok((report, found))
}

fn tier(report: &Value, question: Question) -> Result<Tier> {
    let tiers = environment::tiers_of(report)?;
    let choice = tiers.iter().find(|choice| choice.question == question);
    Ok(choice.context("no such question")?.tier)
}

/// Tcp OutRsts equals what was seen, or the tier can't see all of them and the report says so.
fn resets(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (report, found) = audited(context, RESETS, &directory.path().join("r.twt"))?;
    let all_seen = tier(&report, Question::ResetWithoutSocket)? != Tier::None;
    ensure!(!found.is_empty(), "nothing was played");
    let reset = |audited: &Audited| audited.played.counters.connections_reset;
    ensure!(
        found.iter().map(reset).sum::<u64>() > 0,
        "the kernel counted no connection reset"
    );
    for audited in &found {
        let kernel = audited.played.counters.resets_sent.cast_signed();
        ensure!(kernel > 0, "{} sent no RST", audited.name);
        audited.ensure("resets_sent_kernel", Some(kernel))?;
        ensure!(
            audited.row["resets_sent_why"].is_null() == all_seen,
            "what can't be seen is not said: {}",
            audited.row
        );
        let reset = audited.played.counters.connections_reset.cast_signed();
        audited.ensure("connections_reset_seen", Some(reset))?;
        audited.ensure("connections_reset_kernel", Some(reset))?;
        audited.ensure("connections_reset_difference", Some(0))?;
        if all_seen {
            audited.ensure("resets_sent_seen", Some(kernel))?;
            audited.ensure("resets_sent_difference", Some(0))?;
        } else {
            audited.ensure("resets_sent_difference", None)?;
            ensure!(
                audited.figure("resets_sent_seen") <= Some(kernel),
                "more than there were: {}",
                audited.row
            );
        }
    }
    Ok(())
}

/// Refusals have a difference of their own, and do not count as births.
fn refusals(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let recording = directory.path().join("r.twt");
    let (_, found) = audited(context, &["max_tw_buckets"], &recording)?;
    let audited = found.first().context("it was not played")?;
    let refused = audited.played.counters.overflow.cast_signed();
    ensure!(refused > 0, "the kernel refused none");
    audited.ensure("overflow_kernel", Some(refused))?;
    audited.ensure("overflow_difference", Some(0))?;
    ensure!(
        audited.figure("difference") == Some(0),
        "refused ones are counted as made: {}",
        audited.row
    );
    Ok(())
}
