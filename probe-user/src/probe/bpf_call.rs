//! The system call bpf(), for what aya can't do.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Calls bpf() with a command of `enum bpf_cmd` and the part of `union bpf_attr` that it uses.
///
/// # Errors
/// The call's errno.
///
/// # Safety
/// `attribute` has the layout of the command, and what it points to is valid.
pub unsafe fn bpf<T>(command: libc::c_int, attribute: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the caller's promise; the attribute's length is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attribute),
            size_of::<T>(),
        )
    };
    match result {
        ..0 => Err(io::Error::last_os_error()),
        _ => Ok(result),
    }
}

/// `enum bpf_cmd`.
const BPF_PROG_TEST_RUN: libc::c_int = 10;

/// The part of `union bpf_attr` that BPF_PROG_TEST_RUN takes.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
}

const _: () = assert!(size_of::<TestRun>() == 72);

/// Runs a program once, on a context with the layout of its type. A `BPF_PROG_TYPE_SYSCALL` program may write to it
/// (bpf_prog_test_run_syscall() copies it back).
///
/// # Errors
/// The errno: this kernel can't run programs of that type, or not with such a context.
pub fn run_once(program: BorrowedFd<'_>, context: &mut [u64]) -> io::Result<()> {
    let mut attributes = TestRun {
        prog_fd: program.as_raw_fd().unsigned_abs(),
        ctx_size_in: size_of_val(context) as u32,
        ctx_in: context.as_mut_ptr() as u64,
        ..TestRun::default()
    };
    // SAFETY: the attributes have the layout of the command; `context` outlives the call, and its length is given.
    unsafe { bpf(BPF_PROG_TEST_RUN, &mut attributes) }.map(|_| ())
}
