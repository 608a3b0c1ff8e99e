//! Datagrams between processes, optionally with a descriptor.

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use super::{check, uninterrupted};

/// A pair of connected SOCK_SEQPACKET sockets: messages keep their boundaries, and a closed end reads as 0 bytes.
///
/// # Errors
/// errno of socketpair().
pub fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors into the array.
    check(unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
            ends.as_mut_ptr(),
        )
    })?;
    // SAFETY: both were created just now and have no other owner.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Buffer for the control message of one descriptor, aligned as cmsghdr.
#[repr(C, align(8))]
struct Control([u8; 32]);

/// Sends one message, with a copy of `descriptor` if there is one (SCM_RIGHTS).
///
/// # Errors
/// errno of sendmsg().
pub fn send(socket: &impl AsRawFd, message: &[u8], descriptor: Option<RawFd>) -> io::Result<()> {
    let mut part = libc::iovec {
        iov_base: message.as_ptr().cast_mut().cast(),
        iov_len: message.len(),
    };
    let mut control = Control([0; 32]);
    // SAFETY: plain integers and pointers, for which zero is valid.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if let Some(descriptor) = descriptor {
        header.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: arithmetic only.
        header.msg_controllen = unsafe { libc::CMSG_SPACE(4) } as usize;
        // SAFETY: the header points to a control buffer with room for one descriptor.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(4) as usize;
            ptr::write_unaligned(libc::CMSG_DATA(first).cast::<RawFd>(), descriptor);
        }
    }
    // SAFETY: the header points to live buffers of the lengths it contains.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Receives one message into `buffer`: its length (0: the other end is closed), and the descriptor in it.
///
/// # Errors
/// errno of recvmsg(); EAGAIN after the receive timeout, if one is set.
pub fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut control = Control([0; 32]);
    // SAFETY: plain integers and pointers, for which zero is valid.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();
    let received = uninterrupted(|| {
        // SAFETY: the header points to live buffers of the lengths it contains.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    })?;
    // SAFETY: the kernel filled the control buffer and set its length.
    let descriptor = unsafe {
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        if !first.is_null() && (*first).cmsg_type == libc::SCM_RIGHTS {
            let fd = ptr::read_unaligned(libc::CMSG_DATA(first).cast::<RawFd>());
            Some(OwnedFd::from_raw_fd(fd))
        } else {
            None
        }
    };
    Ok((received, descriptor))
}
