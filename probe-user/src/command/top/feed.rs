//! What feeds the view: this host, or past data.

use anyhow::Result;

use super::screen::{Front, ScreenEvent};
use crate::output::tui::{Action, App};

/// A source of what the view shows.
pub trait Feed {
    /// Waits for the next step of the terminal, and takes in what is reported in between.
    async fn next(&mut self, front: &mut Front, app: &mut App) -> Result<ScreenEvent>;

    /// Brings the view up to now.
    fn tick(&mut self, app: &mut App) -> Result<()>;

    /// Applies a key to a replay.
    fn obey(&mut self, app: &mut App, action: Action) -> Result<()>;

    /// Ends. Returns an error that did not end the view.
    fn end(self) -> Result<()>;
}
