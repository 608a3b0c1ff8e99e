//! Arguments of kprobed functions, which their returns don't show.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;

use crate::{maps::ARGUMENTS, records::Arguments};

/// Which function's argument [`ARGUMENTS`] keeps. Thread-group ids never get so high.
#[derive(Clone, Copy)]
pub enum Function {
    TwskUnique = 1,
    StateProcess = 2,
}

#[inline(always)]
fn argument_key(function: Function) -> u64 {
    bpf_get_current_pid_tgid() | (function as u64) << 62
}

/// A kprobed function was entered. Both run with bottom halves off: on each CPU there
/// is one at a time.
#[inline(always)]
pub fn entered(function: Function, arguments: &Arguments) {
    let _ = ARGUMENTS.insert(argument_key(function), arguments, 0);
}

/// ... and returned: its arguments.
#[inline(always)]
pub fn returned(function: Function) -> Option<Arguments> {
    let key = argument_key(function);
    // SAFETY: plain integers in a map value that only this thread writes.
    let arguments = unsafe { *ARGUMENTS.get_ptr(key)? };
    let _ = ARGUMENTS.remove(key);
    Some(arguments)
}
