//! Ports on which events reported accepted connections: no dump of sockets shows that once the listener is closed.

use std::collections::HashSet;

use twtrace_wire::{EventKind, Side};

use super::latest::LatestNetns;
use crate::event::Event;

/// Maximum number of ports.
const MAX_PORTS: usize = 65_536;

/// Ports of servers, by network namespace.
#[derive(Debug, Default)]
pub struct ServerPorts {
    ports: HashSet<(u32, u16)>,
    latest: LatestNetns,
}

impl ServerPorts {
    /// Takes the data of an event.
    pub fn note(&mut self, event: &Event) {
        if let (EventKind::TimeWait, Side::Server, Some(netns), Some(local)) =
            (event.event, event.side, event.netns, event.local)
        {
            if self.ports.len() >= MAX_PORTS {
                // Ports that are still served become known again soon.
                self.ports.clear();
            }
            let is_of_latest = self.latest.is_of_latest(netns, event.netns_nth, || {
                self.ports.retain(|(known, _)| *known != netns);
            });
            if is_of_latest {
                self.ports.insert((netns, local.port()));
            }
        }
    }

    /// Whether connections were accepted on this port.
    pub fn has(&self, netns: u32, port: u16) -> bool {
        self.ports.contains(&(netns, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn ports_that_accepted_are_known() {
        let mut servers = ServerPorts::default();
        let mut event = samples::time_wait();
        servers.note(&event);
        event.side = Side::Server;
        event.local = Some("10.0.0.1:41000".parse().unwrap());
        servers.note(&event);
        let netns = event.netns.unwrap();
        assert!(servers.has(netns, 41_000) && !servers.has(netns, 40_000));
        assert!(!servers.has(7, 41_000));
    }
}
