//! Hooks of RSTs that are sent and received.

use aya_ebpf::{
    macros::{fentry, kprobe, raw_tracepoint, tracepoint},
    programs::{FEntryContext, ProbeContext, RawTracePointContext, TracePointContext},
};
use twtrace_wire::NO_KERNEL_REASON;

use super::field;
use crate::{records::Program, resets::reset, sockets::sock::Sock};

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
    reset::received(Sock(ctx.arg(0)), Program::First);
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
    reset::received(Sock(field(&ctx, 8)), Program::First);
    0
}

/// `tcp:tcp_send_reset`, 6.12 on: the second program.
#[tracepoint]
pub fn send_reset_again_tracepoint(ctx: TracePointContext) -> u32 {
    reset::sent_again(
        field(&ctx, 16),
        field(&ctx, 8),
        field::<u32>(&ctx, 28) as u8,
    );
    0
}

/// `tcp:tcp_receive_reset`: the second program.
#[tracepoint]
pub fn receive_reset_again_tracepoint(ctx: TracePointContext) -> u32 {
    reset::received(Sock(field(&ctx, 8)), Program::Second);
    0
}

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

/// `tcp_v4_send_reset` and `tcp_v6_send_reset`.
#[kprobe]
pub fn send_reset_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(sock), Some(skb)) = (ctx.arg(0), ctx.arg(1)) else {
        return 1;
    };
    reset::sent_without_full_socket(sock, skb);
    0
}
