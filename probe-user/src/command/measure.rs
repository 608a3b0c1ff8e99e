//! What `report` and `doctor` have in common: counts for a while.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use twtrace_core::event::quantity;
use twtrace_core::event::{Event, Lost};
use twtrace_core::model::observation::Observation;
use twtrace_core::model::tally::Tally;

use super::keep::{Keeper, LOOK_INTERVAL};
use super::live::{Live, Order};
use super::notice;
use super::start_line::StartLine;
use crate::cli::BoundsArgs;
use crate::privilege::Keep;
use crate::session::Sink;
use crate::session::observer::Wants;

impl Sink for Tally {
    fn any_event(&mut self, event: &Event) {
        Self::any_event(self, event);
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        Self::event(self, event);
        Ok(())
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        Self::lost(self, lost);
        Ok(())
    }

    fn observed(&mut self, observation: Observation) -> Result<()> {
        self.observe(observation);
        Ok(())
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Measured {
    /// Everything that was told.
    pub tally: Tally,
    /// How the command ended, where there was one.
    pub command_exit_code: Option<u8>,
    /// Whether the recording was made, where one was asked for.
    pub recorded: Result<()>,
}

/// Counts what is told, and keeps it.
struct Both {
    tally: Tally,
    keeper: Option<Keeper>,
}

impl Sink for Both {
    fn any_event(&mut self, event: &Event) {
        self.tally.any_event(event);
        if let Some(keeper) = &mut self.keeper {
            keeper.any_event(event);
        }
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        self.tally.event(event);
        self.keeper
            .as_mut()
            .map_or(Ok(()), |keeper| keeper.event(event))
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        self.tally.lost(lost);
        self.keeper
            .as_mut()
            .map_or(Ok(()), |keeper| keeper.lost(lost))
    }

    fn observed(&mut self, observation: Observation) -> Result<()> {
        if let Some(keeper) = &mut self.keeper {
            keeper.observation(&observation)?;
        }
        self.tally.observed(observation)
    }
}

/// Counts for as long as is asked for, until a signal, or until the command ends. Keeps what it counts in
/// `record`, where that is given.
///
/// # Errors
/// When the filter asks for what is not there, the kernel refuses the probes, their maps or a clock, or the
/// recording can't be begun.
pub async fn measure(
    order: Order<'_>,
    duration: Option<Duration>,
    record: Option<(&Path, &BoundsArgs)>,
) -> Result<Measured> {
    let order = match record {
        None => order,
        // Whatever a later look at the recording may ask for.
        Some(_) => Order {
            wants: Wants::ALL,
            look_interval: Some(LOOK_INTERVAL),
            keep: Keep::NamingAndWriting,
            ..order
        },
    };
    let mut live = Live::start(order)?;
    let opening = live.session.opening();
    let keeper = match record {
        None => None,
        Some((path, bounds)) => {
            let start = StartLine::new(
                opening.clone(),
                duration,
                &live.filter,
                &live.probing,
                order.command,
            );
            Some(Keeper::create(path, bounds, start)?)
        }
    };
    let mut both = Both {
        tally: Tally::new(opening, live.filter.clone()),
        keeper,
    };
    live.begin(&mut both)?;
    live.stop.after(duration);
    if order.command.is_empty() {
        tell_how_it_ends(duration);
    }
    let mut recorded = Ok(());
    loop {
        tokio::select! {
            biased;
            () = live.stop.wait() => break,
            ready = live.session.ready() => ready?,
        }
        live.step(&mut both)?;
        if let Some(keeper) = &mut both.keeper {
            let flushed = tokio::select! {
                biased;
                flushed = keeper.flush_due() => flushed,
                () = live.stop.wait() => break,
            };
            if flushed.is_err()
                && let Some(keeper) = both.keeper.take()
            {
                // Counting goes on without it.
                recorded = keeper.finish().await.map(drop);
                if let Err(error) = &recorded {
                    notice(&format!("the recording ends here: {error:#}"));
                }
            }
        }
    }
    live.finish(&mut both).await?;
    let command_exit_code = live.stop.command_exit_code();
    // The probes go with the session, before a slow disk or reader is waited for.
    drop(live);
    let Both { tally, keeper } = both;
    if let Some(keeper) = keeper {
        recorded = keeper.finish().await.map(drop);
    }
    Ok(Measured {
        tally,
        command_exit_code,
        recorded,
    })
}

fn tell_how_it_ends(duration: Option<Duration>) {
    notice(&match duration {
        Some(duration) => format!(
            "counting for {}; Ctrl-C ends it early",
            quantity::duration(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
        ),
        None => "counting; Ctrl-C ends it and prints the report".to_owned(),
    });
}
