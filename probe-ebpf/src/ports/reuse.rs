//! Reuse of TIME_WAITs by connect(), and the reasons against it.
//!
//! For each port whose tuple a TIME_WAIT holds, connect() asks tcp_twsk_unique() (net/ipv4/tcp_ipv4.c) whether it may
//! take the tuple. If not, it tries the next port, or fails. The reason is derived here by the same rules.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use twtrace_wire::{ABSENT, ReuseRefusal, Tuple};

use crate::{
    constants::offset,
    maps::REUSERS,
    ports::search,
    processes::process,
    sockets::{read::read, sock::Sock, state},
};

/// Value of net.ipv4.tcp_tw_reuse: no reuse.
const NEVER: u8 = 0;
/// Value of net.ipv4.tcp_tw_reuse: reuse between loopback addresses only.
const LOOPBACK: u8 = 2;

/// Index of the loopback device in every namespace.
const LOOPBACK_IFINDEX: u32 = 1;

/// `tcp_twsk_unique(sk, sktw, twp)` returned. With 1 the connecting task takes the tuple.
#[inline(always)]
pub fn unique_returned(mini: Sock, twp: u64, result: u32) {
    if result == 1 {
        // SAFETY: the helper takes no arguments and has no side effects.
        let connecting = process::current(unsafe { bpf_get_current_task() });
        let _ = REUSERS.insert(mini.0, &connecting, 0);
    } else {
        search::refused(refusal(mini, twp));
    }
}

/// The first reason that applies.
#[inline(always)]
fn refusal(mini: Sock, twp: u64) -> ReuseRefusal {
    if twp == 0 {
        return ReuseRefusal::BoundPort;
    }
    let net = mini.net();
    // Both settings are a byte or an int, depending on the kernel; their few values fit in the first byte.
    let setting: u8 = read(net, offset!(net_tcp_tw_reuse));
    if setting == NEVER {
        ReuseRefusal::Disabled
    } else if setting == LOOPBACK && !is_of_loopback(mini) {
        ReuseRefusal::NotLoopback
    } else if read::<u32>(mini.0, offset!(tw_ts_recent_stamp)) == 0 {
        if read::<u8>(net, offset!(net_tcp_timestamps)) == 0 {
            ReuseRefusal::TimestampsOff
        } else {
            ReuseRefusal::PeerWithoutTimestamps
        }
    } else if read::<u8>(mini.0, offset!(tw_substate)) == state::FIN_WAIT2 {
        ReuseRefusal::FinWait2
    } else {
        ReuseRefusal::TooYoung
    }
}

#[inline(always)]
fn is_of_loopback(mini: Sock) -> bool {
    let bound_device = offset!(skc_bound_dev_if);
    if bound_device != ABSENT && read::<u32>(mini.0, bound_device) == LOOPBACK_IFINDEX {
        return true;
    }
    let mut tuple = Tuple::default();
    mini.fill_tuple(&mut tuple, 0);
    if tuple.ip_version == 4 {
        return tuple.local[0] == 127 || tuple.remote[0] == 127;
    }
    is_v6_loopback(&tuple.local) || is_v6_loopback(&tuple.remote)
}

#[inline(always)]
fn is_v6_loopback(address: &[u8; 16]) -> bool {
    // SAFETY: addresses in a `Tuple` are 16 bytes, aligned to four.
    let words = unsafe { address.as_ptr().cast::<[u32; 4]>().read() };
    words[0] == 0 && words[1] == 0 && words[2] == 0 && words[3] == 1_u32.to_be()
}
