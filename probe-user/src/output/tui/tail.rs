//! The newest events.

use std::collections::VecDeque;

use twtrace_core::event::Event;

/// Maximum number of events that are kept.
pub const MAX_EVENTS: usize = 1_000;

/// An event with its number.
#[derive(Clone, Debug)]
pub struct NumberedEvent {
    /// Counts up from 0.
    pub number: u64,
    /// Its host, if several are shown.
    pub host: Option<String>,
    /// The event; formatted only if it is visible.
    pub event: Event,
}

/// The last [`MAX_EVENTS`] events.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    events: VecDeque<NumberedEvent>,
    next: u64,
}

impl Tail {
    /// Adds the newest event.
    pub fn push(&mut self, event: &Event, host: Option<&str>) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(NumberedEvent {
            number: self.next,
            host: host.map(str::to_owned),
            event: event.clone(),
        });
        self.next += 1;
    }

    /// The events, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &NumberedEvent> {
        self.events.iter()
    }

    /// Number of events ever added.
    pub fn count(&self) -> u64 {
        self.next
    }
}
