//! Hooks of searches for a local port.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe, tracepoint},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext, TracePointContext},
};
use twtrace_wire::PortOp;

use super::{address, field};
use crate::{
    connections::transitions,
    ports::{no_address, search, syscall},
    processes::stack::{self, Ctx},
    sockets::sock::Sock,
};

/// `int inet_csk_get_port(struct sock *sk, unsigned short snum)`: 5.10 to 7.3.
#[fentry(function = "inet_csk_get_port")]
pub fn get_port_fentry(ctx: FEntryContext) -> u32 {
    search::get_port_entered(ctx.arg(0), ctx.arg::<u32>(1) as u16);
    0
}

/// `inet_csk_get_port`, at its return.
#[fexit(function = "inet_csk_get_port")]
pub fn get_port_fexit(ctx: FExitContext) -> u32 {
    search::returned(stack::ctx(&ctx), ctx.arg(2));
    0
}

/// `int inet_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)`: 5.10 to 7.3.
#[fentry(function = "inet_hash_connect")]
pub fn hash_connect_fentry(ctx: FEntryContext) -> u32 {
    connect_entered(stack::ctx(&ctx), address(&ctx, 1))
}

/// `inet_hash_connect`, at its return.
#[fexit(function = "inet_hash_connect")]
pub fn hash_connect_fexit(ctx: FExitContext) -> u32 {
    search::returned(stack::ctx(&ctx), ctx.arg(2));
    0
}

/// `int inet6_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)`: 5.10 to 7.3.
#[fentry(function = "inet6_hash_connect")]
pub fn hash_connect6_fentry(ctx: FEntryContext) -> u32 {
    connect_entered(stack::ctx(&ctx), address(&ctx, 1))
}

/// `inet6_hash_connect`, at its return.
#[fexit(function = "inet6_hash_connect")]
pub fn hash_connect6_fexit(ctx: FExitContext) -> u32 {
    search::returned(stack::ctx(&ctx), ctx.arg(2));
    0
}

/// `int __inet_bind(struct sock *sk, struct sockaddr *uaddr, int addr_len, u32 flags)`, at its return: 5.10 to 7.3
/// (`struct sockaddr_unsized` in 7.x).
#[fexit(function = "__inet_bind")]
pub fn bind_fexit(ctx: FExitContext) -> u32 {
    no_address::bind_returned(address(&ctx, 0), address(&ctx, 1), ctx.arg(4));
    0
}

/// `int __inet6_bind(struct sock *sk, struct sockaddr *uaddr, int addr_len, u32 flags)`, at its return: as above.
#[fexit(function = "__inet6_bind")]
pub fn bind6_fexit(ctx: FExitContext) -> u32 {
    no_address::bind_returned(address(&ctx, 0), address(&ctx, 1), ctx.arg(4));
    0
}

/// `static int tcp_v6_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)`, at its return: as above.
#[fexit(function = "tcp_v6_connect")]
pub fn connect6_fexit(ctx: FExitContext) -> u32 {
    no_address::connect_returned(address(&ctx, 0), address(&ctx, 1), ctx.arg(3));
    0
}

/// `inet_csk_get_port`, at its entry.
#[kprobe]
pub fn get_port_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(sock), Some(requested)) = (ctx.arg(0), ctx.arg::<u32>(1)) else {
        return 1;
    };
    search::get_port_entered(sock, requested as u16);
    0
}

/// `inet_hash_connect` and `inet6_hash_connect`, at their entry.
#[kprobe]
pub fn hash_connect_kprobe(ctx: ProbeContext) -> u32 {
    match ctx.arg(1) {
        Some(sock) => connect_entered(stack::ctx(&ctx), sock),
        None => 1,
    }
}

#[inline(always)]
fn connect_entered(ctx: Ctx, sock: u64) -> u32 {
    transitions::connects(ctx, Sock(sock));
    search::hash_connect_entered(sock);
    0
}

/// Any of the three functions, at its return.
#[kretprobe]
pub fn port_kretprobe(ctx: RetProbeContext) -> u32 {
    search::returned(stack::ctx(&ctx), ctx.ret());
    0
}

/// `syscalls:sys_enter_bind`: fd 16, umyaddr 24.
#[tracepoint]
pub fn bind_enter(ctx: TracePointContext) -> u32 {
    syscall::entered(PortOp::Bind, field(&ctx, 16), field(&ctx, 24));
    0
}

/// `syscalls:sys_enter_listen`: fd 16.
#[tracepoint]
pub fn listen_enter(ctx: TracePointContext) -> u32 {
    syscall::entered(PortOp::Listen, field(&ctx, 16), 0);
    0
}

/// `syscalls:sys_enter_connect`: fd 16, uservaddr 24.
#[tracepoint]
pub fn connect_enter(ctx: TracePointContext) -> u32 {
    syscall::entered(PortOp::Connect, field(&ctx, 16), field(&ctx, 24));
    0
}

/// `syscalls:sys_exit_bind`, `sys_exit_listen` and `sys_exit_connect`: ret 16.
#[tracepoint]
pub fn port_exit(ctx: TracePointContext) -> u32 {
    syscall::returned(stack::ctx(&ctx), field(&ctx, 16));
    0
}
