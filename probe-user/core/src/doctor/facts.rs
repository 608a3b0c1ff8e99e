//! Input of the checks.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;

use twtrace_wire::{ProcessKey, Side};

use super::advice;
use crate::event::text::shell_word;
use crate::event::{Moment, Process};
use crate::filter::Filter;
use crate::model::end_samples::EndSamples;
use crate::model::listener::{ListenerSample, OverflownListener};
use crate::model::namespace::{NamespaceSamples, NamespaceState};
use crate::model::pairs::{PairCounts, PairRow, of_last_namespaces};
use crate::model::report::{ProcessRow, Report};
use crate::model::unacknowledged::UnacknowledgedRow;

/// Everything that was measured.
#[derive(Debug)]
pub struct DoctorFacts {
    /// The same as in `twtrace report`.
    pub report: Report,
    /// Events of each process by destination; those with the most TIME_WAITs first.
    pub pairs: Vec<PairRow>,
    /// Namespaces whose settings are known, by inode number.
    pub namespaces: BTreeMap<u32, NamespaceFacts>,
    /// Listeners that dropped connections, those with the most first.
    pub overflown: Vec<OverflownListener>,
    /// Listeners at the end that are new since the first sample, and when that was taken.
    pub new_listeners: Option<(Vec<ListenerSample>, Moment)>,
    /// Listeners that were closed during the measurement.
    pub ended_listeners: Vec<ListenerSample>,
    /// Processes that no longer run, and when that was seen.
    pub exited: HashMap<ProcessKey, Moment>,
    /// Connections that send again, at the end, what nobody acknowledges.
    pub unacknowledged: Vec<UnacknowledgedRow>,
    /// Whether no filter hides events of the checked namespaces: what was not seen did not happen there.
    pub sees_all: bool,
    /// Namespaces whose settings are not known, and why.
    pub unknown: Vec<(u32, String)>,
    /// Numbers of the pools of bind() that have findings, by namespace; found when they are first asked for.
    pub(super) scarce_binds: OnceCell<BTreeMap<u32, Vec<usize>>>,
}

/// A namespace at the end, and at the start.
#[derive(Clone, Debug)]
pub struct NamespaceFacts {
    /// A file that stands for it; `None` for twtrace's own namespace.
    pub path: Option<PathBuf>,
    /// State at the start; `None` if it was not known.
    pub before: Option<NamespaceState>,
    /// State at the end.
    pub now: NamespaceState,
}

impl DoctorFacts {
    /// Combines them. Leaves out namespaces that no longer exist at the end, and those that the filter hides: a
    /// recording has all namespaces of its host.
    pub fn new(
        report: Report,
        (mut before, after): (NamespaceSamples, NamespaceSamples),
        filter: &Filter,
    ) -> Self {
        let mut facts = Self {
            pairs: of_last_namespaces(&report.pairs),
            report,
            namespaces: BTreeMap::new(),
            overflown: Vec::new(),
            ended_listeners: Vec::new(),
            new_listeners: None,
            exited: HashMap::new(),
            unacknowledged: Vec::new(),
            sees_all: !Filter {
                netns: Vec::new(),
                ..filter.clone()
            }
            .hides_events(),
            unknown: Vec::new(),
            scarce_binds: OnceCell::new(),
        };
        let shown = after
            .into_iter()
            .filter(|(netns, _)| filter.shows_netns(*netns));
        for (netns, sample) in shown {
            let before = before.remove(&netns).and_then(|sample| sample.state.ok());
            match sample.state {
                Ok(now) => {
                    let namespace = NamespaceFacts {
                        path: sample.path,
                        before,
                        now,
                    };
                    facts.namespaces.insert(netns, namespace);
                }
                Err(why) => facts.unknown.push((netns, why)),
            }
        }
        facts
    }

    /// The same with what samples say of listeners and processes.
    pub fn with_samples(mut self, samples: EndSamples) -> Self {
        self.overflown = samples.overflown;
        self.new_listeners = samples.new_listeners;
        self.ended_listeners = samples.ended_listeners;
        self.exited = samples.exited;
        self.unacknowledged = samples.unacknowledged;
        self
    }

    /// Whether a new listener was seen on an address of a namespace after a time, CLOCK_MONOTONIC in nanoseconds.
    pub fn listens_since(&self, netns: u32, address: SocketAddr, since_ns: u64) -> bool {
        let is_v4 = address.ip().to_canonical().is_ipv4();
        let takes = |listener: &ListenerSample| {
            let ip = listener.local.ip().to_canonical();
            // Not known is no IPv4.
            let is_any =
                ip.is_unspecified() && (ip.is_ipv4() == is_v4 || listener.v6only == Some(false));
            listener.local.port() == address.port() && (is_any || ip == address.ip().to_canonical())
        };
        let sample = self.new_listeners.as_ref();
        sample.is_some_and(|(listeners, at)| {
            let mut listeners = listeners.iter();
            at.mono_ns > since_ns
                && listeners.any(|listener| listener.netns == netns && takes(listener))
        })
    }

    /// Whether a full accept queue answers with a RST in a namespace.
    pub fn aborts_on_overflow(&self, netns: u32) -> bool {
        self.state(netns)
            .is_some_and(|state| state.abort_on_overflow == Some(true))
    }

    /// Duration of the measurement, seconds; never 0.
    pub fn seconds(&self) -> f64 {
        (self.report.duration_ns as f64 / 1e9).max(0.001)
    }

    /// The settings of a namespace at the end.
    pub fn state(&self, netns: u32) -> Option<&NamespaceState> {
        self.namespaces.get(&netns).map(|namespace| &namespace.now)
    }

    /// The name of a namespace, or its number if it has none.
    pub fn name(&self, netns: u32) -> String {
        self.report.netns_name(netns, self.report.last_nth(netns))
    }

    /// Such as `namespace blue` or `namespaces blue, 2 and 4 more`.
    pub fn names(&self, numbers: &[u32]) -> String {
        let shown = numbers.iter().take(advice::NAMED);
        let named: Vec<String> = shown.map(|netns| self.name(*netns)).collect();
        let word = match numbers.len() {
            1 => "namespace",
            _ => "namespaces",
        };
        format!("{word} {}{}", named.join(", "), advice::more(numbers.len()))
    }

    /// A command line that runs `command` inside a namespace.
    pub fn command(&self, netns: u32, command: &str) -> String {
        match self.namespaces.get(&netns).and_then(|it| it.path.as_ref()) {
            Some(path) => format!(
                "nsenter --net={} {command}",
                shell_word(&path.to_string_lossy())
            ),
            None => command.to_owned(),
        }
    }

    /// TIME_WAITs created in a namespace, by side: if several namespaces had its number, in the last one.
    pub fn time_waits(&self, netns: u32, side: Side) -> u64 {
        let rows = self.report.destinations.iter();
        let of_number = rows.filter(|row| row.netns == Some(netns));
        let last = of_number.clone().map(|row| row.netns_nth).max();
        of_number
            .filter(|row| Some(row.netns_nth) == last && row.side == side)
            .map(|row| row.time_wait)
            .sum()
    }

    /// The processes of some pairs with their totals, the greatest first; those with 0 are left out. Many processes of one
    /// command are one entry.
    pub fn processes(
        &self,
        of: impl Fn(&PairRow) -> bool,
        number: impl Fn(&PairCounts) -> u64,
    ) -> Vec<(String, u64)> {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for row in self.pairs.iter().filter(|row| of(row)) {
            *sums.entry(row.name().into_owned()).or_default() += number(&row.counts);
        }
        let sums = sums.into_iter().filter(|(_, sum)| *sum > 0);
        advice::by_command(sums)
    }

    /// The row of a process by itself.
    pub fn row_of(&self, process: &Process) -> Option<&ProcessRow> {
        let mut rows = self.report.processes.iter();
        rows.find(|row| row.process.as_ref().is_some_and(|it| it.key == process.key))
    }

    /// The state of the only namespace.
    #[cfg(any(test, feature = "samples"))]
    #[allow(clippy::unwrap_used, reason = "only tests call it")]
    pub fn state_mut(&mut self) -> &mut NamespaceState {
        &mut self.namespaces.values_mut().next().unwrap().now
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::model::namespace::NamespaceSample;
    use crate::model::netns_name::{NamedAfter, NetnsName};

    #[test]
    fn a_command_is_one_for_any_name_of_a_namespace() {
        let mut facts = samples::healthy();
        for (path, shown) in [
            ("/run/netns/blue", "nsenter --net=/run/netns/blue id"),
            ("/run/netns/a b;c", "nsenter --net='/run/netns/a b;c' id"),
            ("/run/netns/$(id)", "nsenter --net='/run/netns/$(id)' id"),
        ] {
            facts.namespaces.values_mut().next().unwrap().path = Some(path.into());
            assert_eq!(facts.command(samples::NETNS, "id"), shown);
        }
    }

    #[test]
    fn a_namespace_goes_by_its_name() {
        let mut facts = samples::healthy();
        assert_eq!(facts.names(&[1, 42]), "namespaces 1, 42");
        facts.report.netns_names = [(42, NamedAfter::IpNetns, "blue"), (1, NamedAfter::Host, "")]
            .map(|(netns, after, name)| NetnsName {
                netns,
                after,
                name: name.to_owned(),
            })
            .to_vec();
        assert_eq!(facts.name(42), "blue");
        assert_eq!(facts.names(&[42]), "namespace blue");
        assert_eq!(facts.names(&[1, 42, 3]), "namespaces host, blue, 3");
        facts.state_mut().fin_timeout_s = Some(15);
        let findings = super::super::fin_timeout::check(&facts);
        assert!(
            findings[0].title.contains("15 s in namespace blue"),
            "{findings:?}"
        );
        // Figures keep the number.
        assert_eq!(findings[0].figures["namespaces"][0]["netns"], 42);
    }

    #[test]
    fn namespaces_that_the_filter_hides_are_not_judged() {
        let healthy = samples::healthy();
        let state = &healthy.namespaces.values().next().unwrap().now;
        let samples = || -> NamespaceSamples {
            let states = [
                (1, Ok(state.clone())),
                (2, Ok(state.clone())),
                (3, Err("gone".to_owned())),
            ];
            let samples =
                states.map(|(netns, state)| (netns, NamespaceSample { path: None, state }));
            samples.into()
        };
        let facts = |filter: &Filter| {
            let report = samples::healthy().report;
            DoctorFacts::new(report, (samples(), samples()), filter)
        };
        let all = facts(&Filter::default());
        assert_eq!((all.namespaces.len(), all.unknown.len()), (2, 1));
        let one = facts(&Filter {
            netns: vec![2],
            ..Filter::default()
        });
        assert_eq!(one.namespaces.keys().collect::<Vec<_>>(), [&2]);
        assert!(one.unknown.is_empty());
    }
}
