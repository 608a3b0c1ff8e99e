//! `twtrace top --from`: a recording, played at any speed, back and forth.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use twtrace_core::event::{Moment, Timestamp};
use twtrace_core::model::observation::Seen;
use twtrace_core::model::tally::Tally;

use super::replay::{Replay, outcome, tell};
use super::screen::{Front, Obeyed, Step, opening, sample};
use crate::cli::TopArgs;
use crate::output::progress::Progress;
use crate::output::tui::{Action, App, ReplaySpan};
use crate::record::entry::Entry;
use crate::record::merge::Recordings;
use crate::session::stop::Stop;

/// Between two samples at the speed at which it happened, nanoseconds.
const SAMPLE_NS: u64 = 1_000_000_000;
/// Samples between two drawings, at any speed.
const SAMPLES_A_TICK: u64 = 4;

/// Plays it until `q`.
///
/// # Errors
/// When there is no such recording, or the terminal can't be used.
pub async fn run(args: &TopArgs) -> Result<()> {
    if args.from.from.iter().any(|path| path.as_os_str() == "-") {
        bail!("top goes back and forth in a recording, which standard input does not: give a file");
    }
    let mut stop = Stop::listen().context("listening for signals")?;
    let Replay { recordings, .. } = Replay::open(&args.from, &args.filter)?;
    if recordings.openings().len() > 1 {
        bail!("top shows one host: give --from the files of one recording (trace merges several)");
    }
    let (end, damage) = find_end(recordings);
    let mut player = Player::open(args, end)?;
    let span = ReplaySpan {
        start: player.start.ts,
        end: end.ts,
    };
    let mut app = App::new(opening(args, player.tally.opening(), Some(span)));
    if let Err(error) = &damage {
        app.log(&format!("twtrace: {error:#}"));
    }
    app.sample(sample(&player.tally));
    let mut front = Front::open(&mut app)?;
    loop {
        match front.next(&mut stop).await? {
            Step::End => break,
            Step::Input(input) => match front.obey(&mut app, input)? {
                Obeyed::End => break,
                Obeyed::Done => {}
                Obeyed::Replay(action) => {
                    player.obey(args, &mut app, action)?;
                    front.draw(&mut app)?;
                }
            },
            Step::Tick => {
                player.play(&mut app);
                front.draw(&mut app)?;
            }
        }
    }
    drop(front);
    // What was good was shown.
    damage
}

/// Where a recording ends, and what keeps it from being read on there.
fn find_end(mut recordings: Recordings) -> (Moment, Result<()>) {
    let mut end = recordings
        .openings()
        .next()
        .map_or_else(Moment::default, |opening| opening.at);
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

/// Totals come at the end only: all that they know beyond the events would seem to happen then.
fn is_totals(entry: &Entry) -> bool {
    matches!(entry, Entry::Observation(observation) if matches!(observation.seen, Seen::Totals(_)))
}

/// What has been played, and how it goes on.
struct Player {
    recordings: Recordings,
    tally: Tally,
    start: Moment,
    end: Moment,
    /// How far it has come.
    at: Moment,
    /// When it came there.
    since: Instant,
    sampled: Moment,
    speed: f64,
    is_paused: bool,
}

impl Player {
    fn open(args: &TopArgs, end: Moment) -> Result<Self> {
        let replay = Replay::open(&args.from, &args.filter)?;
        let tally = replay.tallies()?.into_iter().next();
        let tally = tally.context("there is no recording")?;
        let start = tally.opening().at;
        Ok(Self {
            recordings: replay.recordings,
            tally: tally.with_recent_rates(),
            start,
            end,
            at: start,
            since: Instant::now(),
            sampled: start,
            speed: 1.0,
            is_paused: false,
        })
    }

    fn obey(&mut self, args: &TopArgs, app: &mut App, action: Action) -> Result<()> {
        match action {
            Action::Pause(is_paused) => {
                self.is_paused = is_paused;
                self.since = Instant::now();
            }
            Action::Speed(speed) => self.speed = speed,
            Action::Seek(ns) => self.seek(args, app, ns)?,
            Action::Quit | Action::Suspend | Action::Redraw | Action::Mouse(_) => {}
        }
        Ok(())
    }

    /// Goes on as far as time has gone, at its speed.
    fn play(&mut self, app: &mut App) {
        let elapsed = std::mem::replace(&mut self.since, Instant::now()).elapsed();
        if self.is_paused {
            return;
        }
        // One that was suspended does not leap.
        let elapsed = elapsed.min(Duration::from_secs(1));
        let ns = (elapsed.as_nanos() as f64 * self.speed) as u64;
        self.go_to(app, self.later(ns));
    }

    fn seek(&mut self, args: &TopArgs, app: &mut App, ns: i64) -> Result<()> {
        if ns >= 0 {
            self.go_to(app, self.later(ns.unsigned_abs()));
            return Ok(());
        }
        let back = ns.unsigned_abs();
        let target = Moment {
            ts: Timestamp(self.at.ts.0.saturating_sub(back).max(self.start.ts.0)),
            mono_ns: self.at.mono_ns.saturating_sub(back).max(self.start.mono_ns),
        };
        // State is a sum over everything before, so it is summed up anew.
        *self = Self {
            speed: self.speed,
            is_paused: self.is_paused,
            ..Self::open(args, self.end)?
        };
        app.sample(sample(&self.tally));
        self.go_to(app, target);
        self.sample(app);
        Ok(())
    }

    fn later(&self, ns: u64) -> Moment {
        let left = self.end.ts.0.saturating_sub(self.at.ts.0);
        let ns = ns.min(left);
        Moment {
            ts: Timestamp(self.at.ts.0.saturating_add(ns)),
            mono_ns: self.at.mono_ns.saturating_add(ns),
        }
    }

    /// Plays everything up to a moment.
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
            self.tell_until(app, until);
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

    fn tell_until(&mut self, app: &mut App, until: Moment) {
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
                tell(&mut self.tally, entry);
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

#[cfg(test)]
mod tests {
    use clap::Parser;
    use ratatui::crossterm::event::{KeyCode, KeyEvent};

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::output::tui::screen_tests::assert_screen;

    /// The recording of the first format, with real traffic of every kind.
    fn played() -> (TopArgs, App, Player) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/format_1.twt");
        let cli = Cli::try_parse_from(["twtrace", "top", "--from", path]).unwrap();
        let Ok(Command::Top(args)) = cli.into_command() else {
            panic!("not top");
        };
        let Replay { recordings, .. } = Replay::open(&args.from, &args.filter).unwrap();
        let (end, damage) = find_end(recordings);
        damage.unwrap();
        let player = Player::open(&args, end).unwrap();
        let span = ReplaySpan {
            start: player.start.ts,
            end: end.ts,
        };
        let mut app = App::new(opening(&args, player.tally.opening(), Some(span)));
        app.sample(sample(&player.tally));
        (args, app, player)
    }

    #[test]
    fn every_pane_of_a_recording() {
        let (_, mut app, mut player) = played();
        player.go_to(&mut app, player.later(u64::MAX));
        assert_screen("recording", &mut app);
        app.key(KeyEvent::from(KeyCode::Enter));
        assert_screen("recording_process", &mut app);
        app.key(KeyEvent::from(KeyCode::Esc));
        app.key(KeyEvent::from(KeyCode::Char('i')));
        assert_screen("recording_integrity", &mut app);
    }

    #[test]
    fn back_and_forth_it_is_the_same() {
        const SECOND_NS: i64 = 1_000_000_000;
        let (args, mut app, mut player) = played();
        player.go_to(&mut app, player.later(u64::MAX));
        let at_end = serde_json::to_string(&player.tally.report()).unwrap();
        let end = player.at;
        player.seek(&args, &mut app, -2 * SECOND_NS).unwrap();
        assert_eq!(player.at.ts.0 + 2_000_000_000, end.ts.0);
        assert_ne!(
            serde_json::to_string(&player.tally.report()).unwrap(),
            at_end
        );
        player.seek(&args, &mut app, 2 * SECOND_NS).unwrap();
        assert_eq!(
            serde_json::to_string(&player.tally.report()).unwrap(),
            at_end
        );
        player.seek(&args, &mut app, i64::MIN).unwrap();
        assert_eq!(player.at, player.start);
    }
}
