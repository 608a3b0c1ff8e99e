//! What the view is fed by: this host, or something past.

use anyhow::Result;

use super::screen::{Front, Step};
use crate::output::tui::{Action, App};

/// What the view shows, as it goes on.
pub trait Feed {
    /// Waits for what comes next of the terminal, and takes up what is told meanwhile.
    async fn next(&mut self, front: &mut Front, app: &mut App) -> Result<Step>;

    /// Brings the view up to now.
    fn tick(&mut self, app: &mut App) -> Result<()>;

    /// Does what a key asks of a replay.
    fn obey(&mut self, app: &mut App, action: Action) -> Result<()>;

    /// Ends; what went wrong without ending the view.
    fn end(self) -> Result<()>;
}
