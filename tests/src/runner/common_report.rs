//! Checks of usage that share one `twtrace report`: they play while it runs, one after the other, and each compares the
//! report when all have played.
//!
//! Only emulated guests share a report: attaching takes most of the time of such a check there. This machine plays each
//! check with a report of its own.

use std::{
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use super::{Context, play_usage, report::RunningReport, verdicts::Verdict};
use crate::{scenarios::Usage, sys::process};

/// Checks that need a report without options. The one whose namespace is removed comes first: the next namespace would
/// get its number. The one that has programs skipped comes last, after the events of the others have been counted.
const SHARING: &[&str] = &[
    "usage/purged_with_namespace",
    "usage/resets_in_audit",
    "usage/refusals_in_audit",
    "usage/late_acknowledging_data_in_report",
    "usage/number_of_another_namespace",
    "usage/exact_while_programs_are_skipped",
];

/// Takes the checks that share a report on this machine out of the checks to play, in the order in which they play.
pub fn take(usages: &mut Vec<&'static Usage>) -> Vec<&'static Usage> {
    if !process::emulated() {
        return Vec::new();
    }
    let place = |usage: &&Usage| SHARING.iter().position(|name| *name == usage.name);
    let (mut sharing, others): (Vec<_>, Vec<_>) = std::mem::take(usages)
        .into_iter()
        .partition(|usage| place(usage).is_some());
    sharing.sort_by_key(place);
    *usages = others;
    sharing
}

/// Plays them, and compares the report with each.
pub fn play_all(context: &Context, usages: &[&'static Usage]) {
    if usages.is_empty() {
        return;
    }
    let report = match RunningReport::start(&context.twtrace, &context.tier.options()) {
        Ok(report) => report,
        Err(error) => {
            let error = error.context("the report that they share");
            for usage in usages {
                let verdict = Verdict::broken(&error);
                context
                    .verdicts
                    .add(usage.name, Default::default(), verdict);
            }
            return;
        }
    };
    thread::scope(|scope| {
        let mut waiting = Vec::new();
        for usage in usages {
            let ((arrive, arrived), (give, given)) = (mpsc::channel(), mpsc::channel());
            let seat = Seat(Mutex::new(Some(Share { arrive, given })));
            scope.spawn(move || play_usage(&context.with_seat(usage.name, seat), usage));
            // A check that fails before, or is skipped, drops its end.
            if arrived.recv().is_ok() {
                waiting.push(give);
            }
        }
        match report.end() {
            Ok(report) => {
                for give in waiting {
                    // The check waits for nothing else.
                    let _ = give.send(report.clone());
                }
            }
            // Checks that wait learn it from their channels, which are closed.
            Err(error) => eprintln!("the report that checks share: {error:#}"),
        }
    });
}

/// A check's share in a report, until the check takes it.
#[derive(Default)]
pub struct Seat(Mutex<Option<Share>>);

impl Seat {
    fn take(&self) -> Option<Share> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Share {
    /// Signals that the check has played.
    arrive: Sender<()>,
    /// Receives the report.
    given: Receiver<Value>,
}

/// A running report: the check's own, or a shared one.
pub struct Reporting(ReportSource);

enum ReportSource {
    Own(RunningReport),
    Shared(Share),
}

impl Reporting {
    /// The report that this check shares; if it shares none, or is played again, one that `start` starts.
    ///
    /// # Errors
    /// If that report can't be started.
    pub fn of(context: &Context, start: impl FnOnce() -> Result<RunningReport>) -> Result<Self> {
        Ok(Self(match context.seat.take() {
            Some(share) => ReportSource::Shared(share),
            None => ReportSource::Own(start()?),
        }))
    }

    /// The shared report, or one of the check's own without options.
    pub fn plain(context: &Context) -> Result<Self> {
        Self::of(context, || {
            RunningReport::start(&context.twtrace, &context.tier.options())
        })
    }

    /// Returns the report, once all have played.
    pub fn end(self) -> Result<Value> {
        match self.0 {
            ReportSource::Own(report) => report.end(),
            ReportSource::Shared(Share { arrive, given }) => {
                arrive.send(()).map_err(|_| anyhow!("the runner is gone"))?;
                given
                    .recv()
                    .context("the report that checks share did not end well")
            }
        }
    }
}
