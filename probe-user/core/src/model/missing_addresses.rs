//! Calls that failed since this host lacks an address, by network namespace, call, address and command.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use twtrace_wire::{PortOp, Unattributed};

use super::callers::{Callers, Who};
use crate::event::{Event, EventFacts, Process, words};

/// Maximum number of rows; calls beyond are only counted.
const MAX_ROWS: usize = 1_024;

/// Such calls.
#[derive(Debug, Default)]
pub struct MissingAddresses {
    rows: BTreeMap<Key, Seen>,
    /// Calls without a row.
    left_out: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    netns: u32,
    netns_nth: u32,
    op: PortOp,
    address: IpAddr,
    /// Only calls for any port of an address may be a test of the host by a runtime.
    is_any_port: bool,
    who: Who,
}

#[derive(Debug)]
struct Seen {
    callers: Callers,
    count: u64,
    latest: SocketAddr,
    first_ns: u64,
    last_ns: u64,
}

/// The calls of one command for one address: a row of the report.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct MissingAddressRow {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// How many earlier namespaces had this number since tracing began.
    #[serde(skip_serializing_if = "crate::event::is_first")]
    pub netns_nth: u32,
    /// The process, at its latest call.
    pub process: Option<Process>,
    /// Why none is known.
    #[serde(serialize_with = "words::serialize_option")]
    #[schemars(with = "Option<crate::event::schema::WordOf<Unattributed>>")]
    pub unattributed: Option<Unattributed>,
    /// Number of processes of its name; those that come again after another one count again.
    pub processes: u64,
    /// The system call.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<PortOp>")]
    pub op: PortOp,
    /// What the latest call named: for bind() the local address that the host lacks, for connect() the destination to
    /// which no local address suits.
    pub address: SocketAddr,
    /// Number of calls, whatever port they named.
    pub count: u64,
    /// Time from the first to the last call, nanoseconds.
    pub lasted_ns: u64,
}

impl MissingAddresses {
    /// Counts an event, if it is such a call.
    pub fn apply(&mut self, event: &Event) {
        let EventFacts::NoAddress(facts) = &event.facts else {
            return;
        };
        let named = match facts.op {
            PortOp::Connect => event.remote,
            PortOp::Bind | PortOp::Listen => event.local,
        };
        let (Some(named), Some(netns)) = (named, event.netns) else {
            return;
        };
        let key = Key {
            netns,
            netns_nth: event.netns_nth,
            op: facts.op,
            address: named.ip(),
            is_any_port: named.port() == 0,
            who: Who::of(event),
        };
        if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        let seen = self.rows.entry(key).or_insert_with(|| Seen {
            callers: Callers::default(),
            count: 0,
            latest: named,
            first_ns: event.mono_ns,
            last_ns: event.mono_ns,
        });
        seen.count += 1;
        seen.latest = named;
        seen.last_ns = seen.last_ns.max(event.mono_ns);
        seen.callers.note(event);
    }

    /// Calls without a row.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The rows, by namespace, call and address.
    pub fn rows(&self) -> Vec<MissingAddressRow> {
        let rows = self.rows.iter();
        rows.map(|(key, seen)| MissingAddressRow {
            netns: key.netns,
            netns_nth: key.netns_nth,
            process: seen.callers.latest.clone(),
            unattributed: key.who.unattributed(),
            processes: seen.callers.count,
            op: key.op,
            address: seen.latest,
            count: seen.count,
            lasted_ns: seen.last_ns.saturating_sub(seen.first_ns),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, samples};

    fn bind(address: &str, comm: &str, mono_ns: u64) -> Event {
        Event {
            local: Some(address.parse().unwrap()),
            process: Some(samples::process(7, comm)),
            mono_ns,
            ..samples::no_address()
        }
    }

    #[test]
    fn calls_for_one_address_are_one_row_whatever_their_port() {
        let mut missing = MissingAddresses::default();
        missing.apply(&bind("10.9.9.9:80", "web", 10));
        missing.apply(&bind("10.9.9.9:81", "web", 40));
        missing.apply(&bind("10.9.9.9:0", "web", 50));
        missing.apply(&bind("10.9.9.9:80", "other", 50));
        missing.apply(&samples::port_alloc());
        let rows = missing.rows();
        let figures = |row: &MissingAddressRow| (row.address.port(), row.count, row.lasted_ns);
        let found: Vec<(u16, u64, u64)> = rows.iter().map(figures).collect();
        assert_eq!(found, [(80, 1, 0), (81, 2, 30), (0, 1, 0)]);
    }

    #[test]
    fn rows_are_bounded() {
        let mut missing = MissingAddresses::default();
        for number in 0..2_000_u32 {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + number);
            missing.apply(&bind(&format!("{address}:80"), "web", 1));
        }
        assert_eq!((missing.rows().len(), missing.left_out()), (1_024, 976));
        missing.apply(&bind("10.0.0.0:80", "web", 1));
        assert_eq!(missing.left_out(), 976);
    }
}
