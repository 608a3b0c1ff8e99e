//! What `report` and `doctor` have in common: counts for a while.

use std::time::Duration;

use anyhow::Result;

use super::live::{Live, Order};
use super::notice;
use crate::event::{Event, Lost};
use crate::model::observation::Observation;
use crate::model::tally::Tally;
use crate::output::quantity;
use crate::session::Sink;

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

    fn observed(&mut self, observation: &Observation) -> Result<()> {
        self.observe(observation.clone());
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
}

/// Counts for as long as is asked for, until a signal, or until the command ends.
///
/// # Errors
/// When the filter asks for what is not there, or the kernel refuses the probes, their maps or a clock.
pub async fn measure(order: Order<'_>, duration: Option<Duration>) -> Result<Measured> {
    let mut live = Live::start(order)?;
    let mut tally = Tally::new(live.opening(), live.filter.clone());
    live.begin(&mut tally).await?;
    live.stop.after(duration);
    if order.command.is_empty() {
        tell_how_it_ends(duration);
    }
    loop {
        tokio::select! {
            biased;
            () = live.stop.wait() => break,
            ready = live.session.ready() => ready?,
        }
        live.step(&mut tally)?;
    }
    live.finish(&mut tally).await?;
    // The probes go with the session, before a slow reader is waited for.
    Ok(Measured {
        tally,
        command_exit_code: live.stop.command_exit_code(),
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
