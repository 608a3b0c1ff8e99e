//! Listeners and their accept queues.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use twtrace_wire::TcpState;

use super::socket::{AcceptQueue, NetnsSockets};
use crate::event::Process;

/// A listener at one time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListenerSample {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The kernel's identity of the socket.
    pub cookie: u64,
    /// Its address.
    pub local: SocketAddr,
    /// Whether it accepts no IPv4; `None` for IPv4, and if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6only: Option<bool>,
    /// Connections in its queue.
    pub queued: u32,
    /// How many the queue takes.
    pub backlog: u32,
    /// Connections that it dropped since it exists.
    pub drops: Option<u32>,
    /// The processes that hold it; only known if it dropped any.
    pub holders: Vec<Process>,
}

/// A listener that dropped connections between two samples.
#[derive(Clone, Debug)]
pub struct OverflownListener {
    /// The later sample.
    pub now: ListenerSample,
    /// Connections dropped between both.
    pub dropped: u64,
}

/// Inode numbers of listeners that dropped connections.
pub fn inodes(namespaces: &[NetnsSockets]) -> HashSet<u32> {
    let rows = namespaces.iter().flat_map(|sockets| &sockets.rows);
    rows.filter(|row| row.inode != 0 && dropped(row.queue) > 0)
        .map(|row| row.inode)
        .collect()
}

fn dropped(queue: Option<AcceptQueue>) -> u32 {
    queue.and_then(|queue| queue.drops).unwrap_or(0)
}

/// The listeners of all namespaces. `holders` returns the processes that hold the socket with an inode number.
pub fn samples(
    namespaces: &[NetnsSockets],
    mut holders: impl FnMut(u32) -> Vec<Process>,
) -> Vec<ListenerSample> {
    let mut samples = Vec::new();
    for NetnsSockets { netns, rows } in namespaces {
        for row in rows.iter().filter(|row| row.state == TcpState::Listen) {
            let Some(queue) = row.queue else {
                continue;
            };
            samples.push(ListenerSample {
                netns: *netns,
                cookie: row.cookie,
                local: row.local,
                v6only: row.v6only,
                queued: queue.length,
                backlog: queue.backlog,
                drops: queue.drops,
                holders: if dropped(row.queue) > 0 {
                    holders(row.inode)
                } else {
                    Vec::new()
                },
            });
        }
    }
    samples
}

/// Listeners that dropped connections between two samples, those with the most first. One that is only in the later
/// sample began in between, if its namespace was sampled before: `was_sampled` knows that of namespaces without listeners.
pub fn overflown(
    before: &[ListenerSample],
    now: &[ListenerSample],
    was_sampled: impl Fn(u32) -> bool,
) -> Vec<OverflownListener> {
    let earlier: HashMap<(u32, u64), Option<u32>> = before
        .iter()
        .map(|it| ((it.netns, it.cookie), it.drops))
        .collect();
    let with_listeners: HashSet<u32> = before.iter().map(|it| it.netns).collect();
    let mut overflown: Vec<OverflownListener> = now
        .iter()
        .filter_map(|now| {
            let earlier = match earlier.get(&(now.netns, now.cookie)) {
                Some(drops) => (*drops)?,
                None if with_listeners.contains(&now.netns) || was_sampled(now.netns) => 0,
                // It may have dropped them long ago.
                None => return None,
            };
            let dropped = u64::from(now.drops?.wrapping_sub(earlier));
            (dropped > 0).then(|| OverflownListener {
                now: now.clone(),
                dropped,
            })
        })
        .collect();
    overflown.sort_by_key(|listener| std::cmp::Reverse(listener.dropped));
    overflown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(cookie: u64, drops: Option<u32>) -> ListenerSample {
        ListenerSample {
            netns: 1,
            cookie,
            local: "127.0.0.1:80".parse().unwrap(),
            v6only: None,
            queued: 3,
            backlog: 2,
            drops,
            holders: Vec::new(),
        }
    }

    #[test]
    fn only_what_grew_counts() {
        let before = [
            listener(1, Some(5)),
            listener(2, Some(7)),
            listener(4, None),
        ];
        let now = [
            listener(1, Some(5)),
            listener(2, Some(9)),
            listener(3, Some(4)),
            listener(4, Some(4)),
        ];
        let found = overflown(&before, &now, |_| false);
        let found: Vec<_> = found.iter().map(|it| (it.now.cookie, it.dropped)).collect();
        assert_eq!(found, [(3, 4), (2, 2)]);
        // Of a namespace that was not sampled before nothing is known.
        assert!(overflown(&[], &now, |_| false).is_empty());
        assert_eq!(overflown(&[], &now, |netns| netns == 1).len(), 4);
    }
}
