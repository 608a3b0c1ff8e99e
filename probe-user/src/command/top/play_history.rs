//! `twtrace top --store`: plays a history interval by interval.

use std::path::Path;

use anyhow::{Result, bail};
use twtrace_core::event::Timestamp;
use twtrace_core::filter::Filter;
use twtrace_core::model::tally::TracingStart;

use super::player::Playback;
use super::screen::view_options;
use crate::cli::TopArgs;
use crate::command::source::history;
use crate::output::tui::{App, ReplaySpan, ReportSample};
use crate::store::merge::Merge;
use crate::store::reader::{IntervalPosition, Reader, Span};

/// Samples of one jump, however long it is.
const SAMPLES_A_LEAP: usize = 64;

/// What has been played of a history.
pub struct HistoryPlayback {
    reader: Reader,
    filter: Filter,
    span: Span,
    /// Each with the time at which it ends: for the first one its own, and from there on the time that passed, even
    /// if the wall clock was set.
    places: Vec<(IntervalPosition, Timestamp)>,
    begins: Timestamp,
    /// Number of intervals that were played.
    next: usize,
    merge: Merge,
    /// Traced time of the intervals played, nanoseconds.
    traced_ns: u64,
    at: Timestamp,
}

impl HistoryPlayback {
    /// Plays the first interval.
    ///
    /// # Errors
    /// If there is no such history, or it has nothing of that time.
    pub fn start(args: &TopArgs, directory: &Path) -> Result<(Self, App)> {
        let mut playback = Self::open(args, directory)?;
        let host = playback.host()?;
        let span = ReplaySpan {
            start: playback.begins,
            end: playback.ends(),
        };
        let mut app = App::new(view_options(args, &host, Some(span)));
        playback.go_to(&mut app, playback.first_end())?;
        Ok((playback, app))
    }

    fn open(args: &TopArgs, directory: &Path) -> Result<Self> {
        let filter = args.filter.resolve_for_history()?;
        let reader = Reader::open(directory)?;
        let (span, places) = history::find(&reader, directory, &args.from)?;
        let begins = places.first().map_or(Timestamp(0), |first| first.start.ts);
        let places = with_ends(places);
        Ok(Self {
            merge: Merge::new(filter.clone(), span),
            reader,
            filter,
            span,
            places,
            begins,
            next: 0,
            traced_ns: 0,
            at: begins,
        })
    }

    fn host(&mut self) -> Result<TracingStart> {
        let Some((first, _)) = self.places.first().cloned() else {
            bail!("the history has nothing");
        };
        let interval = self.reader.interval(&first)?;
        Ok(TracingStart {
            at: interval.start,
            host: interval.host,
            tiers: interval.tiers,
        })
    }

    fn first_end(&self) -> Timestamp {
        self.places.first().map_or(self.begins, |(_, end)| *end)
    }

    fn ends(&self) -> Timestamp {
        self.places.last().map_or(self.begins, |(_, end)| *end)
    }

    /// Plays the intervals that end by `target`.
    fn go_to(&mut self, app: &mut App, target: Timestamp) -> Result<()> {
        self.at = target.min(self.ends());
        let due = self.places[self.next..]
            .iter()
            .take_while(|(_, end)| *end <= self.at)
            .count();
        let stride = due.div_ceil(SAMPLES_A_LEAP).max(1);
        for left in (0..due).rev() {
            let (place, end) = self.places[self.next].clone();
            let interval = self.reader.interval(&place)?;
            self.traced_ns += interval.end.mono_ns.saturating_sub(interval.start.mono_ns);
            self.merge.add(&place, interval);
            self.next += 1;
            if left.is_multiple_of(stride) {
                self.sample(app, &place, end)?;
            }
        }
        Ok(())
    }

    fn sample(&self, app: &mut App, place: &IntervalPosition, end: Timestamp) -> Result<()> {
        let Some(merged) = self.merge.clone().finish() else {
            return Ok(());
        };
        let of_boot = |first: &&(IntervalPosition, Timestamp)| first.0.boot_id == place.boot_id;
        let first = self.places.iter().find(of_boot);
        let before = self
            .reader
            .samples_before(first.map_or(place, |(first, _)| first))?;
        let samples = (before, self.reader.samples_after(place)?);
        let (diagnosis, report) = merged.into_diagnosis(samples);
        app.sample(ReportSample {
            ts: end,
            mono_ns: self.traced_ns,
            findings: diagnosis.findings,
            report,
        });
        Ok(())
    }
}

impl Playback for HistoryPlayback {
    fn forward(&mut self, app: &mut App, ns: u64) -> Result<()> {
        self.go_to(app, Timestamp(self.at.0.saturating_add(ns)))
    }

    fn back(&mut self, app: &mut App, ns: u64) -> Result<()> {
        // At least one interval is shown.
        let target = self.at.0.saturating_sub(ns).max(self.first_end().0);
        if target < self.at.0 {
            // Sums can't be reduced, so they are computed again.
            self.merge = Merge::new(self.filter.clone(), self.span);
            (self.next, self.traced_ns) = (0, 0);
        }
        self.go_to(app, Timestamp(target))
    }

    fn outcome(self) -> Result<()> {
        Ok(())
    }
}

fn with_ends(places: Vec<IntervalPosition>) -> Vec<(IntervalPosition, Timestamp)> {
    let mut all: Vec<(IntervalPosition, Timestamp)> = Vec::new();
    for place in places {
        let length_ns = place.end.mono_ns.saturating_sub(place.start.mono_ns);
        let begins = match all.last() {
            None => place.start.ts.0,
            Some((before, ended)) => match place.start.mono_ns.checked_sub(before.end.mono_ns) {
                Some(gap_ns) if before.boot_id == place.boot_id => ended.0.saturating_add(gap_ns),
                _ => ended.0.max(place.start.ts.0),
            },
        };
        all.push((place, Timestamp(begins.saturating_add(length_ns))));
    }
    all
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::player::Player;
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::session::stop::Stop;
    use crate::store::samples;

    #[tokio::test]
    async fn back_and_forth_it_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        samples::kept(directory.path(), [0, 1, 2, 5, 6].map(samples::interval));
        let store = directory.path().to_str().unwrap();
        let cli = Cli::try_parse_from(["twtrace", "top", "--store", store]).unwrap();
        let Ok(Command::Top(args)) = cli.into_command() else {
            panic!("not top");
        };
        let playback = HistoryPlayback::open(&args, directory.path()).unwrap();
        assert_eq!(playback.ends(), samples::moment(7, 0).ts);
        let (playback, mut app) = HistoryPlayback::start(&args, directory.path()).unwrap();
        let mut player = Player::new(playback, Stop::listen().unwrap());
        let report = |player: &Player<HistoryPlayback>| {
            let merged = player.playback.merge.clone().finish().unwrap();
            serde_json::to_string(&merged.report).unwrap()
        };
        let minute = samples::LENGTH_NS as i64;
        let at_first = report(&player);
        player.seek(&mut app, 100 * minute).unwrap();
        let at_end = report(&player);
        let HistoryPlayback { next, at, .. } = player.playback;
        assert_eq!((next, at), (5, player.playback.ends()));
        player.seek(&mut app, -minute - 1).unwrap();
        assert_eq!(player.playback.next, 3, "the gap is a time, too");
        player.seek(&mut app, i64::MIN).unwrap();
        assert_eq!((player.playback.next, report(&player)), (1, at_first));
        player.seek(&mut app, i64::MAX).unwrap();
        assert_eq!(report(&player), at_end);
    }
}
