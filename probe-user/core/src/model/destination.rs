//! Where connections go, or come to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use twtrace_wire::Side;

use super::counts::Counts;
use super::reuse::Reuse;
use crate::event::{Event, EventFacts};
/// What connections have in common, seen from this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// Client side: the remote address and port.
    Remote(SocketAddr),
    /// Server side: the local port.
    LocalPort(u16),
    /// Side not known: the remote address; either port may be an ephemeral one.
    Peer(IpAddr),
    /// No address is known.
    Unknown,
    /// Beyond the [`destinations`](super::destinations) that there is room for.
    Others,
}

impl Destination {
    /// The destination of an event, for a socket of this side.
    pub fn of(side: Side, event: &Event) -> Self {
        match (side, event.local, event.remote) {
            (Side::Client, _, Some(remote)) => Self::Remote(remote),
            (Side::Server, Some(local), _) => Self::LocalPort(local.port()),
            (_, _, Some(remote)) => Self::Peer(remote.ip()),
            // A bind(), for either side.
            (_, Some(local), None) => Self::LocalPort(local.port()),
            (_, None, None) => Self::Unknown,
        }
    }

    /// Parses the displayed form.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "(unknown)" => return Some(Self::Unknown),
            "(others)" => return Some(Self::Others),
            _ => {}
        }
        if let Some(port) = text.strip_prefix(':') {
            // Not an IPv6 address: `::1` has no number after its first colon.
            if let Ok(port) = port.parse() {
                return Some(Self::LocalPort(port));
            }
        }
        let remote = text.parse().map(Self::Remote);
        remote.or_else(|_| text.parse().map(Self::Peer)).ok()
    }

    /// In the form of `--remote`; `None` if `local` contains it.
    pub fn remote(&self) -> Option<String> {
        match self {
            Self::Remote(remote) => Some(remote.to_string()),
            Self::Peer(address) => Some(address.to_string()),
            Self::LocalPort(_) | Self::Unknown | Self::Others => None,
        }
    }

    /// In the form of `--local`; `None` if `remote` contains it.
    pub fn local(&self) -> Option<String> {
        match self {
            Self::LocalPort(port) => Some(format!(":{port}")),
            _ => None,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(remote) => remote.fmt(f),
            Self::LocalPort(port) => write!(f, ":{port}"),
            Self::Peer(address) => address.fmt(f),
            Self::Unknown => f.write_str("(unknown)"),
            Self::Others => f.write_str("(others)"),
        }
    }
}

/// Figures of one destination.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// TIME_WAITs, refusals, resets and aborts.
    pub counts: Counts,
    /// Port allocations that failed.
    pub port_failures: u64,
    /// TIME_WAITs to it that connects reused or could not reuse.
    pub reuse: Reuse,
}

impl Done {
    /// Counts an event.
    pub fn add(&mut self, event: &Event) {
        if !matches!(event.facts, EventFacts::TimeWaitEnd(_)) {
            self.counts.add(event);
        }
        self.port_failures += u64::from(is_port_failure(event));
        self.reuse.add(event);
    }
}

fn is_port_failure(event: &Event) -> bool {
    matches!(&event.facts, EventFacts::PortAlloc(facts) if facts.is_failed_allocation())
}

/// The destination that an event counts for; `None` if it does not count. Of port allocations, only those count that
/// failed or found a TIME_WAIT; of ends of TIME_WAITs, only those by reuse. Of calls without an address, none.
pub fn towards(event: &Event) -> Option<(Side, Destination)> {
    let mut reuse = Reuse::default();
    reuse.add(event);
    let mut side = event.side;
    match &event.facts {
        EventFacts::PortAlloc(_) if !is_port_failure(event) && reuse.is_empty() => return None,
        EventFacts::TimeWaitEnd(_) if reuse.is_empty() => return None,
        EventFacts::NoAddress(_) => return None,
        // The process that connects is the client, whichever process created the TIME_WAIT.
        EventFacts::TimeWaitEnd(_) => side = Side::Client,
        _ => {}
    }
    Some((side, Destination::of(side, event)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_go_there_and_back() {
        for text in [
            "10.0.0.1:80",
            "[2001:db8::2]:80",
            "10.0.0.1",
            "::1",
            "::",
            ":443",
            "(unknown)",
            "(others)",
        ] {
            let destination = Destination::from_text(text).unwrap();
            assert_eq!(destination.to_string(), text);
        }
        for text in ["", ":", ":65536", "nobody", "(others"] {
            assert_eq!(Destination::from_text(text), None, "{text}");
        }
    }
}
