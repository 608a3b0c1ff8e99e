//! Segments that a connection's own TCP never sent, in its name: what a peer that does not follow the protocol may
//! send.

use std::{io, net::SocketAddr, os::fd::RawFd};

use crate::{
    sys::inet,
    tun_peer::segment::{Flags, Segment},
};

/// A segment against the protocol. If it has the next sequence number, the other end accepts it as genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// A RST with the next number: the other end is reset.
    Reset,
    /// A RST within the window: the other end only sends a challenge ACK.
    ResetInWindow,
    /// A SYN within the window.
    Syn,
    /// A byte that was sent before.
    OldData,
    /// A byte that its own TCP has not sent.
    NewData,
    /// The end of a stream that continues.
    Fin,
    /// The number before the next one, without data.
    KeepaliveProbe,
}

impl Forged {
    pub const ALL: [Self; 7] = [
        Self::Reset,
        Self::ResetInWindow,
        Self::Syn,
        Self::OldData,
        Self::NewData,
        Self::Fin,
        Self::KeepaliveProbe,
    ];

    /// Flags, offset from the next sequence number, and whether it carries a byte.
    fn header(self) -> (Flags, i32, bool) {
        match self {
            Self::Reset => (Flags::RST, 0, false),
            Self::ResetInWindow => (Flags::RST, 100, false),
            Self::Syn => (Flags::SYN, 100, false),
            Self::OldData => (Flags::ACK, -1, true),
            Self::NewData => (Flags::ACK, 0, true),
            Self::Fin => (Flags::FIN.and(Flags::ACK), 0, false),
            Self::KeepaliveProbe => (Flags::ACK, -1, false),
        }
    }
}

/// `TCP_REPAIR_OFF_NO_WP` (linux/tcp.h): without asking the peer for its window.
const REPAIR_OFF_QUIETLY: i32 = -1;
const REPAIR_ON: i32 = 1;
const RECEIVE_QUEUE: i32 = 1;
const SEND_QUEUE: i32 = 2;

/// Sends it to the other end of a socket's connection, as if from this end.
///
/// # Errors
/// errno of a call; ENOTCONN if the connection is not established.
pub fn send(fd: RawFd, forged: Forged) -> io::Result<()> {
    let from = inet::unmapped(inet::local_address(fd)?);
    let to = inet::unmapped(inet::remote_address(fd)?);
    let (next, expected) = numbers(fd)?;
    let (flags, offset, has_byte) = forged.header();
    let segment = Segment {
        source: from,
        target: to,
        sequence: next.wrapping_add_signed(offset),
        acknowledged: expected,
        flags,
        window: u16::MAX,
        payload: if has_byte { b"f".to_vec() } else { Vec::new() },
    };
    send_raw(&segment)
}

/// The sequence numbers that this end sends and expects next.
fn numbers(fd: RawFd) -> io::Result<(u32, u32)> {
    // Repair mode changes it.
    let reuse: i32 = inet::option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    inet::set_option(fd, libc::IPPROTO_TCP, libc::TCP_REPAIR, REPAIR_ON)?;
    let of = |queue: i32| -> io::Result<u32> {
        inet::set_option(fd, libc::IPPROTO_TCP, libc::TCP_REPAIR_QUEUE, queue)?;
        inet::option(fd, libc::IPPROTO_TCP, libc::TCP_QUEUE_SEQ)
    };
    let numbers = of(SEND_QUEUE).and_then(|next| Ok((next, of(RECEIVE_QUEUE)?)));
    inet::set_option(fd, libc::IPPROTO_TCP, libc::TCP_REPAIR, REPAIR_OFF_QUIETLY)?;
    inet::set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, reuse)?;
    numbers
}

/// Sends with its own IP headers, which IPPROTO_RAW means for both IP versions.
fn send_raw(segment: &Segment) -> io::Result<()> {
    let domain = match segment.source {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    let raw = inet::socket(domain, kind, libc::IPPROTO_RAW)?;
    let target = SocketAddr::new(segment.target.ip(), 0);
    let sent = inet::send_to(raw, &segment.to_bytes(), target);
    inet::close(raw)?;
    sent
}
