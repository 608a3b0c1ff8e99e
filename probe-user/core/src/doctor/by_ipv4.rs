//! Programs that try IPv6 first and go on with IPv4: `localhost` is `::1` first.

use std::net::{IpAddr, SocketAddr};

use twtrace_wire::Side;

use super::facts::DoctorFacts;
use crate::event::comm::Comm;
use crate::model::destination::Destination;
use crate::model::pairs::PairRow;

/// Connections of these commands to the port of `address` by IPv4 that have ended, if the address is of IPv6: at the clients, or
/// at the server on this host, if that closed first.
pub fn connections(facts: &DoctorFacts, netns: u32, commands: &[Comm], address: SocketAddr) -> u64 {
    if address.is_ipv4() {
        return 0;
    }
    let is_loopback = matches!(address.ip(), IpAddr::V6(ip) if ip.is_loopback());
    let sum = |is_it: &dyn Fn(&PairRow) -> bool| -> u64 {
        let rows = facts.pairs.iter().filter(|row| row.netns == netns);
        rows.filter(|row| is_it(row))
            .map(|row| row.counts.time_wait)
            .sum()
    };
    let of_clients = sum(&|row| match row.destination {
        Destination::Remote(remote) if row.side == Side::Client => {
            let process = row.process.as_ref();
            remote.is_ipv4()
                && remote.port() == address.port()
                && process.is_some_and(|process| commands.contains(&process.comm))
        }
        _ => false,
    });
    let of_server = sum(&|row| {
        is_loopback
            && row.side == Side::Server
            && row.destination == Destination::LocalPort(address.port())
    });
    of_clients.max(of_server)
}
