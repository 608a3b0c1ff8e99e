//! TCP segments as bytes: IPv4 or IPv6 header, TCP header, payload, checksums.

use std::net::{IpAddr, SocketAddr};

const PROTOCOL_TCP: u8 = 6;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const TCP_BYTES: usize = 20;
/// Options of a SYN: "SACK permitted", as every stack offers it, and two NOPs.
const SYN_OPTIONS: [u8; 4] = [4, 2, 1, 1];

/// Flags of the TCP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// FIN
    pub const FIN: Self = Self(0x01);
    /// SYN
    pub const SYN: Self = Self(0x02);
    /// RST
    pub const RST: Self = Self(0x04);
    /// PSH
    pub const PSH: Self = Self(0x08);
    /// ACK
    pub const ACK: Self = Self(0x10);

    /// Both sets of flags.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub source: SocketAddr,
    pub target: SocketAddr,
    pub sequence: u32,
    pub acknowledged: u32,
    pub flags: Flags,
    pub window: u16,
    pub payload: Vec<u8>,
}

impl Segment {
    /// How far it advances the sequence number: payload, SYN and FIN.
    pub fn sequence_length(&self) -> u32 {
        let phantom = u32::from(self.flags.has(Flags::SYN)) + u32::from(self.flags.has(Flags::FIN));
        u32::try_from(self.payload.len()).unwrap_or(u32::MAX) + phantom
    }

    /// The packet as bytes. Source and target are of the same family.
    pub fn to_bytes(&self) -> Vec<u8> {
        let options: &[u8] = if self.flags.has(Flags::SYN) {
            &SYN_OPTIONS
        } else {
            &[]
        };
        let header_bytes = TCP_BYTES + options.len();
        let mut tcp = Vec::with_capacity(header_bytes + self.payload.len());
        tcp.extend(self.source.port().to_be_bytes());
        tcp.extend(self.target.port().to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(self.acknowledged.to_be_bytes());
        tcp.push(((header_bytes / 4) as u8) << 4);
        tcp.push(self.flags.0);
        tcp.extend(self.window.to_be_bytes());
        // Checksum and urgent pointer.
        tcp.extend([0; 4]);
        tcp.extend(options);
        tcp.extend(&self.payload);
        let length = tcp.len() as u16;
        let (source, target) = (self.source.ip(), self.target.ip());
        let pseudo = pseudo_header(source, target, PROTOCOL_TCP, length);
        let sum = internet_checksum(&[&pseudo, &tcp]);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        [ip_header(source, target, PROTOCOL_TCP, length), tcp].concat()
    }

    /// Parses a packet; `None` if it is not TCP.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let (source, target, tcp) = match packet.first()? >> 4 {
            4 => {
                let header_bytes = usize::from(packet[0] & 0x0f) * 4;
                if *packet.get(9)? != PROTOCOL_TCP {
                    return None;
                }
                let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
                let target: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
                (
                    IpAddr::from(source),
                    IpAddr::from(target),
                    packet.get(header_bytes..)?,
                )
            }
            6 => {
                if *packet.get(6)? != PROTOCOL_TCP {
                    return None;
                }
                let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
                let target: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
                (
                    IpAddr::from(source),
                    IpAddr::from(target),
                    packet.get(IPV6_BYTES..)?,
                )
            }
            _ => return None,
        };
        let word = |at: usize| -> Option<u16> {
            Some(u16::from_be_bytes(tcp.get(at..at + 2)?.try_into().ok()?))
        };
        let long = |at: usize| -> Option<u32> {
            Some(u32::from_be_bytes(tcp.get(at..at + 4)?.try_into().ok()?))
        };
        let data_offset = usize::from(tcp.get(12)? >> 4) * 4;
        Some(Self {
            source: SocketAddr::new(source, word(0)?),
            target: SocketAddr::new(target, word(2)?),
            sequence: long(4)?,
            acknowledged: long(8)?,
            flags: Flags(*tcp.get(13)?),
            window: word(14)?,
            payload: tcp.get(data_offset..)?.to_vec(),
        })
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Header of a packet. Both addresses are of the same family.
pub(super) fn ip_header(
    source: IpAddr,
    target: IpAddr,
    protocol: u8,
    payload_bytes: u16,
) -> Vec<u8> {
    let mut header = Vec::with_capacity(IPV6_BYTES);
    if matches!(source, IpAddr::V6(_)) {
        header.extend([0x60, 0, 0, 0]);
        header.extend(payload_bytes.to_be_bytes());
        header.extend([protocol, 64]);
    } else {
        header.extend([0x45, 0]);
        header.extend((payload_bytes + IPV4_BYTES as u16).to_be_bytes());
        // Identification, don't fragment, TTL 64, protocol, checksum.
        header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    }
    header.extend(octets(source));
    header.extend(octets(target));
    if matches!(source, IpAddr::V4(_)) {
        let sum = internet_checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    header
}

/// For both versions: only sums of 16-bit words matter, so the wider fields of IPv6 add nothing.
pub(super) fn pseudo_header(
    source: IpAddr,
    target: IpAddr,
    protocol: u8,
    payload_bytes: u16,
) -> Vec<u8> {
    let mut header = [octets(source), octets(target)].concat();
    header.extend([0, protocol]);
    header.extend(payload_bytes.to_be_bytes());
    header
}

/// RFC 1071. Each part except the last has an even length.
pub(super) fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(source: &str, target: &str) -> Segment {
        Segment {
            source: source.parse().unwrap(),
            target: target.parse().unwrap(),
            sequence: 1,
            acknowledged: u32::MAX,
            flags: Flags::SYN.and(Flags::ACK),
            window: 512,
            payload: b"odd".to_vec(),
        }
    }

    #[test]
    fn segments_go_there_and_back() {
        for segment in [
            segment("10.9.0.2:80", "10.9.0.1:40000"),
            segment("[fd09::2]:80", "[fd09::1]:40000"),
        ] {
            assert_eq!(Segment::parse(&segment.to_bytes()), Some(segment.clone()));
            assert_eq!(segment.sequence_length(), 4);
        }
    }

    #[test]
    fn a_header_with_its_checksum_sums_to_zero() {
        let packet = segment("10.9.0.2:80", "10.9.0.1:40000").to_bytes();
        assert_eq!(internet_checksum(&[&packet[..IPV4_BYTES]]), 0);
    }

    #[test]
    fn what_is_not_tcp_is_passed_over() {
        assert_eq!(Segment::parse(&[]), None);
        assert_eq!(Segment::parse(&[0x60, 0, 0, 0, 0, 0, 58, 255]), None);
    }
}
