//! Local ports: the range that connect() and bind(0) choose from, and sets of ports that they skip.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Number of words in a [`PortSet`]: a bit for each of 65,536 ports.
const WORDS: usize = 65_536 / 64;

/// `ip_local_port_range`: both ends are included.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The lowest port.
    pub low: u16,
    /// The highest port, not below `low`.
    pub high: u16,
}

/// A text that is not in the kernel's format for ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortsError {
    /// Not two numbers.
    #[error("{0:?} is not a range of ports")]
    Range(String),
    /// Not a list of ports and ranges.
    #[error("{0:?} is not a list of ports")]
    List(String),
}

impl PortRange {
    /// Whether the range contains a port.
    pub fn contains(&self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
    }

    /// Which half of the range connect() and bind(0) try first: connect() the ports with the parity of `low`, bind(0)
    /// the others.
    ///
    /// This holds from 5.10 to at least 6.12. With IP_LOCAL_PORT_RANGE set on a socket, from 6.12 on, and with
    /// `ip_local_port_step_width` (7.3), connect() searches both halves together.
    pub fn half(&self, port: u16) -> Half {
        match (port ^ self.low) & 1 {
            0 => Half::OfLow,
            _ => Half::Other,
        }
    }

    /// The range that a socket with IP_LOCAL_PORT_RANGE searches: an end that is 0 or outside of this range is ignored
    /// (inet_sk_get_local_port_range).
    pub fn narrowed(&self, low: u16, high: u16) -> Self {
        let low = if self.contains(low) { low } else { self.low };
        let high = if (low..=self.high).contains(&high) {
            high
        } else {
            self.high
        };
        Self { low, high }
    }

    /// Number of ports.
    pub fn count(&self) -> u64 {
        u64::from(self.high - self.low) + 1
    }

    /// Every port of the range.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.low..=self.high
    }
}

/// One of two halves of a range, by parity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Ports with the parity of the lowest one: connect() tries them first.
    OfLow,
    /// The others: bind(0) tries them first.
    Other,
}

impl FromStr for PortRange {
    type Err = PortsError;

    /// Parses `32768\t60999`, the format of /proc/sys/net/ipv4/ip_local_port_range.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || PortsError::Range(text.trim().to_owned());
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(low)), Some(Ok(high)), None) if low <= high => Ok(Self { low, high }),
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.low, self.high)
    }
}

/// A set of ports.
#[derive(Clone, PartialEq, Eq)]
pub struct PortSet(Box<[u64; WORDS]>);

impl PortSet {
    /// Adds a port.
    pub fn insert(&mut self, port: u16) {
        self.0[usize::from(port) / 64] |= 1 << (port % 64);
    }

    /// Whether the set contains a port.
    pub fn contains(&self, port: u16) -> bool {
        self.0[usize::from(port) / 64] >> (port % 64) & 1 != 0
    }

    /// Its ports, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        (0..=u16::MAX).filter(|port| self.contains(*port))
    }
}

impl Default for PortSet {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<u16> for PortSet {
    fn from_iter<T: IntoIterator<Item = u16>>(ports: T) -> Self {
        let mut set = Self::default();
        ports.into_iter().for_each(|port| set.insert(port));
        set
    }
}

/// In the kernel's format.
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ports = self.iter().peekable();
        let mut separator = "";
        while let Some(low) = ports.next() {
            let mut high = low;
            while let Some(next) = ports.next_if(|next| *next - high == 1) {
                high = next;
            }
            if low == high {
                write!(f, "{separator}{low}")?
            } else {
                write!(f, "{separator}{low}-{high}")?
            }
            separator = ",";
        }
        Ok(())
    }
}

impl FromStr for PortSet {
    type Err = PortsError;

    /// Parses `8080,9000-9010`, the format of /proc/sys/net/ipv4/ip_local_reserved_ports; an empty line for none.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || PortsError::List(text.trim().to_owned());
        let mut set = Self::default();
        for part in text.trim().split(',').filter(|part| !part.is_empty()) {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let low: u16 = low.parse().map_err(|_| malformed())?;
            let high: u16 = high.parse().map_err(|_| malformed())?;
            if low > high {
                return Err(malformed());
            }
            (low..=high).for_each(|port| set.insert(port));
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_as_the_kernel_writes_them() {
        let range: PortRange = "32768\t60999\n".parse().unwrap();
        assert_eq!((range.low, range.high), (32_768, 60_999));
        assert_eq!(range.to_string(), "32768-60999");
        assert_eq!(range.half(32_770), Half::OfLow);
        assert_eq!(range.half(60_999), Half::Other);
        for text in ["", "1", "2 1", "1 2 3", "a b", "1 65536", "-1 5"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        let set: PortSet = "8080,9000-9002\n".parse().unwrap();
        assert_eq!(set.iter().collect::<Vec<_>>(), [8_080, 9_000, 9_001, 9_002]);
        assert_eq!("\n".parse::<PortSet>().unwrap().iter().count(), 0);
        for text in ["x", "1-", "2-1", "1 2", "65536"] {
            assert!(text.parse::<PortSet>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_set_has_what_was_put_in(ports in prop::collection::btree_set(any::<u16>(), 0..200)) {
            let set: PortSet = ports.iter().copied().collect();
            prop_assert!(set.iter().eq(ports.iter().copied()));
            prop_assert_eq!(set.to_string().parse(), Ok(set));
        }

        #[test]
        fn halves_differ_by_one_at_most(low in any::<u16>(), size in 0_u16..500) {
            let range = PortRange { low, high: low.saturating_add(size) };
            let of_low = range.ports().filter(|port| range.half(*port) == Half::OfLow).count();
            let other = range.ports().count() - of_low;
            prop_assert!(of_low == other || of_low == other + 1);
        }
    }
}
