//! Non-blocking calls on a connection.

use std::{io, os::fd::RawFd, thread};

use super::{forge, plan::StepAction};
use crate::sys::{check, inet};

/// Whether the connection is neither established nor has failed.
///
/// # Errors
/// errno of poll().
pub fn is_connecting(fd: RawFd) -> io::Result<bool> {
    let mut wanted = libc::pollfd {
        fd,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one pollfd.
    let ready = check(unsafe { libc::poll(&raw mut wanted, 1, 0) })?;
    Ok(ready == 0)
}

/// Makes a non-blocking call on a connection.
///
/// # Errors
/// errno of the call; EINVAL for an action that is no such call.
pub fn perform(fd: RawFd, action: StepAction) -> io::Result<()> {
    match action {
        StepAction::Write(bytes) => {
            let data = vec![b'x'; usize::from(bytes)];
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: pointer and length describe `data`.
            let sent = unsafe { libc::send(fd, data.as_ptr().cast(), data.len(), flags) };
            usize::try_from(sent)
                .map(drop)
                .map_err(|_| io::Error::last_os_error())
        }
        StepAction::Read => {
            let mut buffer = [0_u8; 16_384];
            let (room, flags) = (buffer.len(), libc::MSG_DONTWAIT);
            // SAFETY: pointer and length describe `buffer`.
            let received = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), room, flags) };
            usize::try_from(received)
                .map(drop)
                .map_err(|_| io::Error::last_os_error())
        }
        StepAction::Forge(forged) => forge::send(fd, forged),
        StepAction::ShutdownWrite => inet::shutdown(fd, libc::SHUT_WR),
        StepAction::ShutdownBoth => inet::shutdown(fd, libc::SHUT_RDWR),
        StepAction::Close => inet::close(fd),
        StepAction::CloseInThread => thread::scope(|scope| {
            let closing = scope.spawn(|| inet::close(fd)).join();
            closing.unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
        }),
        StepAction::Abort => {
            linger_zero(fd)?;
            inet::close(fd)
        }
        StepAction::Disconnect => {
            let disconnected = inet::connect(fd, &inet::RawAddress::unspecified());
            inet::close(fd)?;
            disconnected
        }
        StepAction::Connect
        | StepAction::Accept
        | StepAction::Hand(_)
        | StepAction::CloseListener => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// SO_LINGER {on, 0}
///
/// # Errors
/// errno of setsockopt().
pub fn linger_zero(fd: RawFd) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    inet::set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, linger)
}
