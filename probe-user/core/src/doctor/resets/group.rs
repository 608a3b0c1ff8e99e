//! What is judged as one: a service with all its processes, or a destination with all its clients.

use std::collections::{BTreeMap, BTreeSet};

use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use crate::event::Process;
use crate::event::words::Word;
use crate::model::destination::Destination;
use crate::model::pairs::{NOBODY, PairCounts, PairRow, name};
use crate::model::resets::{OtherEnd, ResetPattern};
use crate::model::sparse::Nothing;

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
    /// TIME_WAITs of clients in the same namespace that are connections of this service.
    closed_by_local_clients: u64,
    /// Whether RSTs were sent in the namespace that are not known to have arrived here: with NAT the two ends of a
    /// connection have different addresses, so these may be the senders of those received.
    pub has_unmatched_senders: bool,
}

/// The groups with RSTs, or with connections that were closed without an answer, or with a short one.
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
                closed_by_local_clients: 0,
                has_unmatched_senders: false,
            });
        group.rows.push(row);
        group.counts.add(&row.counts);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.retain(|group| group.counts.resets() > 0 || !group.counts.unanswered.is_nothing());
    groups.sort_by_key(|group| std::cmp::Reverse(group.counts.resets()));
    let closed = closed_by_local_clients(facts);
    let unmatched = with_unmatched_senders(facts);
    for group in &mut groups {
        group.has_unmatched_senders = unmatched.contains(&group.netns);
        if let Destination::LocalPort(port) = group.destination {
            let of_port = closed.get(&(group.netns, port));
            group.closed_by_local_clients = of_port.copied().unwrap_or(0);
        }
    }
    groups
}

/// TIME_WAITs of clients whose server is in the same namespace, by namespace and the server's port.
fn closed_by_local_clients(facts: &DoctorFacts) -> BTreeMap<(u32, u16), u64> {
    let mut closed: BTreeMap<(u32, u16), u64> = BTreeMap::new();
    for row in facts.pairs.iter().filter(|row| row.side == Side::Client) {
        if let Destination::Remote(remote) = row.destination
            && remote.ip().to_canonical().is_loopback()
        {
            let count = closed.entry((row.netns, remote.port())).or_default();
            *count = count.saturating_add(row.counts.time_wait);
        }
    }
    closed
}

/// Namespaces in which RSTs were sent that are not known to have arrived here.
fn with_unmatched_senders(facts: &DoctorFacts) -> BTreeSet<u32> {
    let is_unmatched = |row: &&PairRow| {
        let reasons = ResetReason::MEMBERS.iter();
        let mut sent =
            reasons.filter_map(|reason| row.counts.patterns.of(ResetDirection::Sent, *reason));
        sent.any(|pattern| pattern.matched < pattern.count)
    };
    let rows = facts.pairs.iter().filter(is_unmatched);
    rows.map(|row| row.netns).collect()
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

    /// A number of the RSTs that were sent for a reason; 0 if there are none.
    pub fn of_sent(&self, reason: ResetReason, number: impl Fn(&ResetPattern) -> u64) -> u64 {
        self.counts.patterns.of_sent(reason, number)
    }

    /// The clients on this host of the RSTs that were sent for these reasons, as evidence; `None` if none is here.
    pub fn clients_here(&self, reasons: &[ResetReason]) -> Option<String> {
        let sent = ResetDirection::Sent;
        let patterns = reasons
            .iter()
            .filter_map(|reason| self.pattern(sent, *reason));
        named_others(
            "clients on this host",
            patterns.flat_map(|pattern| &pattern.other_ends),
        )
    }

    /// The processes with this figure, the greatest first: programs that run as several processes in one entry.
    pub fn who(&self, number: impl Fn(&PairCounts) -> u64) -> Vec<(String, u64)> {
        let rows = self.rows.iter();
        processes(rows.map(|row| (row.process.as_deref(), number(&row.counts))))
    }

    /// Connections that certainly ended here. Those that the peer closed first were not seen.
    ///
    /// A RST that nobody here received may have met the TIME_WAIT of a client here: then both are of one connection.
    pub fn ended(&self) -> u64 {
        let sent = self.sent_on_connections();
        let received_here = self.counts.patterns.received_here().min(sent);
        let of_either = self.closed_by_local_clients.max(sent - received_here);
        self.otherwise_ended()
            .saturating_add(received_here)
            .saturating_add(of_either)
    }

    /// The same, if none of them met a TIME_WAIT.
    pub fn ended_at_most(&self) -> u64 {
        self.otherwise_ended()
            .saturating_add(self.sent_on_connections())
            .saturating_add(self.closed_by_local_clients)
    }

    /// RSTs sent on connections that this end had not closed before.
    fn sent_on_connections(&self) -> u64 {
        // These are for no connection, or for one that has ended before, often by a RST.
        let of_listeners = self.counts.patterns.of_listeners();
        let deaths = &self.counts.deaths;
        deaths
            .reset_sent
            .total()
            .saturating_sub(self.sent(ResetReason::DataAfterClose))
            .saturating_sub(of_listeners)
    }

    /// Connections that ended by other means than such a RST.
    fn otherwise_ended(&self) -> u64 {
        let deaths = &self.counts.deaths;
        // A connection that was closed here first may be counted as a TIME_WAIT and as late data.
        let closed = self
            .counts
            .time_wait
            .max(self.sent(ResetReason::DataAfterClose));
        closed
            .saturating_add(deaths.reset_received.total())
            .saturating_add(deaths.abort.total())
    }
}

/// Such as `curl(7)`, or `curl (12 processes)`, with their figures, the greatest first.
pub fn processes<'a>(rows: impl Iterator<Item = (Option<&'a Process>, u64)>) -> Vec<(String, u64)> {
    let mut by_comm: BTreeMap<String, (u64, BTreeSet<String>)> = BTreeMap::new();
    for (process, number) in rows.filter(|(_, number)| *number > 0) {
        let comm = process.map_or(NOBODY.to_owned(), |it| it.comm.text().to_string());
        let name = process.map_or(NOBODY.to_owned(), name);
        let (sum, names) = by_comm.entry(comm).or_default();
        *sum += number;
        names.insert(name);
    }
    let mut all: Vec<(String, u64)> = by_comm
        .into_iter()
        .map(
            |(comm, (sum, mut names))| match (names.len(), names.pop_first()) {
                (1, Some(name)) => (name, sum),
                (count, _) => (format!("{comm} ({count} processes)"), sum),
            },
        )
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
