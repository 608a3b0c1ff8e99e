//! What a filter leaves out.

use super::Filter;

/// What a filter may hide. Each also hides what the ones before it hide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hidden {
    /// Nothing.
    #[default]
    Nothing,
    /// All of other network namespaces.
    Namespaces,
    /// Connections with other ends. Of a port pool that is shown, all connections are.
    Connections,
    /// Single events, and those of other processes.
    Events,
}

impl Filter {
    /// What it may hide.
    pub fn hidden(&self) -> Hidden {
        let of_recording = self.recorded.as_deref().map(Self::hidden);
        let by_events = !(self.sides.is_empty() && self.kinds.is_empty());
        let own = if self.known_family().is_some() || self.asks_for_processes() || by_events {
            Hidden::Events
        } else if !(self.local.is_empty() && self.remote.is_empty()) {
            Hidden::Connections
        } else if !self.netns.is_empty() {
            Hidden::Namespaces
        } else {
            Hidden::Nothing
        };
        own.max(of_recording.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_hidden_is_the_most_of_both_filters() {
        let of_netns = Filter {
            netns: vec![7],
            ..Filter::default()
        };
        let of_remote = Filter {
            remote: vec![":80".parse().unwrap()],
            ..Filter::default()
        };
        let of_process = Filter {
            comms: vec!["nginx".into()],
            ..Filter::default()
        };
        for (filter, recorded, hidden) in [
            (Filter::default(), None, Hidden::Nothing),
            (of_netns.clone(), None, Hidden::Namespaces),
            (of_remote.clone(), None, Hidden::Connections),
            (of_process.clone(), None, Hidden::Events),
            (of_netns, Some(of_remote.clone()), Hidden::Connections),
            (of_remote, Some(of_process), Hidden::Events),
        ] {
            assert_eq!(filter.within(recorded).hidden(), hidden);
        }
    }
}
