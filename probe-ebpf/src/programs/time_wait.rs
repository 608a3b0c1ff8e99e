//! Hooks of the creation and the end of mini-sockets.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe, raw_tracepoint},
    programs::{FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext},
};

use super::address;
use crate::{
    ports::reuse,
    records::Arguments,
    slots::stash::{self, Function},
    sockets::sock::Sock,
    time_wait::{birth, end, timer},
};

/// `timer_start(struct timer_list *timer, …)`: the first argument has never moved.
#[raw_tracepoint(tracepoint = "timer_start")]
pub fn timer_start_raw(ctx: RawTracePointContext) -> u32 {
    timer::started(ctx.arg(0));
    0
}

/// `timer_start`: the second program.
#[raw_tracepoint(tracepoint = "timer_start")]
pub fn timer_start_again_raw(ctx: RawTracePointContext) -> u32 {
    timer::started_again(ctx.arg(0));
    0
}

/// `inet_twsk_alloc`: the second program.
#[fexit(function = "inet_twsk_alloc")]
pub fn twsk_alloc_again_fexit(ctx: FExitContext) -> u32 {
    birth::allocated_again(
        Sock(address(&ctx, 0)),
        ctx.arg::<u32>(2) as u8,
        address(&ctx, 3),
    );
    0
}

/// `struct inet_timewait_sock *inet_twsk_alloc(const struct sock *sk, struct inet_timewait_death_row
/// *dr, const int state)`: 5.10 to 7.3. Null is a refusal.
#[fexit(function = "inet_twsk_alloc")]
pub fn twsk_alloc_fexit(ctx: FExitContext) -> u32 {
    birth::allocated(
        Sock(address(&ctx, 0)),
        ctx.arg::<u32>(2) as u8,
        address(&ctx, 3),
    );
    0
}

/// `inet_twsk_alloc`, at its entry.
#[kprobe]
pub fn twsk_alloc_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(sock), Some(substate)) = (ctx.arg(0), ctx.arg::<u32>(2)) else {
        return 1;
    };
    birth::allocating(sock, substate as u8);
    0
}

/// `inet_twsk_alloc`, at its return.
#[kretprobe]
pub fn twsk_alloc_kretprobe(ctx: RetProbeContext) -> u32 {
    birth::allocation_returned(ctx.ret());
    0
}

/// `static void inet_twsk_kill(struct inet_timewait_sock *tw)`: 5.10 to 7.3, once for each mini-socket.
#[fentry(function = "inet_twsk_kill")]
pub fn twsk_kill_fentry(ctx: FEntryContext) -> u32 {
    end::killed(Sock(address(&ctx, 0)));
    0
}

/// `inet_twsk_kill`, by kprobe.
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

/// `tw_timer_handler`, by kprobe.
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

/// `tcp_twsk_unique`, at its entry.
#[kprobe]
pub fn twsk_unique_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(sock), Some(other)) = (ctx.arg(1), ctx.arg(2)) {
        stash::entered(Function::TwskUnique, &Arguments { sock, other });
    }
    0
}

/// `tcp_twsk_unique`, at its return.
#[kretprobe]
pub fn twsk_unique_kretprobe(ctx: RetProbeContext) -> u32 {
    if let Some(Arguments { sock, other }) = stash::returned(Function::TwskUnique) {
        reuse::unique_returned(Sock(sock), other, ctx.ret());
    }
    0
}

/// `enum tcp_tw_status tcp_timewait_state_process(struct inet_timewait_sock *tw, struct sk_buff *skb, const
/// struct tcphdr *th)`, to 6.11.
#[fexit(function = "tcp_timewait_state_process")]
pub fn tw_segment_fexit_3(ctx: FExitContext) -> u32 {
    end::segment_processed(address(&ctx, 0), ctx.arg(3));
    0
}

/// `tcp_timewait_state_process` with `u32 *tw_isn` as well, 6.12 on.
#[fexit(function = "tcp_timewait_state_process")]
pub fn tw_segment_fexit_4(ctx: FExitContext) -> u32 {
    end::segment_processed(address(&ctx, 0), ctx.arg(4));
    0
}

/// `tcp_timewait_state_process` with `u32 *tw_isn` and `enum skb_drop_reason *drop_reason`, 6.16 on.
#[fexit(function = "tcp_timewait_state_process")]
pub fn tw_segment_fexit_5(ctx: FExitContext) -> u32 {
    end::segment_processed(address(&ctx, 0), ctx.arg(5));
    0
}

/// `tcp_timewait_state_process`, at its entry.
#[kprobe]
pub fn tw_segment_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(sock) = ctx.arg(0) {
        stash::entered(Function::StateProcess, &Arguments { sock, other: 0 });
    }
    0
}

/// `tcp_timewait_state_process`, at its return.
#[kretprobe]
pub fn tw_segment_kretprobe(ctx: RetProbeContext) -> u32 {
    if let Some(arguments) = stash::returned(Function::StateProcess) {
        end::segment_processed(arguments.sock, ctx.ret());
    }
    0
}

/// `timer_expire_entry(struct timer_list *timer, …)`: the first argument has never moved.
#[raw_tracepoint(tracepoint = "timer_expire_entry")]
pub fn timer_expire_raw(ctx: RawTracePointContext) -> u32 {
    timer::expired(ctx.arg(0));
    0
}

/// `timer_expire_entry`, beside the kprobes of `tw_timer_handler` and `inet_twsk_kill`.
#[raw_tracepoint(tracepoint = "timer_expire_entry")]
pub fn timer_expire_again_raw(ctx: RawTracePointContext) -> u32 {
    end::expired_by_timer(ctx.arg(0));
    0
}

/// `timer_cancel(struct timer_list *timer)`: comes before every expiry and re-arming, too.
#[raw_tracepoint(tracepoint = "timer_cancel")]
pub fn timer_cancel_raw(ctx: RawTracePointContext) -> u32 {
    timer::cancelled(ctx.arg(0));
    0
}
