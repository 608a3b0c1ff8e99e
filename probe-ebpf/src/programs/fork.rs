//! Hooks of new processes, while a command is traced.

use aya_ebpf::{
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};

use super::field;
use crate::descendants;

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`: in the parent, before the child
/// runs for the first time.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn fork_raw(ctx: RawTracePointContext) -> u32 {
    descendants::forked(ctx.arg(1));
    0
}

/// `sched:sched_process_fork`: child_pid 44 in older kernels (5.10: names are arrays).
#[tracepoint]
pub fn fork_tracepoint_44(ctx: TracePointContext) -> u32 {
    descendants::forked_by_pid(field(&ctx, 44), true);
    0
}

/// `sched:sched_process_fork`: child_pid 20 in newer kernels (6.18: names follow the record).
#[tracepoint]
pub fn fork_tracepoint_20(ctx: TracePointContext) -> u32 {
    descendants::forked_by_pid(field(&ctx, 20), true);
    0
}

/// `sched:sched_process_fork` as above, a second time: processes without room were already counted the first time.
#[tracepoint]
pub fn fork_again_tracepoint_20(ctx: TracePointContext) -> u32 {
    descendants::forked_by_pid(field(&ctx, 20), false);
    0
}

/// Attached to nothing: userspace runs it (BPF_PROG_TEST_RUN). With 1, the processes that the caller forks from now on
/// are traced; with 0, no more.
#[raw_tracepoint]
pub fn follow_children(ctx: RawTracePointContext) -> u32 {
    descendants::follow_children_of_current(ctx.arg::<u64>(0) != 0);
    0
}
