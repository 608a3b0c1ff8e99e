//! The programs twtrace loads into the kernel: thin entries, one for each hook, in front of one module
//! for each topic. Userspace chooses which of them to load (`probe-user/src/probe/`).
//!
//! Kernel functions are named with the prototypes they have from 5.10 to 7.3; where those differ there
//! is one entry for each. A pointer argument travels as `u64`: all reading of kernel memory is by
//! bpf_probe_read_kernel with offsets from BTF.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// Atomic adds are written as instructions (maps.rs).
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "a map's value passed by value is copied to the stack, which has 512 bytes"
)]

mod accept;
mod constants;
mod descriptor;
mod emit;
mod end;
mod existing;
mod kernel;
mod maps;
mod port;
mod process;
mod records;
mod reset;
mod reuse;
mod segment;
mod state;
mod story;
mod timewait;

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, fexit, kprobe, kretprobe, raw_tracepoint, tracepoint},
    programs::{
        FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext,
        TracePointContext,
    },
};
use aya_log_ebpf::warn;
use twtrace_wire::{NO_KERNEL_REASON, PortOp, Probe};

use crate::{kernel::Sock, records::Arguments};

// ---- Raw tracepoints ----

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`, since 4.16.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn state_raw(ctx: RawTracePointContext) -> u32 {
    state::transition(
        Sock(ctx.arg(0)),
        ctx.arg::<u32>(1) as u8,
        ctx.arg::<u32>(2) as u8,
    );
    0
}

/// `inet_sock_set_state`, a second time.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn state_again_raw(ctx: RawTracePointContext) -> u32 {
    state::transition_again(
        Sock(ctx.arg(0)),
        ctx.arg::<u32>(1) as u8,
        ctx.arg::<u32>(2) as u8,
    );
    0
}

/// `tcp_destroy_sock(struct sock *sk)`, since 4.16.
#[raw_tracepoint(tracepoint = "tcp_destroy_sock")]
pub fn destroy_raw(ctx: RawTracePointContext) -> u32 {
    state::destroyed(Sock(ctx.arg(0)));
    tell_of_losses(&ctx);
    0
}

/// `tcp_send_reset(const struct sock *sk, const struct sk_buff *skb)`, to 6.1: `sk` is a full socket.
#[raw_tracepoint(tracepoint = "tcp_send_reset")]
pub fn send_reset_raw(ctx: RawTracePointContext) -> u32 {
    reset::sent(ctx.arg(0), ctx.arg(1), NO_KERNEL_REASON);
    0
}

/// `tcp_send_reset(const struct sock *sk, const struct sk_buff *skb__nullable, const enum sk_rst_reason
/// reason)`, 6.12 on: `sk` may be null, a mini-socket or a request socket.
#[raw_tracepoint(tracepoint = "tcp_send_reset")]
pub fn send_reset_reason_raw(ctx: RawTracePointContext) -> u32 {
    reset::sent(ctx.arg(0), ctx.arg(1), ctx.arg::<u32>(2) as u8);
    0
}

/// `tcp_receive_reset(struct sock *sk)`, since 4.16.
#[raw_tracepoint(tracepoint = "tcp_receive_reset")]
pub fn receive_reset_raw(ctx: RawTracePointContext) -> u32 {
    reset::received(Sock(ctx.arg(0)));
    0
}

/// `timer_start(struct timer_list *timer, …)`: the first argument has never moved.
#[raw_tracepoint(tracepoint = "timer_start")]
pub fn timer_start_raw(ctx: RawTracePointContext) -> u32 {
    timewait::timer_started(ctx.arg(0));
    0
}

/// Attached to nothing: userspace runs it (BPF_PROG_TEST_RUN, 5.10 on) with a descriptor of its own in the
/// place of the first argument.
#[raw_tracepoint]
pub fn process_start(ctx: RawTracePointContext) -> u32 {
    existing::answer_process_start(ctx.arg(0));
    0
}

// ---- Classic tracepoints, where raw ones are refused; userspace checks these offsets in `format` ----

/// `sock:inet_sock_set_state`: skaddr 8, oldstate 16, newstate 20, since 4.16.
#[tracepoint]
pub fn state_tracepoint(ctx: TracePointContext) -> u32 {
    state::transition(
        Sock(field(&ctx, 8)),
        field::<u32>(&ctx, 16) as u8,
        field::<u32>(&ctx, 20) as u8,
    );
    0
}

/// `tcp:tcp_destroy_sock`: skaddr 8.
#[tracepoint]
pub fn destroy_tracepoint(ctx: TracePointContext) -> u32 {
    state::destroyed(Sock(field(&ctx, 8)));
    tell_of_losses(&ctx);
    0
}

/// `tcp:tcp_send_reset`, 6.12 on: skbaddr 8, skaddr 16, reason 28.
#[tracepoint]
pub fn send_reset_reason_tracepoint(ctx: TracePointContext) -> u32 {
    reset::sent(
        field(&ctx, 16),
        field(&ctx, 8),
        field::<u32>(&ctx, 28) as u8,
    );
    0
}

/// `tcp:tcp_send_reset`, to 6.1: skbaddr 8, skaddr 16.
#[tracepoint]
pub fn send_reset_tracepoint(ctx: TracePointContext) -> u32 {
    reset::sent(field(&ctx, 16), field(&ctx, 8), NO_KERNEL_REASON);
    0
}

/// `tcp:tcp_receive_reset`: skaddr 8.
#[tracepoint]
pub fn receive_reset_tracepoint(ctx: TracePointContext) -> u32 {
    reset::received(Sock(field(&ctx, 8)));
    0
}

// ---- Second chances: for what a program missed because it was preempted on that CPU (docs/limits.md). The
// kernel runs classic tracepoints with preemption off. The offsets are those above ----

/// `timer_start`, a second time.
#[raw_tracepoint(tracepoint = "timer_start")]
pub fn timer_start_again_raw(ctx: RawTracePointContext) -> u32 {
    timewait::timer_started_again(ctx.arg(0));
    0
}

/// `inet_twsk_alloc`, a second time.
#[fexit(function = "inet_twsk_alloc")]
pub fn twsk_alloc_again_fexit(ctx: FExitContext) -> u32 {
    timewait::allocated_again(Sock(ctx.arg(0)), ctx.arg::<u32>(2) as u8, ctx.arg(3));
    0
}

/// `sock:inet_sock_set_state`.
#[tracepoint]
pub fn state_again_tracepoint(ctx: TracePointContext) -> u32 {
    state::transition_again(
        Sock(field(&ctx, 8)),
        field::<u32>(&ctx, 16) as u8,
        field::<u32>(&ctx, 20) as u8,
    );
    0
}

/// `tcp:tcp_destroy_sock`.
#[tracepoint]
pub fn destroy_again_tracepoint(ctx: TracePointContext) -> u32 {
    state::destroyed_again(Sock(field(&ctx, 8)));
    0
}

/// `tcp:tcp_send_reset`, 6.12 on.
#[tracepoint]
pub fn send_reset_again_tracepoint(ctx: TracePointContext) -> u32 {
    reset::sent_again(
        field(&ctx, 16),
        field(&ctx, 8),
        field::<u32>(&ctx, 28) as u8,
    );
    0
}

/// `tcp:tcp_receive_reset`.
#[tracepoint]
pub fn receive_reset_again_tracepoint(ctx: TracePointContext) -> u32 {
    reset::received_again(Sock(field(&ctx, 8)));
    0
}

// ---- TIME_WAIT ----

/// `struct inet_timewait_sock *inet_twsk_alloc(const struct sock *sk, struct inet_timewait_death_row
/// *dr, const int state)`: 5.10 to 7.3. Null is a refusal.
#[fexit(function = "inet_twsk_alloc")]
pub fn twsk_alloc_fexit(ctx: FExitContext) -> u32 {
    timewait::allocated(Sock(ctx.arg(0)), ctx.arg::<u32>(2) as u8, ctx.arg(3));
    0
}

/// `inet_twsk_alloc`, entered.
#[kprobe]
pub fn twsk_alloc_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(sock), Some(substate)) = (ctx.arg(0), ctx.arg::<u32>(2)) else {
        return 1;
    };
    timewait::allocating(sock, substate as u8);
    0
}

/// `inet_twsk_alloc`, returned.
#[kretprobe]
pub fn twsk_alloc_kretprobe(ctx: RetProbeContext) -> u32 {
    timewait::allocation_returned(ctx.ret());
    0
}

/// `static void inet_twsk_kill(struct inet_timewait_sock *tw)`: 5.10 to 7.3, once for each mini-socket.
#[fentry(function = "inet_twsk_kill")]
pub fn twsk_kill_fentry(ctx: FEntryContext) -> u32 {
    end::killed(Sock(ctx.arg(0)));
    0
}

/// `inet_twsk_kill`, likewise.
#[kprobe]
pub fn twsk_kill_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(mini) = ctx.arg(0) {
        end::killed(Sock(mini));
    }
    0
}

/// `static void tw_timer_handler(struct timer_list *t)`: 5.10 to 7.3.
#[fentry(function = "tw_timer_handler")]
pub fn tw_timer_fentry(ctx: FEntryContext) -> u32 {
    end::expiring(ctx.arg(0));
    0
}

/// `tw_timer_handler`, likewise.
#[kprobe]
pub fn tw_timer_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(timer) = ctx.arg(0) {
        end::expiring(timer);
    }
    0
}

/// `int tcp_twsk_unique(struct sock *sk, struct sock *sktw, void *twp)`: 5.10 to 7.3.
#[fexit(function = "tcp_twsk_unique")]
pub fn twsk_unique_fexit(ctx: FExitContext) -> u32 {
    reuse::unique_returned(Sock(ctx.arg(1)), ctx.arg(2), ctx.arg(3));
    0
}

/// `tcp_twsk_unique`, entered.
#[kprobe]
pub fn twsk_unique_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(mini), Some(twp)) = (ctx.arg(1), ctx.arg(2)) {
        end::entered(end::Function::TwskUnique, &Arguments { mini, twp });
    }
    0
}

/// `tcp_twsk_unique`, returned.
#[kretprobe]
pub fn twsk_unique_kretprobe(ctx: RetProbeContext) -> u32 {
    if let Some(Arguments { mini, twp }) = end::returned(end::Function::TwskUnique) {
        reuse::unique_returned(Sock(mini), twp, ctx.ret());
    }
    0
}

/// `enum tcp_tw_status tcp_timewait_state_process(struct inet_timewait_sock *tw, struct sk_buff *skb, const
/// struct tcphdr *th)`, to 6.11.
#[fexit(function = "tcp_timewait_state_process")]
pub fn tw_segment_fexit_3(ctx: FExitContext) -> u32 {
    end::segment_processed(ctx.arg(0), ctx.arg(3));
    0
}

/// ... with `u32 *tw_isn`, 6.12 on.
#[fexit(function = "tcp_timewait_state_process")]
pub fn tw_segment_fexit_4(ctx: FExitContext) -> u32 {
    end::segment_processed(ctx.arg(0), ctx.arg(4));
    0
}

/// ... and with `enum skb_drop_reason *drop_reason`, 6.16 on.
#[fexit(function = "tcp_timewait_state_process")]
pub fn tw_segment_fexit_5(ctx: FExitContext) -> u32 {
    end::segment_processed(ctx.arg(0), ctx.arg(5));
    0
}

/// `tcp_timewait_state_process`, entered.
#[kprobe]
pub fn tw_segment_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(mini) = ctx.arg(0) {
        end::entered(end::Function::StateProcess, &Arguments { mini, twp: 0 });
    }
    0
}

/// `tcp_timewait_state_process`, returned.
#[kretprobe]
pub fn tw_segment_kretprobe(ctx: RetProbeContext) -> u32 {
    if let Some(arguments) = end::returned(end::Function::StateProcess) {
        end::segment_processed(arguments.mini, ctx.ret());
    }
    0
}

/// `timer_expire_entry(struct timer_list *timer, …)`: the first argument has never moved.
#[raw_tracepoint(tracepoint = "timer_expire_entry")]
pub fn timer_expire_raw(ctx: RawTracePointContext) -> u32 {
    end::timer_expired(ctx.arg(0));
    0
}

/// `timer_cancel(struct timer_list *timer)`
#[raw_tracepoint(tracepoint = "timer_cancel")]
pub fn timer_cancel_raw(ctx: RawTracePointContext) -> u32 {
    end::timer_cancelled(ctx.arg(0));
    0
}

// ---- RST without a full socket, to 6.1 ----

/// `static void tcp_v4_send_reset(const struct sock *sk, struct sk_buff *skb)`.
#[fentry(function = "tcp_v4_send_reset")]
pub fn send_reset_v4_fentry(ctx: FEntryContext) -> u32 {
    reset::sent_without_full_socket(ctx.arg(0), ctx.arg(1));
    0
}

/// `static void tcp_v6_send_reset(const struct sock *sk, struct sk_buff *skb)`.
#[fentry(function = "tcp_v6_send_reset")]
pub fn send_reset_v6_fentry(ctx: FEntryContext) -> u32 {
    reset::sent_without_full_socket(ctx.arg(0), ctx.arg(1));
    0
}

/// Both of them.
#[kprobe]
pub fn send_reset_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(sock), Some(skb)) = (ctx.arg(0), ctx.arg(1)) else {
        return 1;
    };
    reset::sent_without_full_socket(sock, skb);
    0
}

// ---- accept() ----

/// `struct sock *inet_csk_accept(struct sock *sk, int flags, int *err, bool kern)`, to 6.6.
#[fexit(function = "inet_csk_accept")]
pub fn accept_fexit_4(ctx: FExitContext) -> u32 {
    accept::accepted(ctx.arg(4));
    0
}

/// `struct sock *inet_csk_accept(struct sock *sk, struct proto_accept_arg *arg)`, 6.10 on.
#[fexit(function = "inet_csk_accept")]
pub fn accept_fexit_2(ctx: FExitContext) -> u32 {
    accept::accepted(ctx.arg(2));
    0
}

/// `inet_csk_accept`, returned.
#[kretprobe]
pub fn accept_kretprobe(ctx: RetProbeContext) -> u32 {
    accept::accepted(ctx.ret());
    0
}

/// `syscalls:sys_exit_accept` and `sys_exit_accept4`: ret 16.
#[tracepoint]
pub fn accept_exit(ctx: TracePointContext) -> u32 {
    accept::returned(field(&ctx, 16));
    0
}

// ---- Local ports ----

/// `int inet_csk_get_port(struct sock *sk, unsigned short snum)`: 5.10 to 7.3.
#[fentry(function = "inet_csk_get_port")]
pub fn get_port_fentry(ctx: FEntryContext) -> u32 {
    port::get_port_entered(ctx.arg(0), ctx.arg::<u32>(1) as u16);
    0
}

/// `inet_csk_get_port`, returned.
#[fexit(function = "inet_csk_get_port")]
pub fn get_port_fexit(ctx: FExitContext) -> u32 {
    port::returned(ctx.arg(2));
    0
}

/// `int inet_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)`: 5.10 to 7.3.
#[fentry(function = "inet_hash_connect")]
pub fn hash_connect_fentry(ctx: FEntryContext) -> u32 {
    port::hash_connect_entered(ctx.arg(1));
    0
}

/// `inet_hash_connect`, returned.
#[fexit(function = "inet_hash_connect")]
pub fn hash_connect_fexit(ctx: FExitContext) -> u32 {
    port::returned(ctx.arg(2));
    0
}

/// `int inet6_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)`: 5.10 to 7.3.
#[fentry(function = "inet6_hash_connect")]
pub fn hash_connect6_fentry(ctx: FEntryContext) -> u32 {
    port::hash_connect_entered(ctx.arg(1));
    0
}

/// `inet6_hash_connect`, returned.
#[fexit(function = "inet6_hash_connect")]
pub fn hash_connect6_fexit(ctx: FExitContext) -> u32 {
    port::returned(ctx.arg(2));
    0
}

/// `inet_csk_get_port`, entered.
#[kprobe]
pub fn get_port_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(sock), Some(requested)) = (ctx.arg(0), ctx.arg::<u32>(1)) else {
        return 1;
    };
    port::get_port_entered(sock, requested as u16);
    0
}

/// `inet_hash_connect` and `inet6_hash_connect`, entered.
#[kprobe]
pub fn hash_connect_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(sock) = ctx.arg(1) {
        port::hash_connect_entered(sock);
    }
    0
}

/// Any of the three, returned.
#[kretprobe]
pub fn port_kretprobe(ctx: RetProbeContext) -> u32 {
    port::returned(ctx.ret());
    0
}

/// `syscalls:sys_enter_bind`: fd 16, umyaddr 24.
#[tracepoint]
pub fn bind_enter(ctx: TracePointContext) -> u32 {
    port::call_entered(PortOp::Bind, field(&ctx, 16), field(&ctx, 24));
    0
}

/// `syscalls:sys_enter_listen`: fd 16.
#[tracepoint]
pub fn listen_enter(ctx: TracePointContext) -> u32 {
    port::call_entered(PortOp::Listen, field(&ctx, 16), 0);
    0
}

/// `syscalls:sys_enter_connect`: fd 16, uservaddr 24.
#[tracepoint]
pub fn connect_enter(ctx: TracePointContext) -> u32 {
    port::call_entered(PortOp::Connect, field(&ctx, 16), field(&ctx, 24));
    0
}

/// `syscalls:sys_exit_bind`, `sys_exit_listen` and `sys_exit_connect`: ret 16.
#[tracepoint]
pub fn port_exit(ctx: TracePointContext) -> u32 {
    port::call_returned(field(&ctx, 16));
    0
}

/// A field of a classic tracepoint's record; zero beyond its end.
#[inline(always)]
fn field<T: Default>(ctx: &TracePointContext, offset: usize) -> T {
    // SAFETY: the verifier bounds the read to the record.
    unsafe { ctx.read_at(offset) }.unwrap_or_default()
}

/// Tells the user's log, once for each CPU, that something is being lost; the counts go on by themselves.
#[inline(always)]
fn tell_of_losses<C: EbpfContext>(ctx: &C) {
    let losses = maps::take_untold();
    if losses == 0 {
        return;
    }
    let thread = bpf_get_current_pid_tgid() as u32;
    if losses & 1 << (Probe::StoryMap as u32) != 0 {
        warn!(
            ctx,
            "more open sockets than --max-sockets: some have no story (seen in thread {})", thread
        );
    } else if losses & 1 << (Probe::ProcessMap as u32) != 0 {
        warn!(
            ctx,
            "more processes than --max-processes: some are not counted (seen in thread {})", thread
        );
    } else {
        warn!(
            ctx,
            "events are being lost: probes {:x} (seen in thread {})", losses, thread
        );
    }
}

/// Helpers that read kernel memory are for GPL-compatible programs only; these are under the GPL too.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// For the host this is only ever checked (clippy), never run.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
