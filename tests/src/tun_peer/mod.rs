//! A peer that does exactly what a scenario needs, at the other end of a TUN device: it may answer late, wrongly or not
//! at all.

mod icmp;
pub mod segment;

use std::{
    fs::File,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use segment::{Flags, Segment};

use crate::{
    stage::{Ip, Skip},
    sys::{check, netns},
};

const HOST_V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const PEER_V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);
const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2);
const PEER_PORT: u16 = 8080;
const FIRST_SEQUENCE: u32 = 1_000_000;
/// How long the host may take to send an expected segment.
const PATIENCE: Duration = Duration::from_secs(30);

/// The peer.
pub struct TunPeer {
    tun: File,
    /// Its address for connect().
    pub address: SocketAddr,
}

/// Its end of a connection.
pub struct PeerEnd {
    host: SocketAddr,
    peer: SocketAddr,
    /// The peer's next sequence number.
    sequence: u32,
    /// The next sequence number expected from the host.
    expected: u32,
    /// The window that its segments announce.
    window: u16,
}

impl TunPeer {
    /// Creates the TUN device in this network namespace.
    ///
    /// # Errors
    /// A [`Skip`] if this kernel has no TUN.
    pub fn new(ip: Ip) -> Result<Self> {
        let tun = match netns::open_tun(HOST_V4, HOST_V6) {
            Ok(tun) => tun,
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENODEV | libc::ENOENT | libc::ENXIO)
                ) =>
            {
                bail!(Skip(format!("no TUN device: {error}")))
            }
            Err(error) => return Err(error).context("open a TUN device"),
        };
        let peer: IpAddr = match ip {
            Ip::V4 => PEER_V4.into(),
            Ip::V6 => PEER_V6.into(),
        };
        Ok(Self {
            tun,
            address: SocketAddr::new(peer, PEER_PORT),
        })
    }

    /// The host's own address on that device.
    pub fn host(ip: Ip) -> IpAddr {
        match ip {
            Ip::V4 => HOST_V4.into(),
            Ip::V6 => HOST_V6.into(),
        }
    }

    /// The next TCP segment to the peer for which `wanted` is true; others are skipped.
    pub fn next(&mut self, what: &str, wanted: impl Fn(&Segment) -> bool) -> Result<Segment> {
        let end = Instant::now() + PATIENCE;
        let mut packet = vec![0_u8; 65_536];
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let mut ready = libc::pollfd {
                fd: self.tun.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            let timeout_ms = libc::c_int::try_from(left.as_millis()).unwrap_or(libc::c_int::MAX);
            // SAFETY: one pollfd.
            if check(unsafe { libc::poll(&raw mut ready, 1, timeout_ms) })? == 0 {
                break;
            }
            let length = self.tun.read(&mut packet)?;
            match Segment::parse(&packet[..length]) {
                Some(segment) if segment.target == self.address && wanted(&segment) => {
                    return Ok(segment);
                }
                _ => {}
            }
        }
        bail!("the peer waited in vain for {what}")
    }

    /// Waits for a SYN and answers it; returns when the host's ACK has arrived.
    ///
    /// # Errors
    /// If the host does not connect.
    pub fn accept(&mut self) -> Result<PeerEnd> {
        let end = self.await_syn()?;
        self.answer_syn(end)
    }

    /// The same, but before the SYN is answered, the peer acknowledges data of another connection; returns when the
    /// host has answered that with a RST, and then connected nevertheless.
    pub fn accept_after_stray_ack(&mut self) -> Result<PeerEnd> {
        let end = self.await_syn()?;
        let mut stray = PeerEnd {
            expected: end.expected.wrapping_sub(10_000),
            ..end
        };
        self.send(&mut stray, Flags::ACK, b"")?;
        self.await_reset()?;
        self.answer_syn(end)
    }

    /// Waits for a SYN and sends one of its own, as if it had not received it; returns when the host has answered that.
    pub fn cross_syns(&mut self) -> Result<PeerEnd> {
        let mut end = self.await_syn()?;
        self.send(&mut end, Flags::SYN, b"")?;
        self.next("the answer to a SYN", |segment| {
            segment.flags.has(Flags::SYN.and(Flags::ACK))
        })?;
        Ok(end)
    }

    /// Waits for a SYN, without answering it.
    fn await_syn(&mut self) -> Result<PeerEnd> {
        let syn = self.next("a SYN", |segment| segment.flags.has(Flags::SYN))?;
        Ok(PeerEnd {
            host: syn.source,
            peer: syn.target,
            sequence: FIRST_SEQUENCE,
            expected: syn.sequence.wrapping_add(1),
            window: u16::MAX,
        })
    }

    /// Like [`accept`](Self::accept), but the host may send nothing: no window, not even for a FIN.
    ///
    /// # Errors
    /// If the host does not connect.
    pub fn accept_without_window(&mut self) -> Result<PeerEnd> {
        let mut end = self.await_syn()?;
        end.window = 0;
        self.answer_syn(end)
    }

    fn answer_syn(&mut self, mut end: PeerEnd) -> Result<PeerEnd> {
        self.send(&mut end, Flags::SYN.and(Flags::ACK), b"")?;
        let sequence = end.sequence;
        self.next("the ACK of the handshake", |segment| {
            segment.flags.has(Flags::ACK) && segment.acknowledged == sequence
        })?;
        Ok(end)
    }

    /// An end that has no connection with this address of the host.
    pub fn unconnected_to(&self, host: SocketAddr) -> PeerEnd {
        PeerEnd {
            host,
            peer: self.address,
            sequence: FIRST_SEQUENCE,
            expected: FIRST_SEQUENCE,
            window: u16::MAX,
        }
    }

    /// Sends a segment that acknowledges everything received so far.
    pub fn send(&mut self, end: &mut PeerEnd, flags: Flags, payload: &[u8]) -> Result<()> {
        let segment = Segment {
            source: end.peer,
            target: end.host,
            sequence: end.sequence,
            acknowledged: end.expected,
            flags,
            window: end.window,
            payload: payload.to_vec(),
        };
        end.sequence = end.sequence.wrapping_add(segment.sequence_length());
        self.tun
            .write_all(&segment.to_bytes())
            .context("write to the TUN device")
    }

    /// Sends a keepalive probe: no data, with the sequence number before the next one.
    pub fn probe(&mut self, end: &PeerEnd) -> Result<()> {
        let mut before = PeerEnd {
            sequence: end.sequence.wrapping_sub(1),
            ..*end
        };
        self.send(&mut before, Flags::ACK, b"")
    }

    /// Has a router say that it can't deliver a segment (EHOSTUNREACH).
    pub fn say_unreachable(&mut self, of: &Segment) -> Result<()> {
        let error = icmp::unreachable(of);
        self.tun
            .write_all(&error)
            .context("write to the TUN device")
    }

    /// Waits for the host's FIN, without acknowledging it.
    pub fn await_fin(&mut self) -> Result<Segment> {
        self.next("a FIN", |segment| segment.flags.has(Flags::FIN))
    }

    /// Waits for a RST.
    pub fn await_reset(&mut self) -> Result<Segment> {
        self.next("a RST", |segment| segment.flags.has(Flags::RST))
    }
}

impl PeerEnd {
    /// Decrements the next sequence number, as if a FIN, for example, had not been sent.
    pub fn step_back(&mut self) {
        self.sequence = self.sequence.wrapping_sub(1);
    }

    /// Takes a segment of the host as received: the next segment sent acknowledges it.
    pub fn acknowledge(&mut self, segment: &Segment) {
        self.expected = segment.sequence.wrapping_add(segment.sequence_length());
    }
}
