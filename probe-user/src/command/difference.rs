//! `twtrace report --diff OLD NEW`

use std::ffi::OsStr;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use twtrace_core::event::json;
use twtrace_core::model::difference::Difference;
use twtrace_core::model::report::Report;

use super::offline;
use super::source::history;
use super::source::names::NoSuchNetns;
use super::source::replay::Replay;
use super::source::summary::{Gathered, Summary};
use crate::cli::{FromArgs, ReportArgs};
use crate::output::difference;
use crate::output::target::OutputTarget;
use crate::record::window::Bound;

/// Between the beginning and the end of a span.
const DOTS: &str = "..";

/// Reads both reports, then prints what changed.
///
/// # Errors
/// If one of them can't be read, has nothing of its time, or is of several hosts.
pub fn run(args: &ReportArgs) -> Result<ExitCode> {
    let [old, new] = &args.diff[..] else {
        bail!("--diff takes two recordings, or two spans of a history");
    };
    let target = OutputTarget::open(args.view.output.output.as_deref(), false)?;
    let outputs = [args.view.output.output.as_deref()];
    match &args.store.store {
        Some(directory) => offline::read_only_from_history(directory, &outputs),
        None => offline::read_only_from(&[old.into(), new.into()], &outputs),
    }
    let (old, old_outcome) = read(args, old)?;
    let (new, new_outcome) = read(args, new)?;
    let difference = Difference::of(&old, &new);
    let page = target.page().wide(args.view.output.wide);
    target.print(|stream| {
        if args.view.span.json {
            let mut text = Vec::new();
            json::append(&mut text, &difference)?;
            stream.write_all(&text)
        } else {
            let max_rows = args.top.map(std::num::NonZeroUsize::get);
            stream.write_all(difference::render(&difference, max_rows, page).as_bytes())
        }
    })?;
    // A namespace that exists in one of both is what a comparison may be about.
    let is_missing = |outcome: &Result<()>| {
        let error = outcome.as_ref().err();
        error.is_some_and(|error| error.is::<NoSuchNetns>())
    };
    match (is_missing(&old_outcome), is_missing(&new_outcome)) {
        (true, false) => new_outcome?,
        (false, true) => old_outcome?,
        _ => old_outcome.and(new_outcome)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A report, and what could not be read of its source.
fn read(args: &ReportArgs, source: &OsStr) -> Result<(Report, Result<()>)> {
    let filter = &args.view.filter;
    let gathered = match &args.store.store {
        Some(directory) => history::read(directory, &span(source)?, filter),
        None => {
            let from = FromArgs {
                from: vec![source.into()],
                ..FromArgs::default()
            };
            Replay::open(&from, filter).and_then(Replay::count)
        }
    };
    let Gathered {
        summaries, outcome, ..
    } = gathered.with_context(|| format!("--diff {}", source.display()))?;
    let [summary] = <[Summary; 1]>::try_from(summaries)
        .ok()
        .with_context(|| format!("{} is of several hosts", source.display()))?;
    Ok((summary.into_views().report, outcome))
}

/// A span such as `03:00..04:00`, `2026-11-29 10:00..2026-11-29 11:00`, `2h..` or `..+10m`.
fn span(text: &OsStr) -> Result<FromArgs> {
    let example = "write a span of the history as SINCE..UNTIL, such as 25h..24h or 03:00..04:00";
    let ends = text.to_str().and_then(|text| text.split_once(DOTS));
    let (since, until) = ends.context(example)?;
    let bound = |text: &str| -> Result<Option<Bound>> {
        match text.trim() {
            "" => Ok(None),
            text => Ok(Some(text.parse().with_context(|| format!("{text:?}"))?)),
        }
    };
    Ok(FromArgs {
        from: Vec::new(),
        since: bound(since)?,
        until: bound(until)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        let read = |text: &str| span(OsStr::new(text)).map(|span| (span.since, span.until));
        let (since, until) = read("03:00..04:00").unwrap();
        assert!(since.is_some() && until.is_some());
        let (since, until) = read("2026-11-29 10:00 ..").unwrap();
        assert!(since.is_some() && until.is_none());
        for wrong in ["03:00", "03:00..never", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
