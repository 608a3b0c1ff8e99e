//! The kernel's table of local ports: which of them belong to a bind(), so that connect() skips them.
//!
//! `struct inet_bind_bucket` represents a port of a namespace while any socket holds it. __inet_hash_connect() takes a
//! port only if it has no bucket, or if `fastreuse` and `fastreuseport` are both below 0, which means that connect()
//! chose it. From 6.18 on, a port returns to that state when the last socket that got it from bind() has left
//! (`sk_userlocks`, SOCK_CONNECT_BIND; `tw_connect_bind`). Before 6.18, it does so when it has no socket any more.

use twtrace_wire::{ABSENT, BUCKETS_AT_ONCE, BoundPort, PORTS_AT_ONCE};

use crate::{
    answers::identity::net_of,
    constants::offset,
    maps::BOUND_PORTS,
    sockets::{read::read, tuple::netns_inum},
};

/// Limit of entries read in one chain. Ports that share a bucket belong to different namespaces: all but small machines
/// have 65,536 buckets.
const MAX_IN_CHAIN: u32 = 64;
/// `struct hlist_head`, the last member of `struct inet_bind_hashbucket`, is one pointer.
const HEAD_BYTES: u32 = 8;

/// Whether this kernel's table can be read.
#[inline(always)]
fn is_readable() -> bool {
    offset!(net_tcp_hashinfo) != ABSENT
        && offset!(hashinfo_bhash) != ABSENT
        && offset!(hashinfo_bhash_size) != ABSENT
        && offset!(bhash_chain) != ABSENT
        && offset!(bind_bucket_net) != ABSENT
        && offset!(bind_bucket_port) != ABSENT
        && offset!(bind_bucket_fastreuse) != ABSENT
        && offset!(bind_bucket_fastreuseport) != ABSENT
        && offset!(bind_bucket_node) != ABSENT
}

/// Answers userspace, which runs the program itself with a descriptor of its own namespace's file: the ports of all
/// namespaces in [`BUCKETS_AT_ONCE`] buckets, starting with this one. (Namespaces with their own table of connections
/// share this table: inet_pernet_hashinfo_alloc, 6.1.)
#[inline(always)]
pub fn answer(descriptor: u64, first: u64) {
    let Some(answer) = BOUND_PORTS.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a map value; there is only one caller.
    unsafe {
        (*answer).buckets = 0;
        (*answer).count = 0;
        (*answer).missed = 0;
    }
    let net = net_of(descriptor);
    if !is_readable() || net == 0 {
        return;
    }
    let table: u64 = read(net, offset!(net_tcp_hashinfo));
    let heads: u64 = read(table, offset!(hashinfo_bhash));
    let buckets: u32 = read(table, offset!(hashinfo_bhash_size));
    // SAFETY: as above.
    unsafe { (*answer).buckets = buckets }
    for index in 0..BUCKETS_AT_ONCE as u64 {
        let number = first.wrapping_add(index);
        if number >= buckets as u64 {
            break;
        }
        name_bound_chain(heads, number);
    }
}

/// Names the ports in one chain that belong to a bind(). A global function, like the next one: the verifier checks each
/// on its own, once, and not for each bucket.
///
/// The chain is not locked and may change. Buckets come from a slab of their own and are named by their own contents.
/// If one is removed at this moment, those after it may be missed, as if the chain had been read a moment later or
/// earlier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn name_bound_chain(heads: u64, number: u64) -> u32 {
    let stride = (offset!(bhash_chain) + HEAD_BYTES) as u64;
    let head = heads.wrapping_add(number.wrapping_mul(stride));
    let mut node: u64 = read(head, offset!(bhash_chain));
    for _ in 0..MAX_IN_CHAIN {
        if node == 0 {
            return 0;
        }
        name_bound(node);
        node = read(node, 0);
    }
    missed();
    1
}

/// Names the port of this node if it belongs to a bind().
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn name_bound(node: u64) -> u32 {
    let bucket = node.wrapping_sub(offset!(bind_bucket_node) as u64);
    let reuse: i8 = read(bucket, offset!(bind_bucket_fastreuse));
    let reuse_port: i8 = read(bucket, offset!(bind_bucket_fastreuseport));
    if reuse < 0 && reuse_port < 0 {
        return 0;
    }
    let port: u16 = read(bucket, offset!(bind_bucket_port));
    let net: u64 = read(bucket, offset!(bind_bucket_net));
    let named = BoundPort {
        netns: netns_inum(net),
        port: port as u32,
    };
    let Some(answer) = BOUND_PORTS.get_ptr_mut(0) else {
        return 1;
    };
    // SAFETY: a map value; there is only one caller, and the index is within the array.
    unsafe {
        let index = (*answer).count as usize;
        if index >= PORTS_AT_ONCE {
            missed();
            return 1;
        }
        (*answer).ports[index & (PORTS_AT_ONCE - 1)] = named;
        (*answer).count = index as u32 + 1;
    }
    0
}

/// Marks the answer as incomplete.
#[inline(always)]
fn missed() {
    if let Some(answer) = BOUND_PORTS.get_ptr_mut(0) {
        // SAFETY: a map value; there is only one caller.
        unsafe { (*answer).missed += 1 };
    }
}
