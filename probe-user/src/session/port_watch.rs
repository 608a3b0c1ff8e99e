//! Who has the port that a call wanted and did not get. A failed bind() of a fixed port, or a connect() from one, is
//! followed by a list of the sockets that have the port; the processes that created TIME_WAITs are kept from events.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use twtrace_core::event::{Event, EventFacts, Process};
use twtrace_core::model::fixed_ports;
use twtrace_core::model::port_holders::{
    HolderKind, MAX_HOLDERS, MAX_PROCESSES, NoPortHolder, PortHolder, PortHolders,
};
use twtrace_core::model::socket::SocketRow;
use twtrace_wire::{EventKind, Side, TcpState};

use super::Session;
use super::socket_scan::process_of;
use crate::scan::namespace_helper::NamespaceHelper;
use crate::scan::owners::Owners;
use crate::scan::snapshot;
use crate::scan::sock_diag::Query;

/// Maximum number of TIME_WAITs that are remembered with their processes.
const MAX_CREATED: usize = 65_536;
/// Maximum number of TIME_WAITs of one port that are remembered: the latest.
const MAX_OF_PORT: usize = 16;
/// A creation that is older than this is not taken for that of a TIME_WAIT of the same tuple, nanoseconds: twice
/// TCP_TIMEWAIT_LEN, since the peer's FIN and segments restart the timer.
const MAX_LIFETIME_NS: u64 = 121_000_000_000;
/// Maximum number of ports that wait to be listed, and of those listed at once.
const MAX_PENDING: usize = 64;
const AT_ONCE: usize = 16;
/// A port is not listed again before this time.
const AGAIN: Duration = Duration::from_secs(10);
/// Maximum number of ports whose last listing is remembered.
const MAX_LISTED: usize = 4_096;
/// Shortest time between two listings of any ports, and the part of the time that they may take.
const PAUSE: Duration = Duration::from_secs(1);
const SHARE: u32 = 50;

/// A network namespace and a local port.
type PortKey = (u32, u16);

/// Ports that were wanted, and what is known of their TIME_WAITs.
#[derive(Debug, Default)]
pub struct PortWatch {
    created: HashMap<PortKey, Vec<Created>>,
    /// Number of TIME_WAITs in `created`.
    kept: usize,
    /// The process that closed last: in most cases also the next one.
    last: Option<Arc<Process>>,
    pending: Vec<PortKey>,
    listed: HashMap<PortKey, Instant>,
    /// When any ports may be listed again.
    rests_until: Option<Instant>,
}

/// A TIME_WAIT that was created.
#[derive(Debug)]
struct Created {
    local: IpAddr,
    remote: SocketAddr,
    side: Side,
    mono_ns: u64,
    process: Option<Arc<Process>>,
}

impl PortWatch {
    /// Learns from an event.
    pub fn note(&mut self, event: &Event) {
        if let EventFacts::TimeWait(_) = &event.facts
            && event.event == EventKind::TimeWait
        {
            self.note_created(event);
        } else if let (Some((_, port, _)), Some(netns)) = (fixed_ports::taken(event), event.netns) {
            self.note_taken((netns, port));
        }
    }

    fn note_created(&mut self, event: &Event) {
        let (Some(netns), Some(local), Some(remote)) = (event.netns, event.local, event.remote)
        else {
            return;
        };
        if self.kept >= MAX_CREATED {
            self.make_room(event.mono_ns);
        }
        let process = event.process.as_ref().map(|process| self.shared(process));
        let of_port = self.created.entry((netns, local.port())).or_default();
        let before = of_port.len();
        of_port.retain(|it| it.local != local.ip() || it.remote != remote);
        if of_port.len() >= MAX_OF_PORT {
            of_port.remove(0);
        }
        of_port.reserve_exact(1);
        of_port.push(Created {
            local: local.ip(),
            remote,
            side: event.side,
            mono_ns: event.mono_ns,
            process,
        });
        self.kept = self.kept + of_port.len() - before;
    }

    fn shared(&mut self, process: &Process) -> Arc<Process> {
        match &self.last {
            Some(last) if last.is_as(process) => Arc::clone(last),
            _ => {
                let process = Arc::new(process.clone());
                self.last = Some(Arc::clone(&process));
                process
            }
        }
    }

    /// Forgets what has ended; then those of clients, which may use any port and are many; then everything.
    fn make_room(&mut self, now_ns: u64) {
        self.keep(|it| now_ns.saturating_sub(it.mono_ns) < MAX_LIFETIME_NS);
        if self.kept > MAX_CREATED / 2 {
            self.keep(|it| it.side != Side::Client);
        }
        if self.kept > MAX_CREATED / 2 {
            self.keep(|_| false);
        }
    }

    fn keep(&mut self, is_kept: impl Fn(&Created) -> bool) {
        self.created.retain(|_, of_port| {
            of_port.retain(&is_kept);
            !of_port.is_empty()
        });
        self.kept = self.created.values().map(Vec::len).sum();
    }

    fn note_taken(&mut self, key: PortKey) {
        let is_recent = |at: &Instant| at.elapsed() < AGAIN;
        if self.pending.len() < MAX_PENDING
            && !self.pending.contains(&key)
            && !self.listed.get(&key).is_some_and(is_recent)
        {
            self.pending.push(key);
        }
    }

    /// Lists the sockets of the ports that were wanted, if there are any and it is not too early. `has_ended`: this is the
    /// last time.
    pub fn list(
        &mut self,
        helper: Option<&NamespaceHelper>,
        session: &mut Session,
        has_ended: bool,
    ) -> Vec<PortHolders> {
        let began = Instant::now();
        let rests = self.rests_until.is_some_and(|until| began < until);
        if self.pending.is_empty() || (rests && !has_ended) {
            return Vec::new();
        }
        let wanted: Vec<PortKey> = self
            .pending
            .drain(..self.pending.len().min(AT_ONCE))
            .collect();
        let listed = self.list_now(helper, session, &wanted);
        if self.listed.len() >= MAX_LISTED {
            self.listed.retain(|_, at| at.elapsed() < AGAIN);
        }
        if self.listed.len() >= MAX_LISTED {
            self.listed.clear();
        }
        let now = Instant::now();
        self.listed.extend(wanted.into_iter().map(|key| (key, now)));
        self.rests_until = Some(now + PAUSE.max(began.elapsed() * SHARE));
        listed
    }

    fn list_now(
        &self,
        helper: Option<&NamespaceHelper>,
        session: &mut Session,
        wanted: &[PortKey],
    ) -> Vec<PortHolders> {
        let mut rows: HashMap<PortKey, PortRows> = HashMap::new();
        let mut namespaces: Vec<u32> = wanted.iter().map(|(netns, _)| *netns).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        let unscanned = snapshot::visit(helper, &namespaces, |netns, _, socket| {
            for key in wanted.iter().filter(|key| key.0 == netns) {
                let query = Query::all().of_port(key.1);
                rows.insert(*key, socket.dump_into(query, || PortRows::new(key.1))?);
            }
            Ok(())
        });
        rows.values_mut().for_each(PortRows::shorten);
        let all = rows.values().flat_map(|found| &found.rows);
        let inodes = all
            .map(|row| row.inode)
            .filter(|inode| *inode != 0)
            .collect();
        let owners = Owners::find(&inodes);
        let mut listed = Vec::new();
        for key in wanted {
            let why = unscanned.iter().find(|(netns, _)| *netns == key.0);
            let holders = match rows.remove(key) {
                Some(rows) => self.holders(*key, rows, &owners, session),
                None => PortHolders {
                    netns: key.0,
                    port: key.1,
                    sockets: Vec::new(),
                    further: 0,
                    why: Some(why.map_or_else(
                        || "no process or mount leads to its network namespace".to_owned(),
                        |(_, why)| why.clone(),
                    )),
                },
            };
            listed.push(holders);
        }
        // It reads all of the kernel's table.
        if listed.iter().any(PortHolders::may_be_of_connect)
            && let Some(of_bind) = session.attached().ports_of_bind()
        {
            let is_of_bind = |it: &PortHolders| {
                let ports = of_bind.get(&it.netns);
                ports.is_some_and(|ports| ports.contains(it.port))
            };
            let of_connect = listed.iter_mut().filter(|it| !is_of_bind(it));
            of_connect.for_each(PortHolders::are_of_connect);
        }
        listed
    }

    fn holders(
        &self,
        key: PortKey,
        found: PortRows,
        owners: &Owners,
        session: &mut Session,
    ) -> PortHolders {
        let sockets = found
            .rows
            .iter()
            .map(|row| self.holder(key.0, row, owners, session));
        PortHolders {
            netns: key.0,
            port: key.1,
            sockets: sockets.collect(),
            further: found.further,
            why: None,
        }
    }

    fn holder(
        &self,
        netns: u32,
        row: &SocketRow,
        owners: &Owners,
        session: &mut Session,
    ) -> PortHolder {
        let kind = kind(row);
        let mut holder = PortHolder {
            kind,
            state: row.state,
            local: row.local,
            remote: row.remote,
            v6only: row.v6only == Some(true),
            left_ns: None,
            side: Side::Unknown,
            processes: Vec::new(),
            further_processes: 0,
            unattributed: None,
        };
        if kind == HolderKind::TimeWait {
            holder.left_ns = row
                .expires
                .map(|left| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX));
            let now_ns = session.now().ok().map(|now| now.mono_ns);
            let created = self.created(netns, row, now_ns);
            holder.side = created.map_or(Side::Unknown, |it| it.side);
            let process = created.and_then(|it| it.process.as_deref());
            holder.processes.extend(process.cloned());
            for process in &mut holder.processes {
                session.complete(process);
            }
            holder.unattributed = holder.processes.is_empty().then_some(match created {
                Some(_) => NoPortHolder::Unknown,
                None => NoPortHolder::NotSeen,
            });
            return holder;
        }
        let owners = owners.of(row.inode);
        // The eldest first: the others have inherited it.
        let mut eldest: Vec<_> = owners.iter().collect();
        eldest.sort_by_key(|it| (it.start_ticks, it.pid));
        holder.further_processes = owners.len().saturating_sub(MAX_PROCESSES) as u64;
        for owner in eldest.into_iter().take(MAX_PROCESSES) {
            if let Some(mut process) = process_of(owner, session) {
                session.complete(&mut process);
                holder.processes.push(process);
            }
        }
        holder.unattributed = holder.processes.is_empty().then_some(match row.inode {
            0 => NoPortHolder::NoDescriptor,
            _ => NoPortHolder::Unknown,
        });
        holder
    }

    /// The creation of a TIME_WAIT: the latest of its tuple.
    fn created(&self, netns: u32, row: &SocketRow, now_ns: Option<u64>) -> Option<&Created> {
        let now_ns = now_ns?;
        let of_port = self.created.get(&(netns, row.local.port()))?;
        let mut latest = of_port.iter().rev();
        latest.find(|it| {
            let is_recent = now_ns.saturating_sub(it.mono_ns) < MAX_LIFETIME_NS;
            is_recent && it.local == row.local.ip() && it.remote == row.remote
        })
    }
}

/// The sockets of a dump with one port: a busy server's may be many.
struct PortRows {
    port: u16,
    rows: Vec<SocketRow>,
    /// Those that were left out.
    further: u64,
}

impl PortRows {
    const fn new(port: u16) -> Self {
        Self {
            port,
            rows: Vec::new(),
            further: 0,
        }
    }

    /// Leaves out all but the most important, each once.
    fn shorten(&mut self) {
        let order = |row: &SocketRow| (kind(row), std::cmp::Reverse(row.expires), row.cookie);
        self.rows.sort_by_key(order);
        self.rows
            .dedup_by(|one, other| one.cookie != 0 && one.cookie == other.cookie);
        self.further += self.rows.len().saturating_sub(MAX_HOLDERS) as u64;
        self.rows.truncate(MAX_HOLDERS);
    }
}

impl Extend<SocketRow> for PortRows {
    fn extend<I: IntoIterator<Item = SocketRow>>(&mut self, rows: I) {
        let port = self.port;
        for row in rows.into_iter().filter(|row| row.local.port() == port) {
            self.rows.push(row);
            if self.rows.len() >= 16 * MAX_HOLDERS {
                self.shorten();
            }
        }
    }
}

fn kind(row: &SocketRow) -> HolderKind {
    match row.state {
        _ if row.is_mini() => HolderKind::TimeWait,
        TcpState::Listen => HolderKind::Listener,
        TcpState::Close => HolderKind::Bound,
        _ => HolderKind::Connection,
    }
}

#[cfg(test)]
#[path = "port_watch_tests.rs"]
mod tests;
