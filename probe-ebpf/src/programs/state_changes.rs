//! Hooks of state transitions and of the end of a socket.

use aya_ebpf::{
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};

use super::{field, tell_of_losses};
use crate::{
    answers::{bound, identity},
    connections::{closed, transitions},
    processes::stack,
    records::Program,
    sockets::sock::Sock,
};

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`, since 4.16.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn state_raw(ctx: RawTracePointContext) -> u32 {
    transitions::transition(
        stack::ctx(&ctx),
        Sock(ctx.arg(0)),
        ctx.arg::<u32>(1) as u8,
        ctx.arg::<u32>(2) as u8,
        Program::First,
    );
    0
}

/// `inet_sock_set_state`: the second program.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn state_again_raw(ctx: RawTracePointContext) -> u32 {
    transitions::transition_again(
        stack::ctx(&ctx),
        Sock(ctx.arg(0)),
        ctx.arg::<u32>(1) as u8,
        ctx.arg::<u32>(2) as u8,
    );
    0
}

/// `tcp_destroy_sock(struct sock *sk)`, since 4.16.
#[raw_tracepoint(tracepoint = "tcp_destroy_sock")]
pub fn destroy_raw(ctx: RawTracePointContext) -> u32 {
    closed::destroyed(stack::ctx(&ctx), Sock(ctx.arg(0)));
    tell_of_losses(&ctx);
    0
}

/// Attached to nothing: userspace runs it (BPF_PROG_TEST_RUN, 5.10 on). The first argument is a descriptor of the
/// caller.
#[raw_tracepoint]
pub fn process_now(ctx: RawTracePointContext) -> u32 {
    identity::answer_process_now(ctx.arg(0));
    0
}

/// Attached to nothing: userspace runs it with a descriptor of a namespace's file (`/proc/PID/ns/net`).
#[raw_tracepoint]
pub fn netns_identity(ctx: RawTracePointContext) -> u32 {
    identity::answer_netns_identity(ctx.arg(0));
    0
}

/// Attached to nothing: userspace runs it with a descriptor of its own namespace's file and the number of a bucket.
#[raw_tracepoint]
pub fn bound_ports(ctx: RawTracePointContext) -> u32 {
    bound::answer(ctx.arg(0), ctx.arg(1));
    0
}

/// `sock:inet_sock_set_state`: skaddr 8, oldstate 16, newstate 20, since 4.16.
#[tracepoint]
pub fn state_tracepoint(ctx: TracePointContext) -> u32 {
    transitions::transition(
        stack::ctx(&ctx),
        Sock(field(&ctx, 8)),
        field::<u32>(&ctx, 16) as u8,
        field::<u32>(&ctx, 20) as u8,
        Program::First,
    );
    0
}

/// `tcp:tcp_destroy_sock`: skaddr 8.
#[tracepoint]
pub fn destroy_tracepoint(ctx: TracePointContext) -> u32 {
    closed::destroyed(stack::ctx(&ctx), Sock(field(&ctx, 8)));
    tell_of_losses(&ctx);
    0
}

/// `sock:inet_sock_set_state`: the second program.
#[tracepoint]
pub fn state_again_tracepoint(ctx: TracePointContext) -> u32 {
    transitions::transition_again(
        stack::ctx(&ctx),
        Sock(field(&ctx, 8)),
        field::<u32>(&ctx, 16) as u8,
        field::<u32>(&ctx, 20) as u8,
    );
    0
}

/// `tcp:tcp_destroy_sock`: the second program.
#[tracepoint]
pub fn destroy_again_tracepoint(ctx: TracePointContext) -> u32 {
    closed::destroyed_again(stack::ctx(&ctx), Sock(field(&ctx, 8)));
    0
}
