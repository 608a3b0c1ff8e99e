//! Reads a history instead of tracing the host.

use std::path::Path;

use anyhow::{Context, Error, Result, bail};
use twtrace_core::event::Timestamp;
use twtrace_core::filter::Filter;
use twtrace_core::model::report::TimeWaitsAlive;

use super::names::Names;
use super::summary::{Gathered, Summary};
use crate::cli::{FilterArgs, FromArgs};
use crate::clock::clock_ns;
use crate::command::notice;
use crate::output::progress::Progress;
use crate::store::merge::Merge;
use crate::store::reader::{IntervalPosition, Reader, Span};
use crate::store::span;

/// Combines the intervals of the requested time.
///
/// # Errors
/// If there is no such history, it can't be read, or it has nothing of that time.
pub fn read(directory: &Path, window: &FromArgs, filter: &FilterArgs) -> Result<Gathered> {
    let mut names = Names::for_filter(filter);
    let filter = filter.resolve_for_history()?;
    say_what_is_left_out(&filter);
    let mut reader = Reader::open(directory)?;
    let (span, places) = find(&reader, directory, window)?;
    let wanted_netns = filter.netns.clone();
    let mut merge = Merge::new(filter, span);
    let mut progress = Progress::each_call(false);
    for (number, place) in places.iter().enumerate() {
        let interval = reader.interval(place)?;
        if let Some(names) = &mut names {
            names.interval(&interval);
        }
        merge.add(place, interval);
        progress.tick(|| Some(number as f64 / places.len() as f64));
    }
    drop(progress);
    let outcome = names.as_ref().map_or(Ok(()), |names| {
        names.check_netns(&wanted_netns).map_err(Error::from)
    });
    let (Some(last), Some(mut merged)) = (places.last(), merge.finish()) else {
        bail!("the history in {} has nothing", directory.display());
    };
    // Counters start again when the host boots.
    let first = places.iter().find(|place| place.boot_id == last.boot_id);
    let before = reader.samples_before(first.unwrap_or(last))?;
    let samples = (before, reader.samples_after(last)?);
    merged.report.time_waits_alive = TimeWaitsAlive::of(&samples.0, &samples.1, merged.filter());
    Ok(Gathered {
        summaries: vec![Summary::Stored {
            merged: Box::new(merged),
            samples,
        }],
        names,
        command_exit_code: None,
        outcome,
    })
}

/// The requested intervals: at least one.
///
/// # Errors
/// If there are none.
pub fn find(
    reader: &Reader,
    directory: &Path,
    window: &FromArgs,
) -> Result<(Span, Vec<IntervalPosition>)> {
    let Some((began, ended)) = reader.extent()? else {
        bail!(
            "the history in {} has no interval yet: the first is written when it is over",
            directory.display()
        );
    };
    let now = Timestamp(clock_ns(libc::CLOCK_REALTIME).context("reading the clock")?);
    let span = span::resolve(window.since, window.until, began, now).with_context(|| {
        format!(
            "the history in {} covers {began} to {ended}",
            directory.display()
        )
    })?;
    let places = reader.places(span)?;
    if places.is_empty() {
        bail!(
            "the history in {} has nothing of that time{}{}: it covers {began} to {ended}",
            directory.display(),
            span.since
                .map_or_else(String::new, |since| format!(" from {since}")),
            span.until
                .map_or_else(String::new, |until| format!(" to {until}")),
        );
    }
    Ok((span, places))
}

/// An interval has processes and destinations in separate tables.
fn say_what_is_left_out(filter: &Filter) {
    if !filter.is_by_process() {
        notice(
            "a history does not know processes by address, side or namespace: tables by process are left out",
        );
    }
    if filter.asks_for_processes() {
        notice("a history does not know destinations by process: that table is left out");
    }
}
