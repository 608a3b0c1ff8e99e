//! Mini-sockets from before tracing, and how long any of them can remain.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use twtrace_wire::Unattributed;

use crate::{
    constants::{config, offset},
    maps::{counting, lost},
    sockets::{
        read::{now_ns, read},
        sock::Sock,
        state,
    },
};

/// No mini-socket lives longer than this, unless the peer prolongs it.
const MINI_LIFE_NS: u64 = 120_000_000_000;

/// Whether no mini-socket from before tracing can be left.
#[inline(always)]
pub fn old_enough() -> bool {
    now_ns().wrapping_sub(counting::since_ns()) >= MINI_LIFE_NS
}

/// Why it is not known which process created a mini-socket.
#[inline(always)]
pub fn stranger_reason(mini: Sock) -> Unattributed {
    if was_made_since_start(mini) {
        Unattributed::Lost
    } else {
        unknown_since()
    }
}

/// The reason for an unknown creator: before tracing, as long as mini-sockets from that time can exist; else lost.
#[inline(always)]
pub fn unknown_since() -> Unattributed {
    if !lost::were_full() && !old_enough() {
        Unattributed::ClosedBeforeTracing
    } else {
        Unattributed::Lost
    }
}

/// TCP_TIMEWAIT_LEN: no orphan waits longer than this as a mini-socket (tcp_rcv_state_process, tcp_close).
const MAX_WAIT_NS: u64 = 60_000_000_000;

/// More ticks than a mini-socket waits, at 1,000 ticks a second; keeps a product within 64 bits.
const MAX_TICKS: u64 = 1 << 20;

/// Whether a mini-socket that still waits for the peer's FIN was created during tracing. Its timer is started only once
/// until the FIN comes, and has so much time left that it was started during tracing.
#[inline(always)]
fn was_made_since_start(mini: Sock) -> bool {
    if read::<u8>(mini.0, offset!(tw_substate)) != state::FIN_WAIT2 {
        return false;
    }
    let timer = mini.0 + offset!(tw_timer) as u64;
    let expires: u64 = read(timer, offset!(timer_expires));
    // SAFETY: the helper takes no arguments and has no side effects.
    let now = unsafe { bpf_jiffies64() };
    let left_ns = expires
        .saturating_sub(now)
        .min(MAX_TICKS)
        .wrapping_mul(config!(tick_ns));
    let traced_ns = now_ns().saturating_sub(counting::since_ns());
    left_ns.saturating_add(traced_ns) > MAX_WAIT_NS + config!(tick_ns)
}
