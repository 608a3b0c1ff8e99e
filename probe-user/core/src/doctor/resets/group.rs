//! What is judged as one: a service with all its processes, or a destination with all its clients.

use std::collections::BTreeMap;

use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use crate::event::Process;
use crate::model::destination::Destination;
use crate::model::pairs::{NOBODY, PairCounts, PairRow, name};
use crate::model::resets::{OtherEnd, ResetPattern};

/// The rows of one service or of one destination.
pub struct Group<'a> {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Which end this host's sockets were.
    pub side: Side,
    /// The port of the service, or the remote end.
    pub destination: Destination,
    /// A row for each process.
    pub rows: Vec<&'a PairRow>,
    /// Their sum.
    pub counts: PairCounts,
}

/// The groups with RSTs.
pub fn groups(facts: &DoctorFacts) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<(u32, u32, Destination), Group<'_>> = BTreeMap::new();
    let known = |row: &&PairRow| row.destination != Destination::Others;
    for row in facts.pairs.iter().filter(known) {
        let group = groups
            .entry((row.netns, row.side as u32, row.destination))
            .or_insert_with(|| Group {
                netns: row.netns,
                side: row.side,
                destination: row.destination,
                rows: Vec::new(),
                counts: PairCounts::default(),
            });
        group.rows.push(row);
        group.counts.add(&row.counts);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.retain(|group| group.counts.resets() > 0);
    groups.sort_by_key(|group| std::cmp::Reverse(group.counts.resets()));
    groups
}

impl Group<'_> {
    /// RSTs sent for a reason.
    pub fn sent(&self, reason: ResetReason) -> u64 {
        self.counts.deaths.reset_sent.of(reason)
    }

    /// RSTs received for a reason.
    pub fn received(&self, reason: ResetReason) -> u64 {
        self.counts.deaths.reset_received.of(reason)
    }

    /// What RSTs have in common; `None` in a history.
    pub fn pattern(&self, direction: ResetDirection, reason: ResetReason) -> Option<&ResetPattern> {
        self.counts.patterns.of(direction, reason)
    }

    /// The processes with this figure, the greatest first: programs that run as several processes in one entry.
    pub fn who(&self, number: impl Fn(&PairCounts) -> u64) -> Vec<(String, u64)> {
        let rows = self.rows.iter();
        processes(rows.map(|row| (row.process.as_deref(), number(&row.counts))))
    }

    /// Connections that ended here, as far as they were seen. Those that the peer closed first were not.
    pub fn ended(&self, facts: &DoctorFacts) -> u64 {
        let deaths = &self.counts.deaths;
        let late = self.sent(ResetReason::DataAfterClose);
        // A connection that was closed here first may be counted as a TIME_WAIT and as late data.
        let closed = self.counts.time_wait.max(late) + self.closed_by_local_clients(facts);
        closed + deaths.reset_sent.total() - late
            + deaths.reset_received.total()
            + deaths.abort.total()
    }

    /// TIME_WAITs of clients in the same namespace that are connections of this service.
    fn closed_by_local_clients(&self, facts: &DoctorFacts) -> u64 {
        let Destination::LocalPort(port) = self.destination else {
            return 0;
        };
        let is_to_here = |row: &&PairRow| {
            row.netns == self.netns
                && row.side == Side::Client
                && matches!(row.destination, Destination::Remote(remote)
                    if remote.port() == port && remote.ip().to_canonical().is_loopback())
        };
        let rows = facts.pairs.iter().filter(is_to_here);
        rows.map(|row| row.counts.time_wait).sum()
    }
}

/// Such as `curl(7)`, or `curl (12 processes)`, with their figures, the greatest first.
fn processes<'a>(rows: impl Iterator<Item = (Option<&'a Process>, u64)>) -> Vec<(String, u64)> {
    let mut by_comm: BTreeMap<String, (u64, Vec<String>)> = BTreeMap::new();
    for (process, number) in rows.filter(|(_, number)| *number > 0) {
        let comm = process.map_or(NOBODY.to_owned(), |it| it.comm.text().to_string());
        let name = process.map_or(NOBODY.to_owned(), name);
        let (sum, names) = by_comm.entry(comm).or_default();
        *sum += number;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut all: Vec<(String, u64)> = by_comm
        .into_iter()
        .map(|(comm, (sum, mut names))| match names.len() {
            1 => (names.remove(0), sum),
            count => (format!("{comm} ({count} processes)"), sum),
        })
        .collect();
    all.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
    all
}

/// The processes at the other end of RSTs, as far as they are on this host.
pub fn others<'a>(ends: impl IntoIterator<Item = &'a OtherEnd>) -> Vec<(String, u64)> {
    processes(
        ends.into_iter()
            .filter(|end| end.process.is_some())
            .map(|end| (end.process.as_deref(), end.count)),
    )
}

/// Such as `nginx(7)`, or `nginx(7) and 2 more`.
pub fn title(who: &[(String, u64)]) -> String {
    match who {
        [] => NOBODY.to_owned(),
        [(only, _)] => only.clone(),
        [(first, _), rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

/// Such as `its clients here: curl(7): 4`; `None` if none is here.
pub fn named_others<'a>(
    what: &str,
    ends: impl IntoIterator<Item = &'a OtherEnd>,
) -> Option<String> {
    let others = others(ends);
    (!others.is_empty()).then(|| format!("{what}: {}", advice::list(&others)))
}
