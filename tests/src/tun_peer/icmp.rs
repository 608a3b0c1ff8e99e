//! ICMP errors as bytes: a router says that it can't deliver a segment.

use std::net::IpAddr;

use super::segment::{self, Segment};

const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_ICMPV6: u8 = 58;
/// Type and code "host unreachable" (RFC 792), "address unreachable" (RFC 4443): EHOSTUNREACH.
const UNREACHABLE: [u8; 2] = [3, 1];
const UNREACHABLE_V6: [u8; 2] = [1, 3];

/// The error for a segment, from its target to its source.
pub fn unreachable(of: &Segment) -> Vec<u8> {
    let is_v6 = matches!(of.source.ip(), IpAddr::V6(_));
    let kind = if is_v6 { UNREACHABLE_V6 } else { UNREACHABLE };
    let mut message = kind.to_vec();
    // Checksum, and a field that is not used.
    message.extend([0; 6]);
    message.extend(of.to_bytes());
    let length = message.len() as u16;
    let (source, target) = (of.target.ip(), of.source.ip());
    let protocol = if is_v6 {
        PROTOCOL_ICMPV6
    } else {
        PROTOCOL_ICMP
    };
    // ICMPv6 has a pseudo-header, ICMP none.
    let pseudo = if is_v6 {
        segment::pseudo_header(source, target, protocol, length)
    } else {
        Vec::new()
    };
    let sum = segment::internet_checksum(&[&pseudo, &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    [
        segment::ip_header(source, target, protocol, length),
        message,
    ]
    .concat()
}
