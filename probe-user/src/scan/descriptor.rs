//! Messages between two processes that may carry a descriptor (SCM_RIGHTS).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Room for the control message of one descriptor, aligned as its header requires.
type Control = [u64; 4];

/// A pair of connected sockets that keep message boundaries; exec closes both.
///
/// # Errors
/// errno of socketpair().
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both descriptors were just created and have no other owner.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

fn header(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: plain numbers and pointers, for which zero is valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header
}

/// Sends a message, which must not be empty.
///
/// # Errors
/// errno of sendmsg().
pub fn send(over: &OwnedFd, bytes: &[u8], descriptor: Option<BorrowedFd>) -> io::Result<()> {
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut header = header(&mut part);
    let mut control: Control = [0; 4];
    if let Some(descriptor) = descriptor {
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: arithmetic on lengths; CMSG_FIRSTHDR points to the start of `control`, which has room for
        // a header and one descriptor.
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
            let message = libc::CMSG_FIRSTHDR(&raw const header);
            (*message).cmsg_level = libc::SOL_SOCKET;
            (*message).cmsg_type = libc::SCM_RIGHTS;
            (*message).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
            libc::CMSG_DATA(message)
                .cast::<RawFd>()
                .write_unaligned(descriptor.as_raw_fd());
        }
    }
    loop {
        // SAFETY: all that the header points to lives until here; sendmsg() does not write to it.
        let sent =
            unsafe { libc::sendmsg(over.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) };
        match (sent >= 0, io::Error::last_os_error()) {
            (true, _) => return Ok(()),
            (false, error) if error.kind() == io::ErrorKind::Interrupted => {}
            (false, error) => return Err(error),
        }
    }
}

/// Waits for a message. Returns its length, which is 0 if the other end is closed, and the descriptor that it
/// carries.
///
/// # Errors
/// errno of recvmsg().
pub fn receive(over: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut header = header(&mut part);
    let mut control: Control = [0; 4];
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of::<Control>() as _;
    let length = loop {
        // SAFETY: the kernel writes to the buffer and to `control` within their lengths.
        let length =
            unsafe { libc::recvmsg(over.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
        match usize::try_from(length) {
            Ok(length) => break length,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    };
    // SAFETY: the kernel has written whole control messages, within the length that is now in the header. A
    // descriptor that it passes has no other owner. `control` has room for one only.
    let descriptor = unsafe {
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        let carries = !message.is_null()
            && (*message).cmsg_level == libc::SOL_SOCKET
            && (*message).cmsg_type == libc::SCM_RIGHTS
            && (*message).cmsg_len as usize >= libc::CMSG_LEN(size_of::<RawFd>() as u32) as usize;
        carries.then(|| {
            OwnedFd::from_raw_fd(libc::CMSG_DATA(message).cast::<RawFd>().read_unaligned())
        })
    };
    Ok((length, descriptor))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn bytes_and_descriptors_go_over() {
        let (here, there) = pair().unwrap();
        let file = File::open("/proc/self/comm").unwrap();
        send(&here, b"with", Some(file.as_fd())).unwrap();
        send(&here, b"without", None).unwrap();
        let mut buffer = [0; 16];
        let (length, descriptor) = receive(&there, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"with");
        let mut text = String::new();
        File::from(descriptor.unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert!(!text.is_empty());
        let (length, descriptor) = receive(&there, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"without");
        assert!(descriptor.is_none());
        drop(here);
        assert_eq!(receive(&there, &mut buffer).unwrap().0, 0);
    }
}
