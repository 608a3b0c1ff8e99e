//! Checks of usage that share one `twtrace report`: each plays while it runs, one after the other, and judges what it says
//! when all have played.
//!
//! Only emulated guests share one: attaching takes most of such a check's time there. This machine plays each with a report
//! of its own.

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

/// Those that ask for a report without options. The one whose namespace goes comes first: the next one would get its number.
/// The one that has programs skipped comes last, when what the others made has been counted.
const SHARING: &[&str] = &[
    "usage/purged_with_namespace",
    "usage/resets_in_audit",
    "usage/refusals_in_audit",
    "usage/late_acknowledging_data_in_report",
    "usage/number_of_another_namespace",
    "usage/exact_while_programs_are_skipped",
];

/// Takes those that share a report on this machine out of the checks that are to be played, in the order in which they play.
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

/// Plays them, and judges each.
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
            // One that fails before, or is skipped, drops its end.
            if arrived.recv().is_ok() {
                waiting.push(give);
            }
        }
        match report.end() {
            Ok(report) => {
                for give in waiting {
                    // It waits for nothing else.
                    let _ = give.send(report.clone());
                }
            }
            // Those that wait are told by their channels, which close.
            Err(error) => eprintln!("the report that checks share: {error:#}"),
        }
    });
}

/// A check's share in a report, until it asks for it.
#[derive(Default)]
pub struct Seat(Mutex<Option<Share>>);

impl Seat {
    fn take(&self) -> Option<Share> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Share {
    /// That it has played.
    arrive: Sender<()>,
    /// What the report says.
    given: Receiver<Value>,
}

/// A report that runs: the check's own, or a shared one.
pub struct Reporting(ReportSource);

enum ReportSource {
    Own(RunningReport),
    Shared(Share),
}

impl Reporting {
    /// The report that this check shares; where it shares none, or is played again, one that `start` starts.
    ///
    /// # Errors
    /// When that can't be started.
    pub fn of(context: &Context, start: impl FnOnce() -> Result<RunningReport>) -> Result<Self> {
        Ok(Self(match context.seat.take() {
            Some(share) => ReportSource::Shared(share),
            None => ReportSource::Own(start()?),
        }))
    }

    /// The same with a report of the check's own that has no options.
    pub fn plain(context: &Context) -> Result<Self> {
        Self::of(context, || {
            RunningReport::start(&context.twtrace, &context.tier.options())
        })
    }

    /// What it says, once all have played.
    ///
    /// # Errors
    /// When the report did not end well.
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
