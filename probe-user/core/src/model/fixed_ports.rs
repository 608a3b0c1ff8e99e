//! Calls for one fixed port that failed since the port was taken, and who had it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use twtrace_wire::PortOp;

use super::callers::{Callers, Who};
use super::fixed_port_row::{FixedPortCalls, FixedPortHolder, FixedPortRow};
use super::port_holders::{HolderKind, PortHolder, PortHolders, overlap};
use crate::event::errno::Errno;
use crate::event::{Event, EventFacts, Moment, PortResult, Process};

/// Maximum number of rows; calls beyond are only counted.
const MAX_ROWS: usize = 1_024;
/// A listing shows what was in the way of calls at most this long before or after it, nanoseconds: the sockets of a port
/// are not listed again sooner.
const NEAR_NS: u64 = 10_000_000_000;
/// Maximum number of ports whose latest listing is kept for calls that follow.
const MAX_HELD: usize = 1_024;
/// Maximum number of different addresses of one row; later ones are not compared with the sockets of the port.
const MAX_ADDRESSES: usize = 16;
/// Processes whose start times differ by less are the same if they have the same id: /proc counts in ticks, events in
/// nanoseconds.
const SAME_START_NS: u64 = 50_000_000;

/// Calls that failed since their port was taken, by network namespace, port and command.
#[derive(Debug, Default)]
pub struct FixedPorts {
    wanted: BTreeMap<Key, Wanted>,
    /// Calls without a row.
    left_out: u64,
    /// The latest listing of each port, by namespace and how many earlier ones had its number.
    listed: BTreeMap<(u32, u32, u16), Arc<Held>>,
    /// How many earlier namespaces had each number, as far as calls showed.
    latest: BTreeMap<u32, u32>,
}

/// The namespace, how many earlier ones had its number, the port, and the name of the process or why there is none.
type Key = (u32, u32, u16, Who);

#[derive(Debug, Default)]
struct Wanted {
    callers: Callers,
    calls: BTreeMap<(PortOp, Errno), u64>,
    addresses: Vec<WantedAddress>,
    /// The sockets of the port when these calls failed.
    held: Option<Arc<Held>>,
    first: Moment,
    last: Moment,
}

/// What a call wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WantedAddress {
    /// The local address; `None` if it is not known.
    local: Option<IpAddr>,
    /// The destination of a connect().
    remote: Option<SocketAddr>,
}

#[derive(Debug)]
struct Held {
    at: Moment,
    holders: PortHolders,
}

/// The operation and the error of a call that failed since its port was taken.
pub fn taken(event: &Event) -> Option<(PortOp, u16, Errno)> {
    const IN_USE: Errno = Errno(libc::EADDRINUSE as u16);
    const NOT_AVAILABLE: Errno = Errno(libc::EADDRNOTAVAIL as u16);
    let EventFacts::PortAlloc(facts) = &event.facts else {
        return None;
    };
    let PortResult::Failed(errno) = facts.result else {
        return None;
    };
    match (facts.op, errno) {
        _ if facts.requested == 0 => None,
        (PortOp::Bind | PortOp::Listen, IN_USE) | (PortOp::Connect, NOT_AVAILABLE) => {
            Some((facts.op, facts.requested, errno))
        }
        _ => None,
    }
}

impl FixedPorts {
    /// Counts an event, if it is such a call.
    pub fn apply(&mut self, event: &Event) {
        let (Some((op, port, errno)), Some(netns)) = (taken(event), event.netns) else {
            return;
        };
        let key = (netns, event.netns_nth, port, Who::of(event));
        if self.wanted.len() >= MAX_ROWS && !self.wanted.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        let at = Moment {
            ts: event.ts,
            mono_ns: event.mono_ns,
        };
        let latest = self.latest.entry(netns).or_default();
        *latest = (*latest).max(event.netns_nth);
        let wanted = self.wanted.entry(key).or_default();
        if wanted.calls.is_empty() {
            wanted.first = at;
        }
        wanted.last = at;
        if let Some(held) = self.listed.get(&(netns, event.netns_nth, port)) {
            wanted.take(held);
        }
        *wanted.calls.entry((op, errno)).or_default() += 1;
        wanted.callers.note(event);
        let address = WantedAddress {
            local: event.local.map(|local| local.ip()),
            remote: event.remote.filter(|_| op == PortOp::Connect),
        };
        if !wanted.addresses.contains(&address) && wanted.addresses.len() < MAX_ADDRESSES {
            wanted.addresses.push(address);
        }
    }

    /// Takes the sockets of a port, for the calls that failed shortly before.
    pub fn take_holders(&mut self, at: Moment, holders: PortHolders) {
        let (netns, port) = (holders.netns, holders.port);
        let netns_nth = self.latest.get(&netns).copied().unwrap_or(0);
        let key = (netns, netns_nth, port);
        let held = Arc::new(Held { at, holders });
        let of_port = self
            .wanted
            .range_mut((netns, netns_nth, port, Who::FIRST)..)
            .take_while(|((of, nth, wanted, _), _)| (*of, *nth, *wanted) == key);
        for (_, wanted) in of_port {
            wanted.take(&held);
        }
        // One without sockets does not hide the one before it.
        let is_kept = |known: &Arc<Held>| known.is_kept_before(&held);
        if self.listed.get(&key).is_some_and(is_kept) {
            return;
        }
        if self.listed.len() >= MAX_HELD && !self.listed.contains_key(&key) {
            let times = self
                .listed
                .iter()
                .map(|(key, held)| (held.at.mono_ns, *key));
            if let Some((_, oldest)) = times.min() {
                self.listed.remove(&oldest);
            }
        }
        self.listed.insert(key, held);
    }

    /// Begins another interval: calls count from 0. The latest listings are kept, for calls that soon follow.
    pub fn into_next(self) -> Self {
        Self {
            listed: self.listed,
            latest: self.latest,
            ..Self::default()
        }
    }

    /// Calls without a row.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The rows, by namespace and port.
    pub fn rows(&self) -> Vec<FixedPortRow> {
        let rows = self.wanted.iter();
        rows.map(|(key, wanted)| Self::row(*key, wanted)).collect()
    }

    fn row((netns, netns_nth, port, who): Key, wanted: &Wanted) -> FixedPortRow {
        let held = wanted.held.as_deref();
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in wanted.addresses.iter().filter_map(|it| it.local) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let calls = wanted.calls.iter();
        FixedPortRow {
            netns,
            netns_nth,
            port,
            process: wanted.callers.latest.clone(),
            unattributed: who.unattributed(),
            processes: wanted.callers.count,
            calls: calls
                .map(|((op, errno), count)| FixedPortCalls {
                    op: *op,
                    errno: *errno,
                    count: *count,
                })
                .collect(),
            addresses,
            lasted_ns: wanted.last.mono_ns.saturating_sub(wanted.first.mono_ns),
            checked_ns: held.map(|held| {
                let (at, first) = (held.at.mono_ns, wanted.first.mono_ns);
                at.cast_signed().saturating_sub(first.cast_signed())
            }),
            why: held.and_then(|held| held.holders.why.clone()),
            holders: held.map_or_else(Vec::new, |held| wanted.in_the_way(held)),
            failed_after_check: held.is_some_and(|held| wanted.last.mono_ns > held.at.mono_ns),
        }
    }
}

impl Held {
    fn is_near(&self, mono_ns: u64) -> bool {
        self.at.mono_ns.abs_diff(mono_ns) <= NEAR_NS
    }

    /// Whether a later listing does not replace this one: it found nothing, shortly after.
    fn is_kept_before(&self, later: &Self) -> bool {
        later.holders.sockets.is_empty() && self.is_near(later.at.mono_ns)
    }
}

impl Wanted {
    /// Takes a listing of its port, if it is about its latest call.
    fn take(&mut self, held: &Arc<Held>) {
        let last_ns = self.last.mono_ns;
        let is_for_it = match &self.held {
            None => true,
            Some(known) => {
                held.at.mono_ns > known.at.mono_ns
                    && last_ns > known.at.mono_ns
                    && !known.is_kept_before(held)
            }
        };
        if is_for_it && held.is_near(last_ns) {
            self.held = Some(Arc::clone(held));
        }
    }

    /// The sockets that were in the way, by kind and process.
    fn in_the_way(&self, held: &Held) -> Vec<FixedPortHolder> {
        let mut rows: Vec<FixedPortHolder> = Vec::new();
        for holder in &held.holders.sockets {
            if !self.is_hindered_by(holder) {
                continue;
            }
            let process = holder.processes.first();
            let same = rows.iter_mut().find(|row| {
                let is_same = match (&row.process, process) {
                    (Some(one), Some(other)) => one.is(other),
                    (one, other) => one.is_none() && other.is_none(),
                };
                is_same
                    && (row.kind, row.side, row.unattributed)
                        == (holder.kind, holder.side, holder.unattributed)
            });
            let is_self_connected =
                holder.kind == HolderKind::Connection && holder.local == holder.remote;
            match same {
                Some(row) => {
                    row.count += 1;
                    row.left_ns = row.left_ns.max(holder.left_ns);
                    row.is_self_connected |= is_self_connected;
                }
                None => rows.push(FixedPortHolder {
                    kind: holder.kind,
                    process: process.cloned(),
                    shared_by: (holder.processes.len() as u64).saturating_sub(1)
                        + holder.further_processes,
                    unattributed: holder.unattributed.filter(|_| process.is_none()),
                    side: holder.side,
                    count: 1,
                    local: holder.local,
                    remote: (holder.remote.port() != 0).then_some(holder.remote),
                    left_ns: holder.left_ns,
                    is_self_connected,
                    is_own: holder
                        .processes
                        .iter()
                        .any(|it| self.is_of(it) || self.is_restarted_as(it)),
                }),
            }
        }
        rows
    }

    fn is_of(&self, holder: &Process) -> bool {
        self.callers.latest.as_ref().is_some_and(|process| {
            let (one, other) = (process.key, holder.key);
            one.tgid == other.tgid
                && one.start_boot_ns.abs_diff(other.start_boot_ns) < SAME_START_NS
        })
    }

    /// Whether a process of the same command started after the latest call had failed: it was not in the way, and has
    /// what that call wanted.
    fn is_restarted_as(&self, holder: &Process) -> bool {
        let details = holder.details.as_deref();
        let started = details.and_then(|details| details.start_time);
        // The wall clock may have been set since one of both: the start of the process that failed has the same clock.
        let is_later = self.callers.latest.as_ref().is_some_and(|process| {
            let (failed_ns, started_ns) = (process.key.start_boot_ns, holder.key.start_boot_ns);
            process.comm == holder.comm && started_ns > failed_ns.saturating_add(SAME_START_NS)
        });
        is_later && started.is_some_and(|started| started > self.last.ts)
    }

    /// bind() and listen() compete with the sockets of the same address; connect() with those of the same address and
    /// destination.
    fn is_hindered_by(&self, holder: &PortHolder) -> bool {
        self.addresses.iter().any(|wanted| {
            let is_of_address = wanted
                .local
                .is_none_or(|local| overlap(holder.local.ip(), holder.v6only, local));
            let is_of_destination = wanted.remote.is_none_or(|remote| remote == holder.remote);
            is_of_address && is_of_destination
        })
    }
}

#[cfg(test)]
#[path = "fixed_ports_tests.rs"]
mod tests;
