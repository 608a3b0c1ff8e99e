//! Hooks of accept().

use aya_ebpf::{
    macros::{fexit, kretprobe, tracepoint},
    programs::{FExitContext, RetProbeContext, TracePointContext},
};

use super::{address, field};
use crate::connections::accept;

/// `struct sock *inet_csk_accept(struct sock *sk, int flags, int *err, bool kern)`, to 6.6.
#[fexit(function = "inet_csk_accept")]
pub fn accept_fexit_4(ctx: FExitContext) -> u32 {
    accept::accepted(address(&ctx, 0), address(&ctx, 4));
    0
}

/// `struct sock *inet_csk_accept(struct sock *sk, struct proto_accept_arg *arg)`, 6.10 on.
#[fexit(function = "inet_csk_accept")]
pub fn accept_fexit_2(ctx: FExitContext) -> u32 {
    accept::accepted(address(&ctx, 0), address(&ctx, 2));
    0
}

/// `inet_csk_accept`, at its return.
#[kretprobe]
pub fn accept_kretprobe(ctx: RetProbeContext) -> u32 {
    accept::accepted(0, ctx.ret());
    0
}

/// `syscalls:sys_exit_accept` and `sys_exit_accept4`: ret 16.
#[tracepoint]
pub fn accept_exit(ctx: TracePointContext) -> u32 {
    accept::returned(field(&ctx, 16));
    0
}
