//! Source address and destination in compact form: there may be a hundred thousand of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// Source address and destination.
pub type PoolAddresses = (IpAddr, SocketAddr);

/// A [`PoolAddresses`] in a third of its size, if it is IPv4.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PackedAddresses {
    /// IPv4.
    V4(Ipv4Addr, SocketAddrV4),
    /// Everything else.
    Other(Box<PoolAddresses>),
}

const _: () = assert!(size_of::<PackedAddresses>() == 16 && size_of::<PoolAddresses>() > 48);

impl From<PoolAddresses> for PackedAddresses {
    fn from(tuple: PoolAddresses) -> Self {
        match tuple {
            (IpAddr::V4(source), SocketAddr::V4(destination)) => Self::V4(source, destination),
            other => Self::Other(Box::new(other)),
        }
    }
}

impl From<&PackedAddresses> for PoolAddresses {
    fn from(packed: &PackedAddresses) -> Self {
        match packed {
            PackedAddresses::V4(source, destination) => ((*source).into(), (*destination).into()),
            PackedAddresses::Other(other) => **other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_leads_to_the_same() {
        for (source, destination) in [
            ("10.0.0.1", "10.0.0.2:443"),
            ("2001:db8::1", "[2001:db8::2%3]:443"),
            ("::ffff:10.0.0.1", "[::ffff:10.0.0.2]:443"),
            // No dump has such tuples; still, none may be taken for another.
            ("10.0.0.1", "[2001:db8::2]:443"),
        ] {
            let tuple: PoolAddresses = (source.parse().unwrap(), destination.parse().unwrap());
            assert_eq!(PoolAddresses::from(&PackedAddresses::from(tuple)), tuple);
        }
    }
}
