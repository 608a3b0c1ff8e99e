//! Arguments of kprobed functions, which their return probes do not see.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;

use crate::{maps::ARGUMENTS, records::Arguments};

/// The function whose arguments [`ARGUMENTS`] keeps, in the top bits of the key: thread-group ids never get so high.
#[derive(Clone, Copy)]
pub enum Function {
    TwskUnique = 1,
    StateProcess = 2,
    TwskAlloc = 3,
}

#[inline(always)]
fn argument_key(function: Function) -> u64 {
    bpf_get_current_pid_tgid() | (function as u64) << 62
}

/// A kprobed function was entered. The first two functions run with bottom halves off: each CPU runs one at a time.
/// `inet_twsk_alloc` may be interrupted by softirq, which runs it for another socket in the same thread: the return of
/// the first one then finds nothing, unless the kernel skipped a program. Its caller compares what returns with what was
/// entered.
#[inline(always)]
pub fn entered(function: Function, arguments: &Arguments) {
    let _ = ARGUMENTS.insert(argument_key(function), arguments, 0);
}

/// The function returned: takes its arguments.
#[inline(always)]
pub fn returned(function: Function) -> Option<Arguments> {
    let key = argument_key(function);
    // SAFETY: integers in a map value that only this thread writes.
    let arguments = unsafe { *ARGUMENTS.get_ptr(key)? };
    let _ = ARGUMENTS.remove(key);
    Some(arguments)
}
