//! The kernel's table of connections: finds out whether a mini-socket has replaced its full socket.
//!
//! tcp_time_wait() puts the mini-socket at the head of the full socket's chain before it sets the full socket to CLOSE
//! (inet_twsk_hashdance, 5.10 to 7.3: `inet_hashinfo.ehash[hash & ehash_mask].chain`).

use twtrace_wire::ABSENT;

use crate::{
    constants::offset,
    sockets::{read::read, sock::Sock, state},
};

/// Bound of the search: others may have been added before it by now; the kernel keeps chains short.
const MAX_LOOKED_AT: u32 = 8;
/// `struct inet_ehash_bucket` is one pointer.
const BUCKET_BYTES: u64 = 8;

/// Whether this kernel's table can be read. From 5.18 to 6.0, `struct net` leads to it through one more pointer.
#[inline(always)]
pub fn is_readable() -> bool {
    offset!(net_tcp_hashinfo) != ABSENT
        && offset!(hashinfo_ehash) != ABSENT
        && offset!(hashinfo_ehash_mask) != ABSENT
}

/// The mini-socket with a full socket's connection; 0 if there is none or it cannot be read.
#[inline(never)]
pub fn mini_of(full: u64) -> u64 {
    if !is_readable() {
        return 0;
    }
    let full = Sock(full);
    let hash = full.hash();
    let table: u64 = read(full.net(), offset!(net_tcp_hashinfo));
    let buckets: u64 = read(table, offset!(hashinfo_ehash));
    let mask: u32 = read(table, offset!(hashinfo_ehash_mask));
    let bucket = buckets.wrapping_add((hash & mask) as u64 * BUCKET_BYTES);
    let mut node: u64 = read(bucket, 0);
    for _ in 0..MAX_LOOKED_AT {
        // A list of this kind (hlist_nulls) ends in an odd number; a failed read returns 0.
        if node & 1 != 0 || node == 0 {
            return 0;
        }
        let found = Sock(node.wrapping_sub(offset!(skc_next) as u64));
        if found.state() == state::TIME_WAIT
            && found.hash() == hash
            && found.net() == full.net()
            && found.local_port() == full.source_port()
            && found.remote_port() == full.remote_port()
        {
            return found.0;
        }
        node = read(found.0, offset!(skc_next));
    }
    0
}
