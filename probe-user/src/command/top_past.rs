//! `twtrace top --store`: a history, played interval by interval.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use twtrace_core::event::Timestamp;
use twtrace_core::filter::Filter;
use twtrace_core::model::tally::Opening;

use super::history;
use super::screen::{Front, Obeyed, Step, opening};
use crate::cli::TopArgs;
use crate::output::tui::{Action, App, ReplaySpan, Sample};
use crate::session::stop::Stop;
use crate::store::merge::Merge;
use crate::store::reader::{Place, Reader, Span};

/// Samples of one leap, however far it goes.
const SAMPLES_A_LEAP: usize = 64;

/// Plays it until `q`.
///
/// # Errors
/// When there is no such history, or the terminal can't be used.
pub async fn run(args: &TopArgs, directory: &Path) -> Result<()> {
    let mut stop = Stop::listen().context("listening for signals")?;
    let mut player = Player::open(args, directory)?;
    let host = player.host()?;
    let span = ReplaySpan {
        start: player.begins,
        end: player.ends(),
    };
    let mut app = App::new(opening(args, &host, Some(span)));
    player.go_to(&mut app, player.first_end())?;
    let mut front = Front::open(&mut app)?;
    loop {
        match front.next(&mut stop).await? {
            Step::End => break,
            Step::Input(input) => match front.obey(&mut app, input)? {
                Obeyed::End => break,
                Obeyed::Done => {}
                Obeyed::Replay(action) => {
                    player.obey(&mut app, action)?;
                    front.draw(&mut app)?;
                }
            },
            Step::Tick => {
                player.play(&mut app)?;
                front.draw(&mut app)?;
            }
        }
    }
    Ok(())
}

/// What has been played, and how it goes on.
struct Player {
    reader: Reader,
    filter: Filter,
    span: Span,
    /// With the time at which each ends: that of the first one, and from there on what went by, whatever the wall
    /// clock did.
    places: Vec<(Place, Timestamp)>,
    begins: Timestamp,
    /// Intervals that were played.
    next: usize,
    merge: Merge,
    /// Of these, nanoseconds.
    traced_ns: u64,
    at: Timestamp,
    since: Instant,
    speed: f64,
    is_paused: bool,
}

impl Player {
    fn open(args: &TopArgs, directory: &Path) -> Result<Self> {
        let filter = args.filter.resolve_for_recording()?;
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
            since: Instant::now(),
            speed: 1.0,
            is_paused: false,
        })
    }

    fn host(&mut self) -> Result<Opening> {
        let Some((first, _)) = self.places.first().cloned() else {
            bail!("the history has nothing");
        };
        let interval = self.reader.interval(&first)?;
        Ok(Opening {
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

    fn obey(&mut self, app: &mut App, action: Action) -> Result<()> {
        match action {
            Action::Pause(is_paused) => {
                self.is_paused = is_paused;
                self.since = Instant::now();
            }
            Action::Speed(speed) => self.speed = speed,
            Action::Seek(ns) => self.seek(app, ns)?,
            Action::Quit | Action::Suspend | Action::Redraw | Action::Mouse(_) => {}
        }
        Ok(())
    }

    /// Goes on as far as time has gone, at its speed.
    fn play(&mut self, app: &mut App) -> Result<()> {
        let elapsed = std::mem::replace(&mut self.since, Instant::now()).elapsed();
        if self.is_paused {
            return Ok(());
        }
        // One that was suspended does not leap.
        let elapsed = elapsed.min(Duration::from_secs(1));
        let ns = (elapsed.as_nanos() as f64 * self.speed) as u64;
        self.go_to(app, Timestamp(self.at.0.saturating_add(ns)))
    }

    fn seek(&mut self, app: &mut App, ns: i64) -> Result<()> {
        let target = self.at.0.saturating_add_signed(ns);
        // At least one interval is shown.
        let target = Timestamp(target.max(self.first_end().0));
        if target < self.at {
            // Sums are not taken apart: they are made anew.
            self.merge = Merge::new(self.filter.clone(), self.span);
            (self.next, self.traced_ns) = (0, 0);
        }
        self.go_to(app, target)
    }

    /// Plays the intervals that end by then.
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

    fn sample(&self, app: &mut App, place: &Place, end: Timestamp) -> Result<()> {
        let Some(merged) = self.merge.clone().finish() else {
            return Ok(());
        };
        let of_boot = |first: &&(Place, Timestamp)| first.0.boot_id == place.boot_id;
        let first = self.places.iter().find(of_boot);
        let before = self
            .reader
            .looks_before(first.map_or(place, |(first, _)| first))?;
        let findings = merged
            .diagnosis(before, self.reader.looks_after(place)?)
            .findings;
        app.sample(Sample {
            ts: end,
            mono_ns: self.traced_ns,
            report: merged.report,
            findings,
        });
        Ok(())
    }
}

fn with_ends(places: Vec<Place>) -> Vec<(Place, Timestamp)> {
    let mut all: Vec<(Place, Timestamp)> = Vec::new();
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

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::store::samples;

    #[test]
    fn back_and_forth_it_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        samples::kept(directory.path(), [0, 1, 2, 5, 6].map(samples::interval));
        let store = directory.path().to_str().unwrap();
        let cli = Cli::try_parse_from(["twtrace", "top", "--store", store]).unwrap();
        let Ok(Command::Top(args)) = cli.into_command() else {
            panic!("not top");
        };
        let mut player = Player::open(&args, directory.path()).unwrap();
        assert_eq!(player.ends(), samples::moment(7, 0).ts);
        let host = player.host().unwrap();
        let mut app = App::new(opening(&args, &host, None));
        let report = |player: &Player| {
            let merged = player.merge.clone().finish().unwrap();
            serde_json::to_string(&merged.report).unwrap()
        };
        let minute = samples::LENGTH_NS as i64;
        player.go_to(&mut app, player.first_end()).unwrap();
        let at_first = report(&player);
        player.seek(&mut app, 100 * minute).unwrap();
        let at_end = report(&player);
        assert_eq!((player.next, player.at), (5, player.ends()));
        player.seek(&mut app, -minute - 1).unwrap();
        assert_eq!(player.next, 3, "the gap is a time, too");
        player.seek(&mut app, i64::MIN).unwrap();
        assert_eq!((player.next, report(&player)), (1, at_first));
        player.seek(&mut app, i64::MAX).unwrap();
        assert_eq!(report(&player), at_end);
    }
}
