//! Records in the ring buffer, except those of searches for a port, which [`ports`](crate::ports) writes.

pub mod emit;
pub mod ended;

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};

use crate::{constants::config, maps::EVENTS};

/// Wakes userspace when the ring holds `wake_bytes` or more. Otherwise userspace finds the events at its next tick.
#[inline(always)]
pub fn wakeup() -> u64 {
    if EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) >= config!(wake_bytes) {
        u64::from(BPF_RB_FORCE_WAKEUP)
    } else {
        u64::from(BPF_RB_NO_WAKEUP)
    }
}
