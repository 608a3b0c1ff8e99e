//! Filters for events.

pub mod address;
pub mod family;
mod hidden;
pub mod place;
pub mod recorded;

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use twtrace_wire::{EventKind, Side};

use crate::event::place::Place;
use crate::event::words::Word;
use crate::event::{Event, Process};
pub use address::AddressFilter;
pub use family::Family;
pub use hidden::Hidden;
pub use place::{ContainerFilter, PodFilter, UnitFilter};

/// Conditions on events. Different conditions must all be met; of several values for one, any is enough. An empty list
/// is no condition.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Filter {
    /// Pids of the responsible process.
    pub pids: Vec<u32>,
    /// Its names.
    pub comms: Vec<String>,
    /// Containers that it runs in.
    pub containers: Vec<ContainerFilter>,
    /// Pods that it runs in.
    pub pods: Vec<PodFilter>,
    /// systemd units that it runs in.
    pub units: Vec<UnitFilter>,
    /// This host's end.
    pub local: Vec<AddressFilter>,
    /// The other end.
    pub remote: Vec<AddressFilter>,
    /// Inode numbers of network namespaces.
    pub netns: Vec<u32>,
    /// Sides.
    #[serde(serialize_with = "serialize_words")]
    pub sides: Vec<Side>,
    /// Kinds of events.
    #[serde(serialize_with = "serialize_words")]
    pub kinds: Vec<EventKind>,
    /// The command whose processes alone are shown.
    #[serde(skip)]
    pub family: Option<Family>,
    /// The filter of the recording that is read. Its events have passed that filter; data that was read beside them,
    /// such as totals by process, covers the whole host, and has to pass both.
    #[serde(skip)]
    pub recorded: Option<Arc<Filter>>,
}

impl Filter {
    /// The same filter for a recording that was written with another filter.
    #[must_use]
    pub fn within(self, recorded: Option<Self>) -> Self {
        Self {
            recorded: recorded.map(Arc::new),
            ..self
        }
    }

    /// Whether an event passes. Events of a recording have passed the recording's filter already.
    pub fn matches(&self, event: &Event) -> bool {
        any(&self.kinds, |kind| *kind == event.event)
            && any(&self.sides, |side| *side == event.side)
            && any(&self.netns, |netns| Some(*netns) == event.netns)
            && self.has_process(event.process.as_ref())
            && any_end(&self.local, event.local)
            && any_end(&self.remote, event.remote)
    }

    /// Whether data of a network namespace passes, as far as the namespace decides.
    pub fn shows_netns(&self, netns: u32) -> bool {
        any(&self.netns, |known| *known == netns)
            && self.has_recorded(|recorded| recorded.shows_netns(netns))
    }

    /// Whether data of this host's end passes, as far as the end decides.
    pub fn shows_local(&self, local: Option<SocketAddr>) -> bool {
        any_end(&self.local, local) && self.has_recorded(|recorded| recorded.shows_local(local))
    }

    /// Whether data of the other end passes, as far as the end decides.
    pub fn shows_remote(&self, remote: Option<SocketAddr>) -> bool {
        any_end(&self.remote, remote) && self.has_recorded(|recorded| recorded.shows_remote(remote))
    }

    /// Whether an existing connection passes, as far as its namespace, side and ends decide.
    pub fn shows_ends(
        &self,
        netns: u32,
        side: Side,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> bool {
        any(&self.netns, |wanted| *wanted == netns)
            && any(&self.sides, |wanted| *wanted == side)
            && any_end(&self.local, Some(local))
            && any_end(&self.remote, Some(remote))
            && self.has_recorded(|recorded| recorded.shows_ends(netns, side, local, remote))
    }

    /// Whether data of a process passes, as far as the process decides.
    pub fn shows_process(&self, process: Option<&Process>) -> bool {
        self.has_process(process) && self.has_recorded(|recorded| recorded.shows_process(process))
    }

    fn has_process(&self, process: Option<&Process>) -> bool {
        self.family
            .as_ref()
            .is_none_or(|family| process.is_some_and(|process| family.has(process.key)))
            && any(&self.pids, |pid| {
                process.is_some_and(|process| process.key.tgid == *pid)
            })
            && any(&self.comms, |comm| {
                process.is_some_and(|process| process.comm.is_of(comm))
            })
            && (!self.has_places() || self.has_place(process.and_then(Process::place)))
    }

    /// Whether it depends on where processes run: they have to be looked up before it can be applied.
    pub fn asks_for_place(&self) -> bool {
        self.has_places() || self.recorded_asks(Self::asks_for_place)
    }

    fn has_places(&self) -> bool {
        !(self.containers.is_empty() && self.pods.is_empty() && self.units.is_empty())
    }

    fn has_place(&self, place: Option<&Place>) -> bool {
        any(&self.containers, |filter| {
            place.is_some_and(|place| filter.matches(place))
        }) && any(&self.pods, |filter| {
            place.is_some_and(|place| filter.matches(place))
        }) && any(&self.units, |filter| {
            place.is_some_and(|place| filter.matches(place))
        })
    }

    /// Whether it selects processes.
    pub fn asks_for_processes(&self) -> bool {
        !(self.pids.is_empty() && self.comms.is_empty())
            || self.has_places()
            || self.recorded_asks(Self::asks_for_processes)
    }

    /// Whether events of this kind pass, as far as the kind decides.
    pub fn shows_kind(&self, kind: EventKind) -> bool {
        any(&self.kinds, |known| *known == kind)
            && self.has_recorded(|recorded| recorded.shows_kind(kind))
    }

    /// Whether it selects kinds of events.
    pub fn asks_for_kinds(&self) -> bool {
        !self.kinds.is_empty() || self.recorded_asks(Self::asks_for_kinds)
    }

    /// Whether it depends only on processes and kinds, which the kernel's totals by process contain.
    pub fn is_by_process(&self) -> bool {
        self.local.is_empty()
            && self.remote.is_empty()
            && self.netns.is_empty()
            && self.sides.is_empty()
            && self.has_recorded(Self::is_by_process)
    }

    /// Whether it may hide events.
    pub fn hides_events(&self) -> bool {
        self.hidden() != Hidden::Nothing
    }

    /// Whether each port allocation has to be an event: the kernel's histograms can't be filtered by address.
    pub fn needs_each_search(&self) -> bool {
        !self.is_by_process() && self.shows_kind(EventKind::PortAlloc)
    }

    /// The processes of the command that is, or was, followed alone.
    pub fn known_family(&self) -> Option<&Family> {
        let recorded = || self.recorded.as_deref()?.known_family();
        self.family.as_ref().or_else(recorded)
    }

    fn has_recorded(&self, passes: impl Fn(&Self) -> bool) -> bool {
        self.recorded.as_deref().is_none_or(passes)
    }

    fn recorded_asks(&self, asks: impl Fn(&Self) -> bool) -> bool {
        self.recorded.as_deref().is_some_and(asks)
    }
}

fn any<T>(values: &[T], matches: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(matches)
}

fn any_end(filters: &[AddressFilter], end: Option<SocketAddr>) -> bool {
    any(filters, |filter| {
        end.is_some_and(|address| filter.matches(address))
    })
}

fn serialize_words<T: Word, S: Serializer>(
    members: &[T],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(members.iter().map(|member| member.word()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn nothing_asked_shows_all() {
        let filter = Filter::default();
        let mut event = samples::time_wait();
        assert!(filter.matches(&event) && filter.is_by_process());
        event.process = None;
        event.local = None;
        assert!(filter.matches(&event));
    }

    #[test]
    fn values_of_one_condition_are_alternatives_and_conditions_add_up() {
        let event = samples::time_wait();
        let mut filter = Filter {
            pids: vec![1, 1234],
            ..Filter::default()
        };
        assert!(filter.matches(&event));
        filter.comms = vec!["nginx".into()];
        assert!(!filter.matches(&event));
        filter.comms.push("curl".into());
        assert!(filter.matches(&event) && filter.is_by_process());
        filter.remote = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(!filter.matches(&event) && !filter.is_by_process());
        filter.remote.push("[2001:db8::]/32".parse().unwrap());
        assert!(filter.matches(&event));
        filter.kinds = vec![EventKind::Reset];
        assert!(!filter.matches(&event));
    }

    #[test]
    fn of_a_command_only_its_processes_are_shown_and_the_rest_must_hold_too() {
        let mut event = samples::time_wait();
        let mut filter = Filter {
            family: Some(Family::default()),
            ..Filter::default()
        };
        assert!(!filter.matches(&event) && filter.is_by_process());
        let key = event.process.as_ref().unwrap().key;
        filter.family.as_ref().unwrap().add([key]);
        assert!(filter.matches(&event));
        filter.comms = vec!["nginx".into()];
        assert!(!filter.matches(&event));
        filter.comms.clear();
        event.process = None;
        assert!(!filter.matches(&event), "nobody is no member");
    }

    #[test]
    fn where_a_process_runs_is_a_matter_of_the_process() {
        let mut event = samples::time_wait();
        let filter = Filter {
            units: vec!["nginx".parse().unwrap(), "curl*".parse().unwrap()],
            ..Filter::default()
        };
        assert!(filter.is_by_process() && filter.asks_for_place() && filter.asks_for_processes());
        assert!(!filter.matches(&event), "not looked up");
        let place = Place::from_path("/system.slice/curl-1.scope".into());
        if let Some(process) = &mut event.process {
            process.details = Some(Arc::new(crate::event::process::ProcessDetails {
                cgroup: Some(place),
                ..Default::default()
            }));
        }
        assert!(filter.matches(&event));
        let in_a_container = Filter {
            containers: vec!["012345".parse().unwrap()],
            ..filter.clone()
        };
        assert!(!in_a_container.matches(&event));
        event.process = None;
        assert!(!filter.matches(&event));
    }

    #[test]
    fn what_is_beside_the_events_of_a_recording_has_to_pass_both_filters() {
        let event = samples::time_wait();
        let process = event.process.as_ref();
        let recorded = Filter {
            comms: vec!["nginx".into()],
            netns: vec![7],
            kinds: vec![EventKind::Reset],
            local: vec![":1".parse().unwrap()],
            ..Filter::default()
        };
        let filter = Filter::default().within(Some(recorded));
        assert!(filter.matches(&event), "it would not be in the recording");
        assert!(!filter.shows_process(process) && !filter.shows_kind(event.event));
        assert!(!filter.shows_local(event.local) && filter.shows_remote(event.remote));
        assert!(filter.shows_netns(7) && !filter.shows_netns(8));
        assert!(!filter.is_by_process() && filter.asks_for_processes() && filter.hides_events());
        let both = Filter {
            netns: vec![8],
            ..filter
        };
        assert!(!both.shows_netns(7) && !both.shows_netns(8));
        let all = Filter::default().within(Some(Filter::default()));
        assert!(all.shows_process(process) && all.is_by_process() && !all.hides_events());
        let of_command = Filter {
            family: Some(Family::default()),
            ..Filter::default()
        };
        assert!(Filter::default().within(Some(of_command)).hides_events());
    }

    #[test]
    fn what_is_unknown_does_not_pass_a_condition_on_it() {
        let mut event = samples::time_wait();
        event.process = None;
        event.netns = None;
        event.remote = None;
        for filter in [
            Filter {
                pids: vec![1234],
                ..Filter::default()
            },
            Filter {
                netns: vec![0],
                ..Filter::default()
            },
            Filter {
                remote: vec![":80".parse().unwrap()],
                ..Filter::default()
            },
            Filter {
                sides: vec![Side::Unknown],
                ..Filter::default()
            },
        ] {
            assert!(!filter.matches(&event), "{filter:?}");
        }
    }
}
