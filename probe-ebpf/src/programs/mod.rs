//! The programs: thin entries, one for each hook, grouped by topic as in the plans of userspace
//! (`probe-user/core/src/hooks/plan/`).
//!
//! Classic tracepoints read their records at offsets that userspace has checked in the tracepoint's `format`. A program
//! named `…_again` is the second program of a hook: it handles what the first one missed because it was preempted on
//! that CPU (docs/limits.md). The kernel runs classic tracepoints with preemption off.

mod accept;
mod fork;
mod port;
mod reset;
mod state_changes;
mod time_wait;

use aya_ebpf::{EbpfContext, helpers::bpf_get_current_pid_tgid, programs::TracePointContext};
use aya_log_ebpf::warn;
use twtrace_wire::Probe;

use crate::{constants::config, maps::lost, sockets::read::read};

/// A field of a classic tracepoint's record; zero beyond its end.
#[inline(always)]
pub fn field<T: Default>(ctx: &TracePointContext, offset: usize) -> T {
    // SAFETY: the verifier bounds the read to the record.
    unsafe { ctx.read_at(offset) }.unwrap_or_default()
}

/// An argument of a traced function (or, after them, its return value) as a number. Where connection states have slots,
/// the index is computed from the address. The verifier allows no arithmetic on pointers for this, and the arguments of
/// fentry and fexit programs are pointers.
#[inline(always)]
pub fn address<C: EbpfContext>(ctx: &C, index: u32) -> u64 {
    if config!(conn_slot_bits) == 0 {
        // SAFETY: the context is an array of arguments, and the traced function has this one.
        return unsafe { ctx.as_ptr().cast::<u64>().add(index as usize).read() };
    }
    read(ctx.as_ptr() as u64, index * size_of::<u64>() as u32)
}

/// Warns in the user's log, once for each CPU, that something is being lost; the counts continue.
#[inline(always)]
pub fn tell_of_losses<C: EbpfContext>(ctx: &C) {
    let losses = lost::take_untold();
    if losses == 0 {
        return;
    }
    let thread = bpf_get_current_pid_tgid() as u32;
    if losses & 1 << (Probe::SocketMap as u32) != 0 {
        warn!(
            ctx,
            "more open sockets than --max-sockets: some have no connection state (seen in thread {})",
            thread
        );
    } else if losses & 1 << (Probe::ProcessMap as u32) != 0 {
        warn!(
            ctx,
            "more processes than --max-processes: some are not counted (seen in thread {})", thread
        );
    } else if losses & 1 << (Probe::DescendantMap as u32) != 0 {
        warn!(
            ctx,
            "more processes of the command than there is room for (--max-processes): some are not reported"
        );
    } else {
        warn!(
            ctx,
            "events are being lost: probes {:x} (seen in thread {})", losses, thread
        );
    }
}
