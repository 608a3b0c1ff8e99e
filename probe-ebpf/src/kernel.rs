//! Reading the kernel's structs, by the offsets that userspace found in BTF, and its clock.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_probe_read_kernel};
use twtrace_wire::{ABSENT, CAST_MARK, NetnsKey, TcpState, Tuple, flags};

use crate::constants::{config, offset};

pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
pub const IPPROTO_TCP: u16 = 6;
pub const IPPROTO_MPTCP: u16 = 262;

/// `enum sock_flags` of include/net/sock.h; the first five have not moved since 2.6.
const SOCK_DEAD: u64 = 1 << 0;
const SOCK_DONE: u64 = 1 << 1;
const SOCK_LINGER: u64 = 1 << 4;

/// errno values that decide how a connection died.
pub const ECONNABORTED: u32 = 103;
pub const ETIMEDOUT: u32 = 110;

/// Reads a `T` (integers only, a word at most or an array of them) at a kernel address; all zero where that faults.
#[inline(always)]
pub fn read<T: Copy>(base: u64, offset: u32) -> T {
    if config!(direct_reads) != 0 {
        // SAFETY: the kernel's just-in-time compiler guards the loads: one that faults gives zero. Integers are valid
        // whatever they are.
        return unsafe { readable(base + offset as u64).cast::<T>().read() };
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the destination is a local of the size given; the helper checks the source itself, and
    // fills the destination with zeros where it can't be read, so that it is always written.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            (base + offset as u64) as *const _,
        );
        value.assume_init()
    }
}

/// An address that a program may read at, as it is: a load, where the helper is a call and two more.
///
/// `void *bpf_rdonly_cast(const void *obj, u32 btf_id)`: any type of program, and since 6.17 with no type at all. The
/// verifier puts a move in its place.
#[inline(always)]
fn readable(address: u64) -> *const u8 {
    // SAFETY: a call by number, as the helpers' are; userspace has replaced the number.
    let cast: unsafe extern "C" fn(u64, u64) -> *const u8 =
        unsafe { core::mem::transmute(CAST_MARK as usize) };
    // SAFETY: it does nothing.
    unsafe { cast(address, 0) }
}

/// A `struct sock`, or the `sock_common` at the head of a mini-socket or request socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sock(pub u64);

/// Whether a bit field of one bit is set, at this many bits from an address. Not where the kernel does not have it.
#[inline(always)]
pub fn has_bit(address: u64, bit: u32) -> bool {
    bit != ABSENT && (read::<u8>(address, bit / 8) >> (bit % 8)) & 1 != 0
}

impl Sock {
    #[inline(always)]
    pub fn protocol(self) -> u16 {
        read(self.0, offset!(sk_protocol))
    }

    #[inline(always)]
    pub fn state(self) -> u8 {
        read(self.0, offset!(skc_state))
    }

    /// Whether a process (or kernel thread) holds the socket by lock_sock(): then what happens to it
    /// happens in that process, or while it works off the backlog. Softirq and timers find it 0.
    #[inline(always)]
    pub fn owned(self) -> bool {
        read::<u32>(self.0, offset!(sk_lock_owned)) != 0
    }

    /// The pending error (positive errno), set before →CLOSE by whatever kills the connection.
    #[inline(always)]
    pub fn error(self) -> u32 {
        read(self.0, offset!(sk_err))
    }

    #[inline(always)]
    fn flags(self) -> u64 {
        read(self.0, offset!(skc_flags))
    }

    /// The peer's FIN was processed (tcp_fin() sets it first).
    #[inline(always)]
    pub fn peer_fin_seen(self) -> bool {
        self.flags() & SOCK_DONE != 0
    }

    /// No descriptor is left.
    #[inline(always)]
    pub fn orphan(self) -> bool {
        self.flags() & SOCK_DEAD != 0
    }

    /// SO_LINGER {on, 0}.
    #[inline(always)]
    pub fn lingers_zero(self) -> bool {
        self.flags() & SOCK_LINGER != 0 && read::<u64>(self.0, offset!(sk_lingertime)) == 0
    }

    /// Never had a descriptor, or has none any more.
    #[inline(always)]
    pub fn without_file(self) -> bool {
        read::<u64>(self.0, offset!(sk_socket)) == 0
    }

    /// Its last descriptor is gone, or it never had one: fput() takes a file's last reference before __fput() closes what it
    /// is of. `f_count` is 0 then (to 6.12), `f_ref` below zero (6.13 and later, include/linux/file_ref.h: FILE_REF_DEAD).
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

    /// RCV_SHUTDOWN (1) and SEND_SHUTDOWN (2).
    #[inline(always)]
    pub fn shutdown(self) -> u8 {
        let bit = config!(sk_shutdown_bit);
        if bit == ABSENT {
            return 0;
        }
        (read::<u8>(self.0, bit / 8) >> (bit % 8)) & 3
    }

    /// TCP_LINGER2 below zero: no FIN_WAIT2, and no mini-socket.
    #[inline(always)]
    pub fn linger2_negative(self) -> bool {
        let at = offset!(tcp_linger2);
        at != ABSENT && read::<i32>(self.0, at) < 0
    }

    /// Created by the kernel itself (`sock_create_kern`).
    #[inline(always)]
    pub fn of_kernel(self) -> bool {
        has_bit(self.0, config!(sk_kern_sock_bit))
    }

    /// Whether bytes have come that the process never read. The peer's FIN counts as one in `rcv_nxt`, and in `copied_seq`
    /// once a recv() has returned 0 for it (tcp_recvmsg_locked, `found_fin_ok`).
    #[inline(always)]
    pub fn has_unread_bytes(self) -> bool {
        let received: u32 = read(self.0, offset!(tcp_rcv_nxt));
        let copied: u32 = read(self.0, offset!(tcp_copied_seq));
        received.wrapping_sub(copied) > self.peer_fin_seen() as u32
    }

    /// Inode number of the network namespace. Not `current`'s: that one may be long gone.
    #[inline(always)]
    pub fn netns(self) -> u32 {
        netns_inum(self.net())
    }

    /// Which network namespace it is, also after another one got its number.
    #[inline(always)]
    pub fn netns_key(self) -> NetnsKey {
        netns_key(self.net())
    }

    /// Address of the `struct net`.
    #[inline(always)]
    pub fn net(self) -> u64 {
        read(self.0, offset!(skc_net))
    }

    /// Of a half-open request, its listener: `rsk_listener`, in a union with `skc_flags` (include/net/request_sock.h).
    #[inline(always)]
    pub fn listener(self) -> Sock {
        Sock(read(self.0, offset!(skc_flags)))
    }

    /// The MPTCP socket this one is a subflow of, or 0.
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

    /// Hash, ports and namespace: the same in a full socket from FIN_WAIT1 on and in its mini-socket
    /// (inet_twsk_alloc copies them).
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

    /// Port as inet_sport has it: right also after →CLOSE, when inet_put_port() has cleared skc_num.
    /// Full sockets only.
    #[inline(always)]
    pub fn source_port(self) -> u16 {
        u16::from_be(read(self.0, offset!(inet_sport)))
    }

    /// IP_LOCAL_PORT_RANGE (6.3 on, and in later stable releases of 6.1): the lowest and the highest port, 0
    /// where not set. Two u16, later one u32 with the highest port in its upper half: the same bytes.
    #[inline(always)]
    pub fn own_port_range(self) -> [u16; 2] {
        let at = offset!(inet_local_port_range);
        if at == ABSENT {
            return [0; 2];
        }
        read(self.0, at)
    }

    /// Both ends. `local_port` is given because full and mini-sockets keep it in different places.
    /// Returns extra event flags.
    #[inline(always)]
    pub fn fill_tuple(self, tuple: &mut Tuple, local_port: u16) -> u16 {
        *tuple = Tuple::default();
        tuple.local_port = local_port;
        tuple.remote_port = self.remote_port();
        set_netns(tuple, self.net());
        if read::<u16>(self.0, offset!(skc_family)) == AF_INET6 {
            let local: [u32; 4] = read(self.0, offset!(skc_v6_rcv_saddr));
            let remote: [u32; 4] = read(self.0, offset!(skc_v6_daddr));
            return set_v6(tuple, local, remote);
        } else {
            let local: u32 = read(self.0, offset!(skc_rcv_saddr));
            let remote: u32 = read(self.0, offset!(skc_daddr));
            set_v4(tuple, local, remote);
        }
        0
    }
}

/// CLOCK_MONOTONIC, nanoseconds.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: no arguments, no effect.
    unsafe { bpf_ktime_get_ns() }
}

/// Inode number of a `struct net`.
#[inline(always)]
pub fn netns_inum(net: u64) -> u32 {
    if net == 0 {
        return 0;
    }
    read(net, offset!(net_inum))
}

/// Which network namespace a `struct net` is.
#[inline(always)]
pub fn netns_key(net: u64) -> NetnsKey {
    let mark = offset!(net_hash_mix);
    NetnsKey {
        netns: netns_inum(net),
        mark: if net == 0 || mark == ABSENT {
            0
        } else {
            read(net, mark)
        },
    }
}

/// Writes the network namespace into a tuple.
#[inline(always)]
pub fn set_netns(tuple: &mut Tuple, net: u64) {
    let key = netns_key(net);
    tuple.netns = key.netns;
    tuple.netns_mark = key.mark;
}

/// Writes IPv4 addresses (network order) into a zeroed tuple.
#[inline(always)]
pub fn set_v4(tuple: &mut Tuple, local: u32, remote: u32) {
    set_words(&mut tuple.local, [local, 0, 0, 0]);
    set_words(&mut tuple.remote, [remote, 0, 0, 0]);
    tuple.ip_version = 4;
}

/// Writes IPv6 addresses; a v4-mapped pair as IPv4. Returns event flags.
#[inline(always)]
pub fn set_v6(tuple: &mut Tuple, local: [u32; 4], remote: [u32; 4]) -> u16 {
    if is_mapped(local) || is_mapped(remote) {
        set_v4(tuple, local[3], remote[3]);
        return flags::MAPPED;
    }
    set_words(&mut tuple.local, local);
    set_words(&mut tuple.remote, remote);
    tuple.ip_version = 6;
    0
}

#[inline(always)]
fn set_words(address: &mut [u8; 16], words: [u32; 4]) {
    // SAFETY: addresses in a `Tuple` are 16 bytes, aligned to four.
    unsafe { address.as_mut_ptr().cast::<[u32; 4]>().write(words) }
}

/// `::ffff:0:0/96`
#[inline(always)]
fn is_mapped(words: [u32; 4]) -> bool {
    words[0] == 0 && words[1] == 0 && words[2] == 0xffff_u32.to_be()
}

/// SHUTDOWN_MASK: __tcp_close() sets it before anything else.
pub const SHUT_BOTH: u8 = 3;

/// State numbers as constants to match on.
pub mod state {
    use super::TcpState;
    pub const ESTABLISHED: u8 = TcpState::Established as u8;
    pub const SYN_SENT: u8 = TcpState::SynSent as u8;
    pub const SYN_RECV: u8 = TcpState::SynRecv as u8;
    pub const FIN_WAIT1: u8 = TcpState::FinWait1 as u8;
    pub const FIN_WAIT2: u8 = TcpState::FinWait2 as u8;
    pub const TIME_WAIT: u8 = TcpState::TimeWait as u8;
    pub const CLOSE: u8 = TcpState::Close as u8;
    pub const CLOSE_WAIT: u8 = TcpState::CloseWait as u8;
    pub const LAST_ACK: u8 = TcpState::LastAck as u8;
    pub const LISTEN: u8 = TcpState::Listen as u8;
    pub const CLOSING: u8 = TcpState::Closing as u8;
    pub const NEW_SYN_RECV: u8 = TcpState::NewSynRecv as u8;
}
