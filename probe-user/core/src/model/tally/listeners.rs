//! What samples say of listeners, and of processes that have ended.

use std::collections::HashSet;

use super::Tally;
use crate::event::Moment;
use crate::model::end_samples::EndSamples;
use crate::model::listener::{self, ListenerSample, OverflownListener};
use crate::model::observation::CloseWait;
use crate::model::unacknowledged::UnacknowledgedRow;

impl Tally {
    /// Listeners that dropped connections between the first and the latest sample, in namespaces that the filter shows.
    fn overflown_listeners(&self) -> Vec<OverflownListener> {
        let Some((before, _)) = &self.close_wait_before else {
            return Vec::new();
        };
        let was_sampled = |netns: u32| self.was_sampled(before, netns);
        let (before, now) = (&before.listeners, &self.close_wait.listeners);
        let mut overflown = listener::overflown(before, now, was_sampled);
        overflown.retain(|listener| self.filter.shows_netns(listener.now.netns));
        overflown
    }

    /// Whether the listeners of a namespace are in the first sample.
    fn was_sampled(&self, first: &CloseWait, netns: u32) -> bool {
        let namespaces = self.namespaces.as_ref();
        namespaces.is_some_and(|(before, _)| before.contains_key(&netns))
            && !first.unscanned.iter().any(|row| row.netns == netns)
    }

    /// What samples say of listeners and of processes, in namespaces that the filter shows.
    pub fn end_samples(&self) -> EndSamples {
        EndSamples {
            overflown: self.overflown_listeners(),
            new_listeners: self.new_listeners(),
            ended_listeners: self.ended_listeners(),
            unacknowledged: self.unacknowledged(),
            exited: self.exited.all().clone(),
        }
    }

    /// Connections that send again what nobody acknowledges, of processes and to destinations that the filter shows.
    fn unacknowledged(&self) -> Vec<UnacknowledgedRow> {
        let mut rows = self.close_wait.unacknowledged.clone();
        rows.retain(|row| {
            self.filter.shows_netns(row.netns)
                && self.filter.shows_local(None)
                && self.filter.shows_remote(Some(row.remote))
                && self.filter.shows_process(row.process.as_ref())
        });
        rows
    }

    /// Listeners of the latest sample that the first one does not have: what was there before and did not take a connection
    /// may be bound to a device.
    fn new_listeners(&self) -> Option<(Vec<ListenerSample>, Moment)> {
        let ((before, _), at) = (self.close_wait_before.as_ref()?, self.close_wait_at?);
        let known: HashSet<(u32, u64)> = before
            .listeners
            .iter()
            .map(|it| (it.netns, it.cookie))
            .collect();
        let mut new = self.close_wait.listeners.clone();
        new.retain(|it| {
            self.filter.shows_netns(it.netns)
                && self.was_sampled(before, it.netns)
                && !known.contains(&(it.netns, it.cookie))
        });
        Some((new, at))
    }

    /// Listeners of the first sample that the latest one does not have.
    fn ended_listeners(&self) -> Vec<ListenerSample> {
        let Some((before, _)) = &self.close_wait_before else {
            return Vec::new();
        };
        let is_unscanned = |netns| {
            let mut unscanned = self.close_wait.unscanned.iter();
            unscanned.any(|row| row.netns == netns)
        };
        let listeners = self.close_wait.listeners.iter();
        let open: HashSet<(u32, u64)> = listeners.map(|it| (it.netns, it.cookie)).collect();
        let mut ended = before.listeners.clone();
        ended.retain(|it| {
            self.filter.shows_netns(it.netns)
                && !is_unscanned(it.netns)
                && !open.contains(&(it.netns, it.cookie))
        });
        ended
    }
}
