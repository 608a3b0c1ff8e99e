//! close() and connect() through io_uring, and through the end of a ring, with raw system calls.

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{check_long, inet};

const ENTRIES: u32 = 4;
const OFFSET_SQ_RING: libc::off_t = 0;
const OFFSET_CQ_RING: libc::off_t = 0x0800_0000;
const OFFSET_SQES: libc::off_t = 0x1000_0000;
const OP_CONNECT: u8 = 16;
const OP_CLOSE: u8 = 19;
const ENTER_GETEVENTS: u32 = 1;
const REGISTER_FILES: u32 = 2;
const SQE_BYTES: usize = 64;
const CQE_BYTES: usize = 16;

/// `io_sqring_offsets` of linux/io_uring.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct SqOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    flags: u32,
    dropped: u32,
    array: u32,
    reserved: u32,
    user_address: u64,
}

/// `io_cqring_offsets`
#[repr(C)]
#[derive(Clone, Copy)]
struct CqOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    overflow: u32,
    cqes: u32,
    flags: u32,
    reserved: u32,
    user_address: u64,
}

/// `io_uring_params`
#[repr(C)]
#[derive(Clone, Copy)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    reserved: [u32; 3],
    sq: SqOffsets,
    cq: CqOffsets,
}

const _: () = assert!(size_of::<Params>() == 120);

/// A part of the ring that the kernel shares with this process.
struct Mapping {
    start: *mut u8,
    length: usize,
}

impl Mapping {
    fn new(ring: RawFd, offset: libc::off_t, length: usize) -> io::Result<Self> {
        // SAFETY: a fresh mapping of a file; nothing else is touched.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                ring,
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            start: start.cast(),
            length,
        })
    }

    fn word(&self, offset: u32) -> &AtomicU32 {
        assert!(offset as usize + 4 <= self.length);
        // SAFETY: inside the mapping (asserted), aligned by the kernel, and shared with it as an atomic.
        unsafe { AtomicU32::from_ptr(self.start.add(offset as usize).cast()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no reference outlives `self`.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

fn set_up() -> io::Result<(OwnedFd, Params)> {
    // SAFETY: plain integers, for which zero is valid.
    let mut params: Params = unsafe { mem::zeroed() };
    // SAFETY: the kernel reads and writes `params`.
    let ring =
        check_long(unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut params) })?;
    // SAFETY: created just now, no other owner.
    Ok((unsafe { OwnedFd::from_raw_fd(ring as RawFd) }, params))
}

/// Passes `fd` to a ring; a kernel worker closes its files (io_ring_exit_work) when the ring is closed.
pub fn leave(fd: RawFd) -> io::Result<()> {
    let (ring, _) = set_up()?;
    // SAFETY: the kernel reads one descriptor.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            ring.as_raw_fd(),
            REGISTER_FILES,
            &raw const fd,
            1,
        )
    })?;
    inet::close(fd)
}

/// Closes `fd` with an IORING_OP_CLOSE of a ring of its own.
///
/// # Errors
/// As [`perform`].
pub fn close(fd: RawFd) -> io::Result<()> {
    perform(OP_CLOSE, fd, 0, 0)
}

/// Connects `fd` with an IORING_OP_CONNECT of a ring of its own.
///
/// # Errors
/// As [`perform`].
pub fn connect(fd: RawFd, address: &inet::RawAddress) -> io::Result<()> {
    let length = u64::from(address.length());
    perform(OP_CONNECT, fd, length, address.as_ptr() as u64)
}

/// Submits one entry to a ring of its own, and waits for it. The meaning of `offset` and `address` depends on the
/// operation.
///
/// # Errors
/// ENOSYS or EPERM if io_uring is missing or disabled; otherwise the errno of the call that failed, or that of the
/// operation itself.
fn perform(operation: u8, fd: RawFd, offset: u64, address: u64) -> io::Result<()> {
    let (ring, params) = set_up()?;
    let submissions = Mapping::new(
        ring.as_raw_fd(),
        OFFSET_SQ_RING,
        params.sq.array as usize + params.sq_entries as usize * 4,
    )?;
    let completions = Mapping::new(
        ring.as_raw_fd(),
        OFFSET_CQ_RING,
        params.cq.cqes as usize + params.cq_entries as usize * CQE_BYTES,
    )?;
    let entries = Mapping::new(
        ring.as_raw_fd(),
        OFFSET_SQES,
        params.sq_entries as usize * SQE_BYTES,
    )?;

    // SAFETY: the first entry lies inside the mapping: opcode at 0, descriptor at 4, offset at 8, address at 16; the
    // rest is zero.
    unsafe {
        ptr::write_bytes(entries.start, 0, SQE_BYTES);
        entries.start.write(operation);
        entries.start.add(4).cast::<i32>().write(fd);
        entries.start.add(8).cast::<u64>().write(offset);
        entries.start.add(16).cast::<u64>().write(address);
    }
    submissions
        .word(params.sq.array)
        .store(0, Ordering::Relaxed);
    let tail = submissions.word(params.sq.tail);
    tail.store(tail.load(Ordering::Relaxed) + 1, Ordering::Release);
    // SAFETY: integers, and no signal mask.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            ring.as_raw_fd(),
            1,
            1,
            ENTER_GETEVENTS,
            ptr::null::<libc::c_void>(),
            0,
        )
    })?;
    let head = completions.word(params.cq.head);
    if head.load(Ordering::Relaxed) == completions.word(params.cq.tail).load(Ordering::Acquire) {
        return Err(io::Error::other("io_uring gave no completion"));
    }
    // The result follows the 8 bytes of user data of the first completion.
    let result = completions
        .word(params.cq.cqes + 8)
        .load(Ordering::Acquire)
        .cast_signed();
    head.store(1, Ordering::Release);
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    Ok(())
}

/// Whether this kernel lets this process use io_uring.
///
/// # Errors
/// The reason: ENOSYS or EPERM.
pub fn available() -> io::Result<()> {
    let probe = inet::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?;
    let closed = close(probe);
    if closed.is_err() {
        let _ = inet::close(probe);
    }
    closed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_descriptor_is_gone() {
        let fd = inet::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).unwrap();
        match close(fd) {
            Ok(()) => assert!(inet::close(fd).is_err()),
            Err(error) => assert!(
                matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)),
                "{error}"
            ),
        }
    }
}
