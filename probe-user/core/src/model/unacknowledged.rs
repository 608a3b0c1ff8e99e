//! Connections that send again and again what nobody acknowledges: a SYN, data or a FIN.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use twtrace_wire::{ProcessKey, TcpState};

use super::socket::{NetnsSockets, SocketRow, Timer};
use crate::event::Process;

/// Maximum number of rows: those with the most connections.
const MAX_ROWS: usize = 4_096;
/// Data that was sent again so often has waited for a second or more: the first time after 0.2 s at least (TCP_RTO_MIN), then
/// after twice as long each time. Fewer are lost packets.
const MANY: u8 = 3;

/// The connections of one process to one destination, at one time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnacknowledgedRow {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The other end.
    pub remote: SocketAddr,
    /// Whether it is the SYN that nobody acknowledges.
    pub is_connecting: bool,
    /// The process; `None` if no visible descriptor refers to them: it has closed them.
    pub process: Option<Process>,
    /// Number of connections.
    pub count: u64,
    /// How often the segment was sent again that was sent most often.
    pub retransmits: u8,
}

/// Whether a socket has sent again what nobody acknowledges: a SYN once, anything else several times.
pub fn waits(row: &SocketRow) -> bool {
    let least = match row.state {
        TcpState::SynSent => 1,
        // A SYN-ACK that is not acknowledged may be that of a scan.
        TcpState::SynRecv | TcpState::NewSynRecv => return false,
        _ => MANY,
    };
    row.timer == Timer::Retransmit && row.retransmits >= least
}

/// Inode numbers of these sockets.
pub fn inodes(namespaces: &[NetnsSockets]) -> impl Iterator<Item = u32> {
    let rows = namespaces.iter().flat_map(|sockets| &sockets.rows);
    rows.filter(|row| row.inode != 0).map(|row| row.inode)
}

/// Sockets that [wait](waits), by process and destination, the most first. `holders` returns the processes that hold the socket
/// with an inode number.
pub fn rows(
    namespaces: &[NetnsSockets],
    mut holders: impl FnMut(u32) -> Vec<Process>,
) -> Vec<UnacknowledgedRow> {
    type Key = (u32, SocketAddr, bool, Option<ProcessKey>);
    let mut rows: HashMap<Key, UnacknowledgedRow> = HashMap::new();
    let all = namespaces
        .iter()
        .flat_map(|sockets| sockets.rows.iter().map(move |row| (sockets.netns, row)));
    for (netns, socket) in all {
        // The first holds it; others have inherited it.
        let process = match socket.inode {
            0 => None,
            inode => holders(inode).into_iter().next(),
        };
        let is_connecting = socket.state == TcpState::SynSent;
        let key = process.as_ref().map(|process| process.key);
        let row = rows
            .entry((netns, socket.remote, is_connecting, key))
            .or_insert_with(|| UnacknowledgedRow {
                netns,
                remote: socket.remote,
                is_connecting,
                process,
                count: 0,
                retransmits: 0,
            });
        row.count += 1;
        row.retransmits = row.retransmits.max(socket.retransmits);
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_by_cached_key(|row| {
        let key = row.process.as_ref().map(|process| process.key);
        (std::cmp::Reverse(row.count), row.netns, row.remote, key)
    });
    rows.truncate(MAX_ROWS);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;
    use crate::model::socket::samples::socket;

    fn row(state: TcpState, remote: &str, inode: u32, retransmits: u8) -> SocketRow {
        SocketRow {
            retransmits,
            timer: Timer::Retransmit,
            ..socket(state, "10.0.0.1:40000", remote, inode)
        }
    }

    #[test]
    fn a_lost_packet_is_no_silence() {
        assert!(waits(&row(TcpState::SynSent, "10.0.0.2:80", 5, 1)));
        assert!(!waits(&row(TcpState::SynSent, "10.0.0.2:80", 5, 0)));
        assert!(!waits(&row(TcpState::Established, "10.0.0.2:80", 5, 2)));
        assert!(waits(&row(TcpState::FinWait1, "10.0.0.2:80", 0, 3)));
        assert!(!waits(&row(TcpState::NewSynRecv, "10.0.0.2:80", 0, 5)));
        // Probes of a peer that is silent by right.
        let keepalive = SocketRow {
            timer: Timer::Keepalive,
            ..row(TcpState::Established, "10.0.0.2:80", 5, 6)
        };
        assert!(!waits(&keepalive));
    }

    #[test]
    fn they_are_summed_by_process_and_destination() {
        let namespaces = [NetnsSockets {
            netns: 1,
            rows: vec![
                row(TcpState::SynSent, "10.0.0.2:80", 6, 1),
                row(TcpState::SynSent, "10.0.0.2:80", 7, 3),
                row(TcpState::FinWait1, "10.0.0.2:80", 0, 4),
            ],
        }];
        assert_eq!(inodes(&namespaces).collect::<Vec<_>>(), [6, 7]);
        let rows = rows(&namespaces, |_| vec![samples::process(7, "curl")]);
        let figures: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row.is_connecting,
                    row.process.is_some(),
                    row.count,
                    row.retransmits,
                )
            })
            .collect();
        assert_eq!(figures, [(true, true, 2, 3), (false, false, 1, 4)]);
    }
}
