//! Rows put together by what their processes have in common: their name, systemd unit, container or pod.

use std::collections::{HashMap, HashSet};

use twtrace_wire::{ProcessKey, Side, Unattributed};

use super::counts::Counts;
use super::destination::Destination;
use super::pairs::{PairCounts, PairRow};
use super::process_row::ProcessRow;
use super::reuse::Reuse;
use crate::event::answerable::Answerable;

/// The property that processes of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// Name of the command.
    Name,
    /// Innermost systemd service or scope.
    Unit,
    /// Innermost container.
    Container,
    /// Kubernetes pod.
    Pod,
}

/// The value of that property.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupLabel {
    /// Untrusted text: escape it before printing.
    Is(String),
    /// These processes have none: no name is known, or they run in no unit, container or pod.
    Without,
    /// There is no process, for this reason.
    Nobody(Unattributed),
}

impl GroupBy {
    /// The group that a process, or the lack of one, belongs to.
    pub fn label(self, answerable: Answerable<'_>) -> GroupLabel {
        let process = match answerable {
            Answerable::Process(process) => process,
            Answerable::Nobody(reason) => return GroupLabel::Nobody(reason),
            Answerable::Unknown => return GroupLabel::Nobody(Unattributed::Unknown),
        };
        let place = process.place();
        let value = match self {
            Self::Name => (!process.comm.is_empty()).then(|| process.comm.text().into_owned()),
            Self::Unit => place.and_then(|place| place.unit.clone()),
            Self::Container => place.and_then(|place| place.container_id.clone()),
            Self::Pod => place.and_then(|place| place.pod_uid.clone()),
        };
        value.map_or(GroupLabel::Without, GroupLabel::Is)
    }
}

/// Sums over the processes of one group.
#[derive(Clone, Debug)]
pub struct ProcessGroup {
    /// What they have in common.
    pub label: GroupLabel,
    /// Number of different processes with any of the figures below; 0 without any.
    pub processes: usize,
    /// TIME_WAITs, resets and aborts.
    pub counts: Counts,
    /// TIME_WAITs that its connects reused or could not reuse.
    pub reuse: Reuse,
    /// Ephemeral port allocations that failed.
    pub port_failures: u64,
}

/// The rows by group: those with the most TIME_WAITs first, then those with the most RSTs.
pub fn processes(rows: &[ProcessRow], by: GroupBy) -> Vec<ProcessGroup> {
    let mut groups: HashMap<GroupLabel, ProcessGroup> = HashMap::new();
    for row in rows {
        let label = by.label(row.answerable());
        let group = groups.entry(label.clone()).or_insert_with(|| ProcessGroup {
            label,
            processes: 0,
            counts: Counts::default(),
            reuse: Reuse::default(),
            port_failures: 0,
        });
        let has_figures = row.counts.has_shown() || row.port_failures() > 0;
        group.processes += usize::from(row.process.is_some() && has_figures);
        group.counts.add_all(&row.counts);
        group.reuse.add_all(&row.reuse);
        group.port_failures += row.port_failures();
    }
    let mut groups: Vec<ProcessGroup> = groups.into_values().collect();
    groups.sort_by_cached_key(|group| {
        let figures = (
            group.counts.time_wait.total() + group.counts.overflow.total(),
            group.counts.resets(),
            group.counts.abort.total(),
            group.port_failures,
        );
        (std::cmp::Reverse(figures), group.label.clone())
    });
    groups
}

/// Sums over the processes of one group with one destination.
#[derive(Clone, Debug)]
pub struct PairGroup {
    /// What the processes have in common.
    pub label: GroupLabel,
    /// Number of different processes; 0 without any.
    pub processes: usize,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// How many earlier namespaces had this number since tracing began.
    pub netns_nth: u32,
    /// Which end this host's sockets were.
    pub side: Side,
    /// The destination.
    pub destination: Destination,
    /// The figures.
    pub counts: PairCounts,
}

/// The rows by group and destination: those with the most TIME_WAITs first, then those with the most RSTs.
pub fn pairs(rows: &[PairRow], by: GroupBy) -> Vec<PairGroup> {
    type Key = (GroupLabel, u32, u32, Side, Destination);
    let mut groups: HashMap<Key, (PairGroup, HashSet<ProcessKey>)> = HashMap::new();
    for row in rows {
        let label = by.label(row.answerable());
        let key = (
            label.clone(),
            row.netns,
            row.netns_nth,
            row.side,
            row.destination,
        );
        let (group, members) = groups.entry(key).or_insert_with(|| {
            let group = PairGroup {
                label,
                processes: 0,
                netns: row.netns,
                netns_nth: row.netns_nth,
                side: row.side,
                destination: row.destination,
                counts: PairCounts::default(),
            };
            (group, HashSet::new())
        });
        group.counts.add(&row.counts);
        members.extend(row.process.as_ref().map(|process| process.key));
    }
    let mut groups: Vec<PairGroup> = groups
        .into_values()
        .map(|(group, members)| PairGroup {
            processes: members.len(),
            ..group
        })
        .collect();
    groups.sort_by_cached_key(|group| {
        let figures = (group.counts.time_wait, group.counts.resets());
        let place = (
            group.netns,
            group.netns_nth,
            group.side as u32,
            group.destination,
        );
        (std::cmp::Reverse(figures), place, group.label.clone())
    });
    groups
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::place::Place;
    use crate::event::process::ProcessDetails;
    use crate::event::samples;
    use crate::model::pairs::Pairs;

    fn in_unit(pid: u32, comm: &str, unit: Option<&str>) -> crate::event::Process {
        let mut process = samples::process(pid, comm);
        process.details = Some(Arc::new(ProcessDetails {
            cgroup: Some(Place {
                unit: unit.map(str::to_owned),
                ..Place::default()
            }),
            ..ProcessDetails::default()
        }));
        process
    }

    #[test]
    fn processes_of_one_name_or_unit_are_one_row() {
        let mut event = samples::time_wait();
        let mut rows: Vec<ProcessRow> = [
            in_unit(1, "curl", Some("job.service")),
            in_unit(2, "curl", Some("job.service")),
            in_unit(3, "wget", Some("job.service")),
            in_unit(4, "wget", None),
        ]
        .into_iter()
        .map(|process| {
            let key = process.key;
            event.process = Some(process.clone());
            let mut row = ProcessRow::new(Some(process), key);
            row.counts.add(&event);
            row
        })
        .collect();
        rows[0].counts.add(&event);
        let mut nobody = rows[0].clone();
        nobody.process = None;
        nobody.unattributed = Some(Unattributed::NoSocket);
        rows.push(nobody);
        let shown = |by| -> Vec<(GroupLabel, usize, u64)> {
            processes(&rows, by)
                .into_iter()
                .map(|it| (it.label, it.processes, it.counts.time_wait.total()))
                .collect()
        };
        let is = |text: &str| GroupLabel::Is(text.to_owned());
        let nobody = GroupLabel::Nobody(Unattributed::NoSocket);
        assert_eq!(
            shown(GroupBy::Name),
            [
                (is("curl"), 2, 3),
                (is("wget"), 2, 2),
                (nobody.clone(), 0, 2)
            ]
        );
        assert_eq!(
            shown(GroupBy::Unit),
            [
                (is("job.service"), 3, 4),
                (nobody, 0, 2),
                (GroupLabel::Without, 1, 1),
            ]
        );
    }

    #[test]
    fn pairs_keep_destinations_apart() {
        let mut all = Pairs::default();
        let mut event = samples::time_wait();
        for pid in 1..=3 {
            event.process = Some(samples::process(pid, "curl"));
            all.apply(&event);
        }
        event.side = Side::Server;
        all.apply(&event);
        let groups = pairs(&all.rows(), GroupBy::Name);
        let shown: Vec<_> = groups
            .iter()
            .map(|it| (it.side, it.processes, it.counts.time_wait))
            .collect();
        assert_eq!(shown, [(Side::Client, 3, 3), (Side::Server, 1, 1)]);
    }
}
