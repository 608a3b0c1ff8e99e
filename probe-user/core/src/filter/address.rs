//! Filters for one end of a connection: address or network, with or without a port.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Such as `10.0.0.0/8`, `10.0.0.1:80`, `:443`, `[::1]:80`, `2001:db8::/32`, `[2001:db8::/32]:80` or `localhost:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressFilter {
    host: Host,
    port: Option<u16>,
}

/// Which addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Any,
    Network(Network),
    /// 127.0.0.1 and ::1. No other name is accepted: names would have to be resolved.
    Localhost,
}

/// The only host name that is accepted.
const LOCALHOST: &str = "localhost";

/// All addresses with the same prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    /// Bits beyond the prefix are zero; never a v4-mapped address.
    address: IpAddr,
    /// Length of the prefix in bits.
    prefix: u8,
}

/// A text that is not an address filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressFilterError {
    /// It is not an address.
    #[error(
        "not an address, network or port: write 10.0.0.1, 10.0.0.0/8, 10.0.0.1:80, [::1]:80 or :443"
    )]
    Malformed,
    /// It is the name of a host.
    #[error(
        "host names are not resolved: write an address instead of {0}, such as 10.0.0.1:80 or 10.0.0.0/8"
    )]
    HostName(String),
    /// Its port is not a number.
    #[error("{0:?} is not a port: write a number from 0 to 65535, such as 10.0.0.1:80 or :443")]
    Port(String),
    /// Its prefix is longer than the address.
    #[error("a prefix of {0} bits is longer than the address")]
    Prefix(u8),
}

impl AddressFilter {
    /// Whether an end passes.
    pub fn matches(&self, end: SocketAddr) -> bool {
        self.port.is_none_or(|port| port == end.port())
            && self.host.contains(end.ip().to_canonical())
    }
}

impl Host {
    /// `address` is never a v4-mapped one.
    fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Network(network) => network.contains(address),
            Self::Localhost => {
                address == IpAddr::V4(Ipv4Addr::LOCALHOST)
                    || address == IpAddr::V6(Ipv6Addr::LOCALHOST)
            }
        }
    }
}

impl Network {
    fn new(address: IpAddr, prefix: Option<u8>) -> Result<Self, AddressFilterError> {
        let bits = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let prefix = prefix.unwrap_or(bits);
        if prefix > bits {
            return Err(AddressFilterError::Prefix(prefix));
        }
        // IPv4 addresses are displayed as such even if the socket is an IPv6 one.
        let (address, prefix) = match address.to_canonical() {
            v4 @ IpAddr::V4(_) if address.is_ipv6() && prefix >= 96 => (v4, prefix - 96),
            _ if address.is_ipv6() => (address, prefix),
            v4 => (v4, prefix),
        };
        Ok(Self {
            address: first_bits(address, prefix),
            prefix,
        })
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && first_bits(address, self.prefix) == self.address
    }
}

/// The address with all bits beyond the prefix zero.
fn first_bits(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

impl FromStr for AddressFilter {
    type Err = AddressFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = AddressFilterError::Malformed;
        // An IPv6 address or network without brackets contains any number of colons, so it is tried first.
        if let Some(network) = parse_network(text)? {
            return Ok(Self {
                host: Host::Network(network),
                port: None,
            });
        }
        if text.eq_ignore_ascii_case(LOCALHOST) {
            return Ok(Self {
                host: Host::Localhost,
                port: None,
            });
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (inner, rest) = rest.split_once(']').ok_or(malformed.clone())?;
            // Both `[2001:db8::]/32` and `[2001:db8::/32]`.
            let (suffix, port) = match rest.split_once(':') {
                Some((suffix, port)) => (suffix, Some(parse_port(port)?)),
                None => (rest, None),
            };
            let network = parse_network(&format!("{inner}{suffix}"))?
                .filter(|network| network.address.is_ipv6() || inner.contains(':'))
                .ok_or(malformed)?;
            return Ok(Self {
                host: Host::Network(network),
                port,
            });
        }
        let (before, port) = text.rsplit_once(':').ok_or_else(|| not_an_address(text))?;
        let host = match before {
            "" | "*" => Host::Any,
            _ if before.eq_ignore_ascii_case(LOCALHOST) => Host::Localhost,
            // Without brackets the end of an IPv6 address would be ambiguous.
            _ if before.contains(':') => return Err(malformed),
            _ => Host::Network(parse_network(before)?.ok_or_else(|| not_an_address(before))?),
        };
        Ok(Self {
            host,
            port: Some(parse_port(port)?),
        })
    }
}

/// `None` if the text before a slash is not an address.
fn parse_network(text: &str) -> Result<Option<Network>, AddressFilterError> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => match parse_number(prefix) {
            Some(prefix) => (address, Some(prefix)),
            None => return Ok(None),
        },
        None => (text, None),
    };
    match address.parse::<IpAddr>() {
        Ok(address) => Network::new(address, prefix).map(Some),
        Err(_) => Ok(None),
    }
}

fn parse_port(text: &str) -> Result<u16, AddressFilterError> {
    parse_number(text).ok_or_else(|| AddressFilterError::Port(text.to_owned()))
}

/// The error for a text that is neither an address nor a network.
fn not_an_address(text: &str) -> AddressFilterError {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if text.bytes().all(is_of_name) && text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        AddressFilterError::HostName(text.to_owned())
    } else {
        AddressFilterError::Malformed
    }
}

/// Digits only: `from_str` would also accept a sign.
fn parse_number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

impl fmt::Display for AddressFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host == Host::Localhost {
            f.write_str(LOCALHOST)?;
        }
        if let Host::Network(Network { address, prefix }) = self.host {
            let brackets = address.is_ipv6() && self.port.is_some();
            let is_whole = prefix == if address.is_ipv4() { 32 } else { 128 };
            f.write_str(if brackets { "[" } else { "" })?;
            address.fmt(f)?;
            if !is_whole {
                write!(f, "/{prefix}")?;
            }
            f.write_str(if brackets { "]" } else { "" })?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl Serialize for AddressFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
