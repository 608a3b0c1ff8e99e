//! Messages between two processes that may carry descriptors (SCM_RIGHTS).

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Maximum number of descriptors in a message.
pub const MAX_DESCRIPTORS: usize = 20;

/// Room for the control message of that many descriptors, aligned as its header requires.
type Control = [u64; 2 + MAX_DESCRIPTORS / 2];

/// Length of the data of a control message with this many descriptors.
const fn data_bytes(descriptors: usize) -> u32 {
    (descriptors * size_of::<RawFd>()) as u32
}

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
/// errno of sendmsg(); EINVAL for more than [`MAX_DESCRIPTORS`].
pub fn send(over: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut header = header(&mut part);
    let mut control = Control::default();
    if !descriptors.is_empty() {
        let data_bytes = data_bytes(descriptors.len());
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: arithmetic on lengths; CMSG_FIRSTHDR points to the start of `control`, which has room for
        // a header and as many descriptors.
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(data_bytes) as _;
            let message = libc::CMSG_FIRSTHDR(&raw const header);
            (*message).cmsg_level = libc::SOL_SOCKET;
            (*message).cmsg_type = libc::SCM_RIGHTS;
            (*message).cmsg_len = libc::CMSG_LEN(data_bytes) as _;
            let place = libc::CMSG_DATA(message).cast::<RawFd>();
            for (index, descriptor) in descriptors.iter().enumerate() {
                place.add(index).write_unaligned(descriptor.as_raw_fd());
            }
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

/// Waits for a message, unless the socket does not block. Returns its length, which is 0 if the other end is closed, and
/// the descriptors that it carries.
///
/// # Errors
/// errno of recvmsg().
pub fn receive(over: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut header = header(&mut part);
    let mut control = Control::default();
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
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has written whole control messages, within the length that is now in the header. Descriptors
    // that it passes have no other owner.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        if !message.is_null()
            && (*message).cmsg_level == libc::SOL_SOCKET
            && (*message).cmsg_type == libc::SCM_RIGHTS
        {
            let bytes = ((*message).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            let place = libc::CMSG_DATA(message).cast::<RawFd>();
            for index in 0..bytes / size_of::<RawFd>() {
                let descriptor = place.add(index).read_unaligned();
                descriptors.push(OwnedFd::from_raw_fd(descriptor));
            }
        }
    }
    Ok((length, descriptors))
}

/// Redirects the standard streams to /dev/null and closes everything else, so that nobody waits for this process to
/// close them, and nothing is passed on. For a child process that was just created by fork().
///
/// # Errors
/// If /dev/null can't be opened.
pub fn close_all_but(control: OwnedFd) -> io::Result<OwnedFd> {
    let nowhere = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    for stream in 0..=2 {
        // SAFETY: integers only; nothing in this process uses the streams.
        unsafe { libc::dup2(nowhere.as_raw_fd(), stream) };
    }
    drop(nowhere);
    let kept = control.as_raw_fd().cast_unsigned();
    for (first, last) in [(3, kept.saturating_sub(1)), (kept + 1, u32::MAX)] {
        if first <= last {
            close_range(first, last);
        }
    }
    Ok(control)
}

fn close_range(first: u32, last: u32) {
    // SAFETY: integers only; nothing in this process uses the descriptors.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return;
    }
    // Before 5.9.
    // SAFETY: sysconf() has no preconditions.
    let limit = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
    let limit = u32::try_from(limit).unwrap_or(1024);
    for descriptor in first..=last.min(limit) {
        // SAFETY: as above.
        unsafe { libc::close(descriptor.cast_signed()) };
    }
}

/// Lets calls return EAGAIN instead of waiting.
///
/// # Errors
/// errno of fcntl().
pub fn set_nonblocking(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: no pointers.
    let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) };
    // SAFETY: no pointers.
    match unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
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
        send(&here, b"with", &[file.as_fd(); MAX_DESCRIPTORS]).unwrap();
        send(&here, b"without", &[]).unwrap();
        let mut buffer = [0; 16];
        let (length, descriptors) = receive(&there, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"with");
        let mut text = String::new();
        assert_eq!(descriptors.len(), MAX_DESCRIPTORS);
        File::from(descriptors.into_iter().next_back().unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert!(!text.is_empty());
        let (length, descriptors) = receive(&there, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"without");
        assert!(descriptors.is_empty());
        drop(here);
        assert_eq!(receive(&there, &mut buffer).unwrap().0, 0);
    }
}
