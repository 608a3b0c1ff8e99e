//! `twtrace top`

use std::time::{Duration, Instant};

use anyhow::Result;
use twtrace_core::event::{Event, Lost};
use twtrace_core::model::observation::Observation;
use twtrace_core::model::tally::Tally;

use super::live::{DRAIN, Live, Order};
use super::screen::{Front, Obeyed, Step, opening, sample};
use super::{top_past, top_replay};
use crate::cli::TopArgs;
use crate::output::tui::App;
use crate::output::tui::terminal;
use crate::privilege::Keep;
use crate::session::Sink;
use crate::session::observer::Wants;

/// Between two samples.
const SAMPLE: Duration = Duration::from_secs(1);
/// Between two looks at the kernel's sockets and settings.
const LOOK: Duration = Duration::from_secs(5);

/// Shows it until `q`.
pub async fn run(args: TopArgs) -> Result<()> {
    terminal::check()?;
    if let Some(directory) = &args.store.store {
        return top_past::run(&args, directory).await;
    }
    if args.from.is_given() {
        return top_replay::run(&args).await;
    }
    let mut live = Live::start(Order {
        filter: &args.filter,
        probing: &args.probing,
        wants: Wants::ALL,
        look_interval: Some(LOOK),
        max_stacks: None,
        is_service: false,
        keep: Keep::Naming,
        command: &[],
    })?;
    let mut both = Both {
        tally: Tally::new(live.session.opening(), live.filter.clone()).with_recent_rates(),
        app: App::new(opening(&args, &live.session.opening(), None)),
    };
    live.begin(&mut both)?;
    let mut front = Front::open(&mut both.app)?;
    let mut sampled: Option<Instant> = None;
    let mut drain_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            step = front.next(&mut live.stop) => match step? {
                Step::End => break,
                Step::Input(input) => {
                    if front.obey(&mut both.app, input)? == Obeyed::End {
                        break;
                    }
                }
                Step::Tick => {
                    if sampled.is_none_or(|sampled| sampled.elapsed() >= SAMPLE) {
                        sampled = Some(Instant::now());
                        live.step(&mut both)?;
                        live.totals(&mut both)?;
                        both.tally.reached(live.session.now()?);
                        both.app.sample(sample(&both.tally));
                    }
                    front.draw(&mut both.app)?;
                }
            },
            ready = live.session.ready_after(drain_at) => {
                ready?;
                live.step(&mut both)?;
                drain_at = Instant::now() + DRAIN;
            }
        }
    }
    // Detaching takes a while, in which keys would be taken from the shell.
    drop(live);
    drop(front);
    Ok(())
}

/// To be counted and to be shown.
struct Both {
    tally: Tally,
    app: App,
}

impl Sink for Both {
    fn any_event(&mut self, event: &Event) {
        self.tally.any_event(event);
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        self.tally.event(event);
        self.app.event(event, None);
        Ok(())
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        self.tally.lost(lost);
        Ok(())
    }

    fn observed(&mut self, observation: Observation) -> Result<()> {
        self.tally.observed(observation)
    }
}
