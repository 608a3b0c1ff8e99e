//! What samples say of listeners and of processes at the end, for findings about RSTs.

use std::collections::HashMap;

use twtrace_wire::ProcessKey;

use super::listener::{ListenerSample, OverflownListener};
use super::unacknowledged::UnacknowledgedRow;
use crate::event::Moment;

/// Samples of listeners and of processes.
#[derive(Clone, Debug, Default)]
pub struct EndSamples {
    /// Listeners that dropped connections, those with the most first.
    pub overflown: Vec<OverflownListener>,
    /// Listeners at the end that are new since the first sample, and when that was taken.
    pub new_listeners: Option<(Vec<ListenerSample>, Moment)>,
    /// Listeners of the first sample that were closed by the end.
    pub ended_listeners: Vec<ListenerSample>,
    /// Connections that send again, at the end, what nobody acknowledges.
    pub unacknowledged: Vec<UnacknowledgedRow>,
    /// Processes that no longer run, and when that was seen.
    pub exited: HashMap<ProcessKey, Moment>,
}
