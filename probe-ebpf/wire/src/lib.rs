//! The data formats between the kernel side and userspace.
//!
//! Everything here is `#[repr(C)]`, consists of integers only, without padding, with its size asserted at compile time:
//! the bytes that a program writes into a map or the ring buffer are the bytes that userspace reads.
#![no_std]

mod bound;
mod config;
mod event;
mod existing;
mod kinds;
mod stacks;
mod totals;

pub use bound::{BUCKETS_AT_ONCE, BoundPort, BoundPorts, PORTS_AT_ONCE};
pub use config::{
    ABSENT, ATTACHING, BIRTHS_BY_TIMER, BIRTHS_HOOKED, BIRTHS_INFERRED, CAST_MARK, CLAIM_MARK,
    Config, FOLLOWING, Offsets,
};
pub use event::{
    CGROUP_V1, Cancelled, ConnectionEvent, EndEvent, PortEvent, Process, ProcessKey, Tuple,
    TupleKey, UNKNOWN,
};
pub use existing::{Existing, ExistingKey, ProcessNow};
pub use kinds::{
    ACCEPT_WAIT_NS, AbortReason, EndCause, EventKind, NO_KERNEL_REASON, PortOp, Probe,
    ResetDirection, ResetReason, ReuseRefusal, Side, StackWhat, TcpState, Unattributed, flags,
};
pub use stacks::{
    LOST_SITE, NO_SITE, REGISTERS_ABSENT, REGISTERS_BY_HELPER, REGISTERS_BY_STACK, STACK_DEPTH,
    STACK_ID_MASK, STACK_IN_MORE, STACK_LOST, STACK_OF_EXIT, STACK_OF_KERNEL_THREAD, Site,
    SiteCount, WINDOW_WORDS,
};
pub use totals::{
    LATENCY_BUCKETS, NetnsKey, NetnsTotals, PortKey, PortTotals, ProcessNames, ProcessTotals,
    bucket_lower_bound_ns, bucket_of_ns,
};

/// The kernel's `TASK_COMM_LEN`, including the final NUL.
pub const COMM_LEN: usize = 16;

#[cfg(feature = "user")]
mod pod {
    // SAFETY: each of these is `repr(C)`, made of integers (or of such structs) and without padding, as
    // the size assertions beside their definitions show, so every bit pattern is a valid value.
    unsafe impl aya::Pod for super::ProcessKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::ProcessTotals {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::ProcessNames {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::NetnsTotals {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::NetnsKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::PortKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::PortTotals {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Offsets {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Config {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::TupleKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Cancelled {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::ExistingKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Existing {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::ProcessNow {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::BoundPorts {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Site {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::SiteCount {}
}
