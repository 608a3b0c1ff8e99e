//! Counts on this host for a while, and also writes a recording if requested.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use twtrace_core::event::quantity;
use twtrace_core::model::tally::Tally;

use super::live::{Live, LiveOptions};
use super::names::Names;
use super::summary::{Gathered, Summary, Views};
use crate::cli::BoundsArgs;
use crate::command::keep::{RecordingKeeper, SAMPLE_INTERVAL};
use crate::command::notice;
use crate::command::start_line::StartLine;
use crate::command::terminal_signals::{TerminalSignal, TerminalSignals};
use crate::output::page::Page;
use crate::output::status_line::StatusLine;
use crate::output::watch_screen::WatchScreen;
use crate::session::observer::Wants;
use crate::session::sink::Tee;

/// Between two samples of the kernel's sockets and settings while figures are watched, at least.
const WATCH_SAMPLES: Duration = Duration::from_secs(1);

/// What is redrawn while counting.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Between two redraws.
    pub interval: Duration,
    /// Renders the figures so far for a page, with a maximum number of rows of each table.
    pub render: &'a dyn Fn(&Views, Page, Option<usize>) -> String,
}

/// What to count on this host, and for how long.
#[derive(Clone, Copy)]
pub struct Measurement<'a> {
    /// What to trace, and how.
    pub options: LiveOptions<'a>,
    /// `None`: until a signal, or until the command ends.
    pub duration: Option<Duration>,
    /// File and limits of a recording to write.
    pub record: Option<(&'a Path, &'a BoundsArgs)>,
    /// What to redraw on the terminal; `None`: one line that says how much was counted.
    pub watch: Option<Watch<'a>>,
}

impl Measurement<'_> {
    /// Counts, and writes the recording if one is requested.
    ///
    /// # Errors
    /// If the filter asks for what does not exist, the kernel refuses the probes, their maps or a clock, or the
    /// recording can't be created.
    pub async fn run(self) -> Result<Gathered> {
        let Self {
            options,
            duration,
            record,
            watch,
        } = self;
        let options = match record {
            None => options,
            // Everything that a later view of the recording may need.
            Some(_) => LiveOptions {
                wants: Wants::ALL,
                sample_interval: Some(SAMPLE_INTERVAL),
                ..options
            },
        };
        let options = LiveOptions {
            // That of a recording stays as it is without the screen.
            sample_interval: options
                .sample_interval
                .or_else(|| watch.map(|watch| watch.interval.max(WATCH_SAMPLES))),
            ..options
        };
        let mut live = Live::start(options)?;
        let tracing_start = live.session.tracing_start();
        let keeper = match record {
            None => None,
            Some((path, bounds)) => {
                let start = StartLine::new(
                    tracing_start.clone(),
                    duration,
                    &live.filter,
                    &live.probing,
                    options.command,
                );
                Some(RecordingKeeper::create(path, bounds, start)?)
            }
        };
        let tally = Tally::new(tracing_start, live.filter.clone());
        let names = Names::for_filter(options.filter);
        let mut kept_and_counted = Tee(keeper, Tee(names, tally));
        live.begin(&mut kept_and_counted)?;
        live.stop.after(duration);
        let mut status = StatusLine::new(options.command.is_empty() && watch.is_none());
        let mut screen = watch.map(Screen::open).transpose()?;
        let mut signals = match watch {
            Some(_) => Some(TerminalSignals::listen().context("listening for signals")?),
            None => None,
        };
        if options.command.is_empty() && !status.is_shown() && screen.is_none() {
            print_how_it_ends(duration);
        }
        let mut recorded = Ok(());
        loop {
            tokio::select! {
                biased;
                () = live.stop.wait() => break,
                ready = live.session.ready() => ready?,
                () = status.due() => {}
                () = due(screen.as_ref()) => {}
                signal = received(signals.as_mut()) => match (signal, &mut screen) {
                    (TerminalSignal::Suspend, Some(screen)) => {
                        screen.terminal.suspend().context("--watch")?;
                    }
                    _ => break,
                },
            }
            live.step(&mut kept_and_counted)?;
            status.tick(|elapsed| so_far(elapsed, duration, &kept_and_counted.1.1));
            if let Some(screen) = &mut screen {
                screen.draw_if_due(&mut live, &mut kept_and_counted.1.1)?;
            }
            if let Some(keeper) = &mut kept_and_counted.0 {
                let flushed = tokio::select! {
                    biased;
                    flushed = keeper.flush_due() => flushed,
                    () = live.stop.wait() => break,
                };
                if flushed.is_err()
                    && let Some(keeper) = kept_and_counted.0.take()
                {
                    // Counting continues without it.
                    recorded = keeper.finish().await.map(drop);
                    // Otherwise it is reported at the end.
                    if let (Err(error), None) = (&recorded, &screen) {
                        status.clear();
                        notice(&format!("the recording ends here: {error:#}"));
                    }
                }
            }
        }
        drop((status, screen));
        live.finish(&mut kept_and_counted).await?;
        let command_exit_code = live.stop.command_exit_code();
        // Detaches the probes before waiting for a slow disk or reader.
        drop(live);
        let Tee(keeper, Tee(mut names, tally)) = kept_and_counted;
        if let Some(keeper) = keeper {
            recorded = keeper.finish().await.map(drop);
        }
        if let Some(names) = &mut names {
            names.add_running();
        }
        Ok(Gathered {
            summaries: vec![Summary::Counted(Box::new(tally))],
            names,
            command_exit_code,
            outcome: recorded,
        })
    }
}

/// The terminal, while figures are watched.
struct Screen<'a> {
    watch: Watch<'a>,
    terminal: WatchScreen,
}

impl<'a> Screen<'a> {
    fn open(watch: Watch<'a>) -> Result<Self> {
        let terminal = WatchScreen::open(watch.interval).context("--watch")?;
        Ok(Self { watch, terminal })
    }

    fn draw_if_due(&mut self, live: &mut Live, tally: &mut Tally) -> Result<()> {
        if !self.terminal.is_due() {
            return Ok(());
        }
        live.totals(tally)?;
        tally.reached(live.session.now()?);
        let views = Views::so_far(tally);
        let render = |page, max_rows| (self.watch.render)(&views, page, max_rows);
        self.terminal.draw(render).context("--watch")
    }
}

/// Waits until the screen is to be redrawn; forever without one.
async fn due(screen: Option<&Screen<'_>>) {
    match screen {
        Some(screen) => screen.terminal.due().await,
        None => std::future::pending().await,
    }
}

/// Waits for a signal that concerns the terminal; forever if nothing is drawn there.
async fn received(signals: Option<&mut TerminalSignals>) -> TerminalSignal {
    match signals {
        Some(signals) => signals.wait().await,
        None => std::future::pending().await,
    }
}

/// What was counted so far: `counting for 3 of 10 s: 1,234 TIME_WAITs, 95 RSTs; Ctrl-C ends it`.
fn so_far(elapsed: Duration, duration: Option<Duration>, tally: &Tally) -> String {
    let counted = tally.counted();
    let of = duration.map_or_else(String::new, |duration| {
        format!(" of {}", duration.as_secs())
    });
    format!(
        "counting for {}{of} s: {} TIME_WAITs, {} RSTs; Ctrl-C ends it",
        elapsed.as_secs(),
        quantity::count(counted.time_wait.total()),
        quantity::count(counted.reset_sent + counted.reset_received),
    )
}

fn print_how_it_ends(duration: Option<Duration>) {
    notice(&match duration {
        Some(duration) => format!(
            "counting for {}; Ctrl-C ends it early",
            quantity::duration(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
        ),
        None => "counting; Ctrl-C ends it and prints the report".to_owned(),
    });
}
