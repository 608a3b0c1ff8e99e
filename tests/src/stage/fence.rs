//! The fence: a connection at the end of a scenario, by which the runner knows that everything before it was reported.
//!
//! The ring buffer keeps the order in which probes wrote, twtrace keeps the order of the ring buffer, and every tier
//! sees a reset of a full socket. So once the fence's reset was reported, nothing that a probe wrote before it is still
//! missing. (Ends of TIME_WAITs that are known only after a time are not written when they happen: the runner waits for
//! those.) The fence is closed with SO_LINGER {on, 0}: it leaves no TIME_WAIT, and needs no answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Stage;
use crate::actor::command::SocketOption;

/// Addresses and a port that no scenario uses, and that do not depend on the port range.
const SERVER: SocketAddr = at(1);
const CLIENT: SocketAddr = at(2);

const fn at(host: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 255, 254, host)), 9)
}

impl Stage {
    /// Plays it, in a process of its own.
    pub(super) fn fence(&self) -> Result<()> {
        let play = || {
            let actor = self.actor("fence")?;
            actor.listen(SERVER)?;
            let fd = actor.tcp_for(CLIENT)?;
            actor.set(fd, SocketOption::LingerZero)?;
            actor.bind(fd, CLIENT)?;
            let connection = actor.connect_with(fd, SERVER)?;
            actor.close(&connection)
        };
        play().context("play the fence")
    }
}

/// Whether an event is about it.
pub fn is_about(event: &Value) -> bool {
    ["local", "remote"].iter().any(|end| {
        let address = event[end].as_str().and_then(|text| text.parse().ok());
        address
            .is_some_and(|address: SocketAddr| [SERVER.ip(), CLIENT.ip()].contains(&address.ip()))
    })
}

/// Whether an event shows that everything before the fence was reported. An event of either end is enough: a tier may
/// report that it loses some.
pub fn is_passed_by(event: &Value) -> bool {
    event["event"] == "reset" && is_about(event)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_fence_is_known_by_its_addresses() {
        let event = |kind: &str, local: &str, remote: Value| json!({"event": kind, "local": local, "remote": remote});
        let reset = event("reset", "127.255.254.2:9", json!("127.255.254.1:9"));
        assert!(is_about(&reset) && is_passed_by(&reset));
        let bound = event("port_alloc", "127.255.254.1:9", Value::Null);
        assert!(is_about(&bound) && !is_passed_by(&bound));
        let other = event("reset", "127.0.0.1:9", json!("127.0.0.1:40000"));
        assert!(!is_about(&other) && !is_passed_by(&other));
    }
}
