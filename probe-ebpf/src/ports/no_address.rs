//! Calls that fail with EADDRNOTAVAIL before the kernel looks for a port, as this host has no such address.
//!
//! - bind(): `__inet_bind()` and `__inet6_bind()` return EADDRNOTAVAIL for an address that is not local, and for nothing
//!   else: a search that fails returns EADDRINUSE.
//! - connect(): `tcp_v6_connect()` returns it without a search if no source address suits the destination
//!   (ip6_route_get_saddr), and after a search that found no port. `tcp_v4_connect()` returns other errors for the former.

use twtrace_wire::{ABSENT, EventKind, PortEvent, PortOp, Probe, ReuseRefusal, Tuple};

use super::search::fill;
use crate::{
    constants::offset,
    events::wakeup,
    maps::{EVENTS, counting, lost::count_lost},
    processes::process::actor,
    sockets::{
        read::read,
        sock::{AF_INET, AF_INET6, IPPROTO_MPTCP, IPPROTO_TCP, Sock},
        tuple::{set_netns, set_v4, set_v6},
    },
};

pub const EADDRNOTAVAIL: u16 = 99;

/// What a call asked for: its `struct sockaddr_in` or `sockaddr_in6`, in its byte order.
#[derive(Clone, Copy)]
pub struct Asked {
    pub family: u16,
    pub port: u16,
    /// The address if the family is AF_INET.
    pub v4: u32,
    /// The address if it is AF_INET6.
    pub v6: [u32; 4],
}

impl Asked {
    /// Reads it with a function of the offset.
    ///
    /// Layout of sockaddr_in6: family, port, flow label, address.
    #[inline(always)]
    pub fn from_words(word: impl Fn(u64) -> u32) -> Self {
        let [family, port] = halves(word(0));
        Self {
            family,
            port: u16::from_be(port),
            v4: word(4),
            v6: if family == AF_INET6 {
                [word(8), word(12), word(16), word(20)]
            } else {
                [0; 4]
            },
        }
    }

    /// Writes the address as both ends of a zeroed tuple. Returns event flags; `None` for another family.
    #[inline(always)]
    pub fn write(&self, tuple: &mut Tuple) -> Option<u16> {
        match self.family {
            AF_INET => {
                set_v4(tuple, self.v4, self.v4);
                Some(0)
            }
            AF_INET6 => Some(set_v6(tuple, self.v6, self.v6)),
            _ => None,
        }
    }
}

#[inline(always)]
fn halves(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_ne_bytes();
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])]
}

/// `__inet_bind(sk, uaddr, …)` or `__inet6_bind(sk, uaddr, …)` returns.
#[inline(always)]
pub fn bind_returned(sock: u64, address: u64, result: i32) {
    returned(Sock(sock), PortOp::Bind, address, result);
}

/// `tcp_v6_connect(sk, uaddr, addr_len)` returns.
#[inline(always)]
pub fn connect_returned(sock: u64, address: u64, result: i32) {
    if result == -(EADDRNOTAVAIL as i32) && never_searched(Sock(sock)) {
        returned(Sock(sock), PortOp::Connect, address, result);
    }
}

#[inline(always)]
fn returned(sock: Sock, op: PortOp, address: u64, result: i32) {
    if result != -(EADDRNOTAVAIL as i32) || !counting::has_begun() {
        return;
    }
    if let IPPROTO_TCP | IPPROTO_MPTCP = sock.protocol() {
        let asked = Asked::from_words(|at| read(address, at as u32));
        report(sock, op, &asked);
    }
}

/// Whether connect() of a TCP socket has never come to its search: tcp_v4_connect() and tcp_v6_connect() set `mss_clamp`
/// just before it, and nothing else does in a client. Zero in a new socket; tcp_disconnect() clears it.
#[inline(always)]
pub fn never_searched(sock: Sock) -> bool {
    let at = offset!(tcp_mss_clamp);
    at != ABSENT && sock.protocol() == IPPROTO_TCP && read::<u16>(sock.0, at) == 0
}

/// Reports such a call of the current process.
#[inline(never)]
pub fn report(sock: Sock, op: PortOp, asked: &Asked) {
    let Some(mut entry) = EVENTS.reserve::<PortEvent>(0) else {
        return count_lost(Probe::NoAddress);
    };
    let event = entry.as_mut_ptr();
    // SAFETY: `event` is the reserved record; every field of it is written before it is submitted. It is written in
    // place, since the verifier also compares what is on the stack.
    unsafe {
        let tuple = &mut (*event).tuple;
        *tuple = Tuple::default();
        (*event).flags = asked.write(tuple).unwrap_or(0);
        set_netns(tuple, sock.net());
        if matches!(op, PortOp::Connect) {
            tuple.local = [0; 16];
            tuple.remote_port = asked.port;
        } else {
            tuple.remote = [0; 16];
            tuple.local_port = asked.port;
        }
        (*event).requested = 0;
        (*event).refused = [0; ReuseRefusal::COUNT];
        let process = actor(sock);
        fill(event, op as u32, EADDRNOTAVAIL, 0, [0; 2], &process);
        (*event).kind = EventKind::NoAddress as u8;
    }
    entry.submit(wakeup());
}
