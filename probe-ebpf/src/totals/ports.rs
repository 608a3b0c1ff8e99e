//! Searches for a local port, by process and operation.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use twtrace_wire::{LATENCY_BUCKETS, PortKey, PortOp, ProcessKey, bucket_of_ns, flags};

use super::entries::{in_this_epoch, of_port};
use crate::{
    maps::atomic::{increment, increment_u32},
    processes::process,
    records::Conn,
};

/// Counts a search under its process and operation. Three arguments hold two numbers each: thread group and reason why
/// there is none; operation and whether it is exact; errno and flags.
///
/// A global function: the verifier checks it on its own, once. In a program that calls functions, kernels before 6.3
/// take the value of every number to matter (`__mark_reg_unknown()`). The paths through this code would then multiply
/// with the paths to it, up to a million instructions.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_search(
    process: u64,
    start_boot_ns: u64,
    operation: u64,
    latency_ns: u64,
    outcome: u64,
) -> u32 {
    let key = PortKey {
        process: in_this_epoch(ProcessKey {
            tgid: process as u32,
            unattributed: (process >> 32) as u32,
            start_boot_ns,
        }),
        op: operation as u32,
        exact: (operation >> 32) as u32,
    };
    let (errno, how) = (outcome as u16, (outcome >> 32) as u16);
    let Some(totals) = of_port(&key) else {
        return 1;
    };
    // SAFETY: all inside the map value. Two threads of one process may race for the maximum; the histogram counts both.
    unsafe {
        increment(&raw mut (*totals).count);
        if errno != 0 {
            increment(&raw mut (*totals).failures);
        }
        if how & flags::UNTIMED != 0 {
            increment(&raw mut (*totals).untimed);
            return 0;
        }
        if (*totals).max_ns < latency_ns {
            (*totals).max_ns = latency_ns;
        }
        // The verifier must see the bound on the value that is used.
        let bucket = core::hint::black_box(bucket_of_ns(latency_ns)) & (LATENCY_BUCKETS - 1);
        increment_u32((&raw mut (*totals).buckets).cast::<u32>().add(bucket));
    }
    0
}

/// Counts a connect() that established its connection: by far the most frequent call, of which nothing else is
/// recorded. SYN_SENT has entered the process's names, and the socket is not the kernel's.
#[inline(always)]
pub fn count_connected() {
    // SAFETY: the helper takes no arguments and has no side effects.
    let task = unsafe { bpf_get_current_task() };
    let key = PortKey {
        process: in_this_epoch(process::current_key(task)),
        op: PortOp::Connect as u32,
        exact: 0,
    };
    if let Some(totals) = of_port(&key) {
        // SAFETY: inside the map value.
        unsafe {
            increment(&raw mut (*totals).count);
            increment(&raw mut (*totals).untimed);
        }
    }
}

/// Counts the failure of a search that was already counted.
#[inline(always)]
pub fn count_failed(conn: &Conn) {
    let key = PortKey {
        process: in_this_epoch(conn.opener.key),
        op: PortOp::Connect as u32,
        exact: 0,
    };
    if let Some(totals) = of_port(&key) {
        // SAFETY: inside the map value.
        unsafe { increment(&raw mut (*totals).failures) }
    }
}
