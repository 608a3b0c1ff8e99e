//! The two ends of a connection and its network namespace: as a tuple for events, and as a map key.

use twtrace_wire::{ABSENT, NetnsKey, Tuple, TupleKey, flags};

use super::{
    read::read,
    sock::{AF_INET6, Sock},
};
use crate::constants::offset;

impl Sock {
    /// Inode number of the socket's network namespace. Not that of `current`, whose namespace may have ended long ago.
    #[inline(always)]
    pub fn netns(self) -> u32 {
        netns_inum(self.net())
    }

    /// Whether a listener's local address is any, or that of the child.
    #[inline(always)]
    pub fn takes_address_of(self, child: Sock) -> bool {
        let family: u16 = read(self.0, offset!(skc_family));
        if family != read(child.0, offset!(skc_family)) {
            return false;
        }
        if family == AF_INET6 {
            let own: [u64; 2] = read(self.0, offset!(skc_v6_rcv_saddr));
            let its: [u64; 2] = read(child.0, offset!(skc_v6_rcv_saddr));
            return own == [0; 2] || own == its;
        }
        let own: u32 = read(self.0, offset!(skc_rcv_saddr));
        own == 0 || own == read(child.0, offset!(skc_rcv_saddr))
    }

    /// Identity of the network namespace. It stays distinct after another namespace gets the same number.
    #[inline(always)]
    pub fn netns_key(self) -> NetnsKey {
        netns_key(self.net())
    }

    /// Fills in both ends. `local_port` is given because full sockets and mini-sockets keep it in different places.
    /// Returns event flags.
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

/// The key of a connection. `local_port` is given because full sockets and mini-sockets keep it in different places.
#[inline(always)]
pub fn tuple_key(sock: Sock, local_port: u16) -> TupleKey {
    TupleKey {
        net: sock.net(),
        hash: sock.hash(),
        local_port,
        remote_port: sock.remote_port(),
    }
}

/// Inode number of a `struct net`, or 0 for none.
#[inline(always)]
pub fn netns_inum(net: u64) -> u32 {
    if net == 0 {
        return 0;
    }
    read(net, offset!(net_inum))
}

/// Identity of a `struct net`: its inode number and a mark that differs for the next namespace with this number.
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

/// Writes IPv4 addresses (in network byte order) into a zeroed tuple.
#[inline(always)]
pub fn set_v4(tuple: &mut Tuple, local: u32, remote: u32) {
    set_words(&mut tuple.local, [local, 0, 0, 0]);
    set_words(&mut tuple.remote, [remote, 0, 0, 0]);
    tuple.ip_version = 4;
}

/// Writes IPv6 addresses; a v4-mapped pair is written as IPv4. Returns event flags.
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

/// Whether an address is v4-mapped: `::ffff:0:0/96`.
#[inline(always)]
fn is_mapped(words: [u32; 4]) -> bool {
    words[0] == 0 && words[1] == 0 && words[2] == 0xffff_u32.to_be()
}
