//! Port pools: how many ports there are for each destination, how many are held, and how long they last.
//!
//! A connect() that allocates a port needs one that its own four-tuple does not use yet, so each (network namespace,
//! source address, destination address and port) has a pool of its own: the ports of the range, less the reserved ones,
//! less those that belong to a bind() (connect() skips these for any address), less what live sockets and TIME_WAITs of
//! the tuple hold. A program that binds to any port before it connects uses one pool for all destinations of the source
//! address instead.
//!
//! No dump of sockets shows whether a port was chosen by bind() or by connect(). Ports with a listener, or with
//! accepted connections, belong to a bind(). Ports of sockets that were bound and then connected also do, but can't be
//! distinguished from others: such a pool is shown beside the pools by destination if events report it (see
//! [`evidence::Evidence`]), and is not guessed otherwise.

pub mod client_sockets;
pub mod evidence;
pub mod forecast;
pub mod holders;
mod latest;
pub mod ledger;
mod of_namespace;
pub mod pace;
mod pool_addresses;
pub mod ports;
pub mod row;
pub mod servers;
pub mod sysctls;
mod view;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use client_sockets::ClientSockets;
use evidence::{Pool, PoolCounts};
use row::{BudgetRow, Outlook, PoolWord};
use sysctls::PortSysctls;

/// Data of one network namespace.
#[derive(Clone, Copy, Debug)]
pub struct NamespacePorts<'a> {
    /// Its inode number.
    pub netns: u32,
    /// Its settings, or why they are not known.
    pub sysctls: Result<&'a PortSysctls, &'a str>,
    /// Its sockets when tracing began.
    pub start: Option<&'a ClientSockets>,
    /// Its sockets at the end, or why they are not known.
    pub end: Result<&'a ClientSockets, &'a str>,
    /// Time between both, nanoseconds.
    pub lasted_ns: u64,
    /// Time in which events were counted, nanoseconds: a little longer.
    pub counted_ns: u64,
}

/// A row of which only the data of events is known.
fn unknown(netns: u32, pool: Pool, counts: PoolCounts, why: Cow<'static, str>) -> BudgetRow {
    let (word, source, destination) = name(pool);
    BudgetRow {
        netns,
        pool: word,
        source,
        destination,
        range: None,
        socket_range: matches!(pool, Pool::Connect { own: Some(_), .. }),
        excluded: None,
        capacity: None,
        live: None,
        time_wait: None,
        time_wait_reusable: None,
        free: None,
        fast_half: None,
        connections_per_s: None,
        live_growth_per_s: None,
        expiry_per_s: None,
        failures: counts.failures,
        live_by: Vec::new(),
        bound_by: Vec::new(),
        outlook: Outlook::Unknown,
        full_in_ns: None,
        why: Some(why),
    }
}

fn name(pool: Pool) -> (PoolWord, Option<IpAddr>, Option<SocketAddr>) {
    match pool {
        Pool::Connect {
            source,
            destination,
            ..
        } => (PoolWord::Connect, source, Some(destination)),
        Pool::Bind { source } => (PoolWord::Bind, Some(source), None),
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
