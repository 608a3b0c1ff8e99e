//! Fields of `struct sock`.

use twtrace_wire::ABSENT;

use super::read::{has_bit, read};
use crate::constants::{config, offset};

pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
pub const IPPROTO_TCP: u16 = 6;
pub const IPPROTO_MPTCP: u16 = 262;

/// `enum sock_flags` (include/net/sock.h); the first five have not moved since 2.6.
const SOCK_DEAD: u64 = 1 << 0;
const SOCK_DONE: u64 = 1 << 1;
const SOCK_LINGER: u64 = 1 << 4;

/// `SHUTDOWN_MASK` (include/net/sock.h): __tcp_close() sets it before anything else.
pub const SHUT_BOTH: u8 = 3;

/// Values of errno that decide how a connection ended.
pub const ECONNABORTED: u32 = 103;
pub const ECONNRESET: u32 = 104;
pub const EPIPE: u32 = 32;
pub const ETIMEDOUT: u32 = 110;

/// A `struct sock`, or the `sock_common` at the head of a mini-socket or request socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sock(pub u64);

impl Sock {
    #[inline(always)]
    pub fn protocol(self) -> u16 {
        read(self.0, offset!(sk_protocol))
    }

    #[inline(always)]
    pub fn state(self) -> u8 {
        read(self.0, offset!(skc_state))
    }

    /// Whether a process (or kernel thread) holds the socket by lock_sock(). Then what happens to the socket happens in
    /// that process, or while it works off the backlog. In softirq and timers this is false.
    #[inline(always)]
    pub fn owned(self) -> bool {
        read::<u32>(self.0, offset!(sk_lock_owned)) != 0
    }

    /// The pending error (positive errno). Whatever kills the connection sets it before →CLOSE.
    #[inline(always)]
    pub fn error(self) -> u32 {
        read(self.0, offset!(sk_err))
    }

    /// Whether what was sent last has been sent again: its answer did not come in time.
    #[inline(always)]
    pub fn has_retransmitted(self) -> bool {
        let times: u8 = read(self.0, offset!(icsk_retransmits));
        times != 0
    }

    #[inline(always)]
    fn flags(self) -> u64 {
        read(self.0, offset!(skc_flags))
    }

    /// Whether the peer's FIN was processed (tcp_fin() sets this flag first).
    #[inline(always)]
    pub fn peer_fin_seen(self) -> bool {
        self.flags() & SOCK_DONE != 0
    }

    /// Whether no descriptor is left.
    #[inline(always)]
    pub fn orphan(self) -> bool {
        self.flags() & SOCK_DEAD != 0
    }

    /// Whether SO_LINGER is {on, 0}.
    #[inline(always)]
    pub fn lingers_zero(self) -> bool {
        self.flags() & SOCK_LINGER != 0 && read::<u64>(self.0, offset!(sk_lingertime)) == 0
    }

    /// Whether the socket never had a descriptor, or has none any more.
    #[inline(always)]
    pub fn without_file(self) -> bool {
        read::<u64>(self.0, offset!(sk_socket)) == 0
    }

    /// Whether the last descriptor is closed, or there never was one: fput() drops the last reference to a file before
    /// __fput() closes its socket. `f_count` is 0 then (to 6.12), `f_ref` below zero (6.13 and later,
    /// include/linux/file_ref.h: FILE_REF_DEAD).
    #[inline(always)]
    pub fn is_released(self) -> bool {
        let socket: u64 = read(self.0, offset!(sk_socket));
        if socket == 0 {
            return true;
        }
        let file: u64 = read(socket, offset!(socket_file));
        if file == 0 {
            return true;
        }
        let at = offset!(file_count);
        if at != ABSENT {
            return read::<i64>(file, at) == 0;
        }
        let at = offset!(file_ref);
        at == ABSENT || read::<i64>(file, at) < 0
    }

    /// `sk_shutdown`: RCV_SHUTDOWN (1) and SEND_SHUTDOWN (2); 0 where it cannot be read.
    #[inline(always)]
    pub fn shutdown(self) -> u8 {
        let bit = config!(sk_shutdown_bit);
        if bit == ABSENT {
            return 0;
        }
        (read::<u8>(self.0, bit / 8) >> (bit % 8)) & 3
    }

    /// Whether TCP_LINGER2 is below zero: there is no FIN_WAIT2 then, and no mini-socket.
    #[inline(always)]
    pub fn linger2_negative(self) -> bool {
        let at = offset!(tcp_linger2);
        at != ABSENT && read::<i32>(self.0, at) < 0
    }

    /// Whether the kernel itself created the socket (`sock_create_kern`).
    #[inline(always)]
    pub fn of_kernel(self) -> bool {
        has_bit(self.0, config!(sk_kern_sock_bit))
    }

    /// Whether the socket holds received bytes that the process never read. The peer's FIN counts as one byte in
    /// `rcv_nxt`, and in `copied_seq` once a recv() has returned 0 for it (tcp_recvmsg_locked, `found_fin_ok`).
    #[inline(always)]
    pub fn has_unread_bytes(self) -> bool {
        self.unread_sequence() > self.peer_fin_seen() as u32
    }

    /// How many these are.
    #[inline(always)]
    pub fn unread_bytes(self) -> u32 {
        self.unread_sequence()
            .saturating_sub(self.peer_fin_seen() as u32)
    }

    #[inline(always)]
    fn unread_sequence(self) -> u32 {
        let received: u32 = read(self.0, offset!(tcp_rcv_nxt));
        let copied: u32 = read(self.0, offset!(tcp_copied_seq));
        received.wrapping_sub(copied)
    }

    /// Address of the `struct net`.
    #[inline(always)]
    pub fn net(self) -> u64 {
        read(self.0, offset!(skc_net))
    }

    /// The listener of a half-open request: `rsk_listener`, in a union with `skc_flags` (include/net/request_sock.h).
    #[inline(always)]
    pub fn listener(self) -> Sock {
        Sock(read(self.0, offset!(skc_flags)))
    }

    /// The MPTCP socket that this socket is a subflow of, or 0.
    #[inline(always)]
    pub fn mptcp_socket(self) -> u64 {
        if offset!(subflow_conn) == ABSENT {
            return 0;
        }
        let ops: u64 = read(self.0, offset!(icsk_ulp_ops));
        if ops == 0 {
            return 0;
        }
        let name: [u8; 6] = read(ops, offset!(ulp_name));
        if name != *b"mptcp\0" {
            return 0;
        }
        let context: u64 = read(self.0, offset!(icsk_ulp_data));
        if context == 0 {
            return 0;
        }
        read(context, offset!(subflow_conn))
    }

    /// The kernel's hash of the connection. Hash, ports and namespace are the same in a full socket from FIN_WAIT1 on
    /// and in its mini-socket (inet_twsk_alloc copies them).
    #[inline(always)]
    pub fn hash(self) -> u32 {
        read(self.0, offset!(skc_hash))
    }

    #[inline(always)]
    pub fn local_port(self) -> u16 {
        read(self.0, offset!(skc_num))
    }

    #[inline(always)]
    pub fn remote_port(self) -> u16 {
        u16::from_be(read(self.0, offset!(skc_dport)))
    }

    /// The local port from `inet_sport`: still valid after →CLOSE, when inet_put_port() has cleared `skc_num`. Full
    /// sockets only.
    #[inline(always)]
    pub fn source_port(self) -> u16 {
        u16::from_be(read(self.0, offset!(inet_sport)))
    }

    /// IP_LOCAL_PORT_RANGE (6.3 on, and in later stable releases of 6.1): the lowest and the highest port, 0 where not
    /// set. Two u16; later one u32 with the highest port in its upper half, which are the same bytes.
    #[inline(always)]
    pub fn own_port_range(self) -> [u16; 2] {
        let at = offset!(inet_local_port_range);
        if at == ABSENT {
            return [0; 2];
        }
        read(self.0, at)
    }
}
