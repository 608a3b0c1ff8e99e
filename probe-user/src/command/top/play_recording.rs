//! `twtrace top --from`: plays a recording at any speed, back and forth.

use anyhow::{Context, Result, bail};
use twtrace_core::event::{Moment, Timestamp};
use twtrace_core::model::observation::ObservationData;
use twtrace_core::model::tally::Tally;

use super::player::Playback;
use super::screen::{sample, view_options};
use crate::cli::TopArgs;
use crate::command::source::replay::{Replay, apply, outcome};
use crate::output::progress::Progress;
use crate::output::tui::{App, ReplaySpan};
use crate::record::entry::Entry;
use crate::record::merge::Recordings;

/// Between two samples at normal speed, nanoseconds.
const SAMPLE_NS: u64 = 1_000_000_000;
/// Samples between two drawings, at any speed.
const SAMPLES_A_TICK: u64 = 4;

/// Where a recording ends, and the error that stops reading there.
fn find_end(mut recordings: Recordings) -> (Moment, Result<()>) {
    let mut end = recordings
        .tracing_starts()
        .next()
        .map_or_else(Moment::default, |tracing_start| tracing_start.at);
    let mut progress = Progress::new(false);
    while let Some((_, entry)) = recordings.next() {
        let at = entry.at();
        if at.ts > end.ts {
            end = at;
        }
        progress.tick(|| recordings.progress());
    }
    drop(progress);
    (end, outcome(recordings))
}

/// The single recording, from its beginning.
fn open(args: &TopArgs) -> Result<(Recordings, Tally)> {
    let replay = Replay::open(&args.from, &args.filter)?;
    let tally = replay.tallies()?.into_iter().next();
    let tally = tally.context("there is no recording")?;
    Ok((replay.recordings, tally.with_recent_rates()))
}

/// Totals come only at the end, and what they have beyond the events would appear to happen then.
fn is_totals(entry: &Entry) -> bool {
    matches!(entry, Entry::Observation(observation) if matches!(observation.data, ObservationData::Totals(_)))
}

/// Playback state of a recording.
pub struct RecordingPlayback<'a> {
    args: &'a TopArgs,
    recordings: Recordings,
    tally: Tally,
    start: Moment,
    end: Moment,
    /// The position.
    at: Moment,
    sampled: Moment,
    /// The error that stops reading at its end.
    damage: Result<()>,
}

impl<'a> RecordingPlayback<'a> {
    /// Opens a recording, with nothing played.
    ///
    /// # Errors
    /// If there is no such recording, there are several, or it can't be read twice.
    pub fn start(args: &'a TopArgs) -> Result<(Self, App)> {
        if args.from.from.iter().any(|path| path.as_os_str() == "-") {
            bail!("top seeks in a recording, which standard input does not allow: give a file");
        }
        let Replay { recordings, .. } = Replay::open(&args.from, &args.filter)?;
        if recordings.tracing_starts().len() > 1 {
            bail!(
                "top shows one host: give --from the files of one recording (trace merges several)"
            );
        }
        let (end, damage) = find_end(recordings);
        let (recordings, tally) = open(args)?;
        let start = tally.tracing_start().at;
        let span = ReplaySpan {
            start: start.ts,
            end: end.ts,
        };
        let mut app = App::new(view_options(args, tally.tracing_start(), Some(span)));
        if let Err(error) = &damage {
            app.log(&format!("twtrace: {error:#}"));
        }
        app.sample(sample(&tally));
        let playback = Self {
            args,
            recordings,
            tally,
            start,
            end,
            at: start,
            sampled: start,
            damage,
        };
        Ok((playback, app))
    }

    fn later(&self, ns: u64) -> Moment {
        let left = self.end.ts.0.saturating_sub(self.at.ts.0);
        let ns = ns.min(left);
        Moment {
            ts: Timestamp(self.at.ts.0.saturating_add(ns)),
            mono_ns: self.at.mono_ns.saturating_add(ns),
        }
    }

    /// Plays everything up to `target`.
    fn go_to(&mut self, app: &mut App, target: Moment) {
        let whole = target.ts.0.saturating_sub(self.at.ts.0);
        let sample_ns = SAMPLE_NS.max(whole / SAMPLES_A_TICK);
        loop {
            let next_sample = Moment {
                ts: Timestamp(self.sampled.ts.0.saturating_add(sample_ns)),
                mono_ns: self.sampled.mono_ns.saturating_add(sample_ns),
            };
            let is_due = next_sample.ts <= target.ts;
            let until = if is_due { next_sample } else { target };
            self.apply_until(app, until);
            self.at = until;
            self.tally.reached(until);
            if !is_due {
                break;
            }
            self.sample(app);
        }
        if self.at.ts >= self.end.ts && self.sampled != self.at {
            self.sample(app);
        }
    }

    fn apply_until(&mut self, app: &mut App, until: Moment) {
        while self.recordings.peek().is_some_and(|at| at.ts <= until.ts) {
            let Some((_, entry)) = self.recordings.next() else {
                break;
            };
            if let Entry::Event(event) = &entry
                && self.tally.filter().matches(event)
            {
                app.event(event, None);
            }
            if !is_totals(&entry) {
                apply(&mut self.tally, entry);
            }
        }
    }

    fn sample(&mut self, app: &mut App) {
        self.sampled = self.at;
        let mut sample = sample(&self.tally);
        (sample.ts, sample.mono_ns) = (self.at.ts, self.at.mono_ns);
        app.sample(sample);
    }
}

impl Playback for RecordingPlayback<'_> {
    fn forward(&mut self, app: &mut App, ns: u64) -> Result<()> {
        self.go_to(app, self.later(ns));
        Ok(())
    }

    fn back(&mut self, app: &mut App, ns: u64) -> Result<()> {
        let target = Moment {
            ts: Timestamp(self.at.ts.0.saturating_sub(ns).max(self.start.ts.0)),
            mono_ns: self.at.mono_ns.saturating_sub(ns).max(self.start.mono_ns),
        };
        // State is a sum over everything before, so it is computed again.
        (self.recordings, self.tally) = open(self.args)?;
        (self.at, self.sampled) = (self.start, self.start);
        app.sample(sample(&self.tally));
        self.go_to(app, target);
        self.sample(app);
        Ok(())
    }

    /// What could be read was shown.
    fn outcome(self) -> Result<()> {
        self.damage
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use ratatui::crossterm::event::{KeyCode, KeyEvent};

    use super::super::feed::Feed;
    use super::super::player::Player;
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::output::tui::Action;
    use crate::output::tui::screen_tests::assert_screen;
    use crate::session::stop::Stop;

    /// With the recording of the first format, which has real traffic of every kind.
    fn args() -> TopArgs {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/format_1.twt");
        let cli = Cli::try_parse_from(["twtrace", "top", "--from", path]).unwrap();
        let Ok(Command::Top(args)) = cli.into_command() else {
            panic!("not top");
        };
        args
    }

    fn started(args: &TopArgs) -> (RecordingPlayback<'_>, App) {
        let (playback, app) = RecordingPlayback::start(args).unwrap();
        assert!(playback.damage.is_ok());
        (playback, app)
    }

    #[test]
    fn every_pane_of_a_recording() {
        let args = args();
        let (mut playback, mut app) = started(&args);
        playback.forward(&mut app, u64::MAX).unwrap();
        assert_screen("recording", &mut app);
        app.key(KeyEvent::from(KeyCode::Enter));
        assert_screen("recording_process", &mut app);
        app.key(KeyEvent::from(KeyCode::Esc));
        app.key(KeyEvent::from(KeyCode::Char('i')));
        assert_screen("recording_integrity", &mut app);
    }

    #[tokio::test]
    async fn back_and_forth_it_is_the_same() {
        const SECOND_NS: i64 = 1_000_000_000;
        let args = args();
        let (playback, mut app) = started(&args);
        let mut player = Player::new(playback, Stop::listen().unwrap());
        let report = |player: &Player<RecordingPlayback<'_>>| {
            serde_json::to_string(&player.playback.tally.report()).unwrap()
        };
        player.seek(&mut app, i64::MAX).unwrap();
        let at_end = report(&player);
        let end = player.playback.at;
        assert_eq!(end.ts, player.playback.end.ts);
        player.seek(&mut app, -2 * SECOND_NS).unwrap();
        assert_eq!(player.playback.at.ts.0 + 2_000_000_000, end.ts.0);
        assert_ne!(report(&player), at_end);
        player.obey(&mut app, Action::Seek(2 * SECOND_NS)).unwrap();
        assert_eq!(report(&player), at_end);
        player.seek(&mut app, i64::MIN).unwrap();
        assert_eq!(player.playback.at, player.playback.start);
    }
}
