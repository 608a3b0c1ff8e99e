//! Socket addresses in the wire format.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use twtrace_wire::Tuple;

/// Both ends in their displayed form, and whether they are IPv4 addresses of an IPv6 socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// This host's end; `None` if the record has no address.
    pub local: Option<SocketAddr>,
    /// The other end; `None` if the record has no address.
    pub remote: Option<SocketAddr>,
    /// Whether one of them was a v4-mapped address.
    pub mapped: bool,
}

/// Reads both ends of a tuple. Converts IPv6 addresses that map an IPv4 one.
pub fn ends(tuple: &Tuple) -> Ends {
    let read = |address: &[u8; 16]| match tuple.ip_version {
        4 => Some(IpAddr::V4(Ipv4Addr::new(
            address[0], address[1], address[2], address[3],
        ))),
        6 => Some(IpAddr::V6(Ipv6Addr::from(*address))),
        _ => None,
    };
    let (local, remote) = (read(&tuple.local), read(&tuple.remote));
    let is_mapped = |address: Option<IpAddr>| matches!(address, Some(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some());
    let mapped = is_mapped(local) || is_mapped(remote);
    // The unspecified end of a v4-mapped pair is also an IPv4 one.
    let shown = |address: IpAddr| match address {
        IpAddr::V6(v6) if mapped && v6.is_unspecified() => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        other => other.to_canonical(),
    };
    Ends {
        local: local.map(|address| SocketAddr::new(shown(address), tuple.local_port)),
        remote: remote.map(|address| SocketAddr::new(shown(address), tuple.remote_port)),
        mapped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(ip_version: u8, local: &str, remote: &str) -> Tuple {
        let bytes = |text: &str| match text.parse::<IpAddr>().unwrap() {
            IpAddr::V4(v4) => {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&v4.octets());
                bytes
            }
            IpAddr::V6(v6) => v6.octets(),
        };
        Tuple {
            local: bytes(local),
            remote: bytes(remote),
            local_port: 1,
            remote_port: 2,
            ip_version,
            ..Tuple::default()
        }
    }

    fn texts(tuple: &Tuple) -> (String, String, bool) {
        let ends = ends(tuple);
        (
            ends.local.unwrap().to_string(),
            ends.remote.unwrap().to_string(),
            ends.mapped,
        )
    }

    #[test]
    fn both_versions_and_mapped() {
        assert_eq!(
            texts(&tuple(4, "10.0.0.1", "10.0.0.2")),
            ("10.0.0.1:1".into(), "10.0.0.2:2".into(), false)
        );
        assert_eq!(
            texts(&tuple(6, "::1", "2001:db8::1")),
            ("[::1]:1".into(), "[2001:db8::1]:2".into(), false)
        );
        assert_eq!(
            texts(&tuple(6, "::", "::ffff:10.0.0.2")),
            ("0.0.0.0:1".into(), "10.0.0.2:2".into(), true)
        );
        assert_eq!(ends(&tuple(0, "::", "::")).local, None);
    }
}
