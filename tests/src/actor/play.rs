//! The actor's own side: runs commands until its control socket is closed.

use std::{
    io,
    os::fd::{IntoRawFd, OwnedFd},
    thread,
    time::Duration,
};

use super::{
    bulk,
    command::{AddressFamily, Answer, Command, Connection, Fd, Protocol, Reply, SocketOption},
};
use crate::sys::{Errno, descriptors, inet, process, uring};

const SCTP: i32 = 132;
const MPTCP: i32 = 262;
/// Large enough for the first wave of the crowd scenarios.
const BACKLOG: i32 = 1024;

/// Runs commands until the stage has ended, then ends the process with everything open.
pub fn play(control: OwnedFd) -> ! {
    let mut control = control;
    let mut buffer = vec![0_u8; 4096];
    loop {
        let (length, descriptor) = match descriptors::receive(&control, &mut buffer) {
            Ok((0, _)) | Err(_) => leave(),
            Ok(received) => received,
        };
        let Ok(command) = serde_json::from_slice::<Command>(&buffer[..length]) else {
            leave()
        };
        let outcome = match (command, descriptor) {
            (Command::Exit, _) => leave(),
            (Command::Adopt, Some(descriptor)) => Ok(Answer::Descriptor(descriptor.into_raw_fd())),
            (Command::Fork { name }, Some(childs_control)) => {
                match fork(&name, &mut control, childs_control) {
                    Ok(None) => continue,
                    Ok(Some(pid)) => Ok(Answer::Pid(pid)),
                    Err(error) => Err(error),
                }
            }
            (command, _) => perform(&command),
        };
        let outcome: Reply = outcome.map_err(|error| Errno::of(&error));
        let Ok(message) = serde_json::to_vec(&outcome) else {
            leave()
        };
        if descriptors::send(&control, &message, None).is_err() {
            leave();
        }
    }
}

/// Ends the process without running any of the stage's cleanup that fork() copied.
fn leave() -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) }
}

/// `None` in the child, which from now on reads commands from `childs_control`.
fn fork(name: &str, control: &mut OwnedFd, childs_control: OwnedFd) -> io::Result<Option<i32>> {
    // SAFETY: an actor has no other thread at this point, so the child may continue as it is.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            *control = childs_control;
            process::die_with_parent()?;
            process::set_name(name)?;
            Ok(None)
        }
        pid => Ok(Some(pid)),
    }
}

fn perform(command: &Command) -> io::Result<Answer> {
    match *command {
        Command::Socket { family, protocol } => open(family, protocol).map(Answer::Descriptor),
        Command::Set { fd, option } => set(fd, option).map(done),
        Command::Bind { fd, address } => {
            inet::bind(fd, address)?;
            inet::local_address(fd).map(Answer::Address)
        }
        Command::Listen { fd } => {
            inet::listen(fd, BACKLOG)?;
            inet::local_address(fd).map(Answer::Address)
        }
        Command::Connect { fd, address } => {
            inet::connect(fd, &inet::RawAddress::new(address))?;
            connection(fd)
        }
        Command::ConnectByUring { fd, address } => {
            uring::connect(fd, &inet::RawAddress::new(address))?;
            connection(fd)
        }
        Command::SendFastOpen { fd, address } => {
            inet::send_fast_open(fd, &inet::RawAddress::new(address), b"x")?;
            connection(fd)
        }
        Command::Disconnect { fd } => inet::connect(fd, &inet::RawAddress::unspecified()).map(done),
        Command::Accept { fd } => connection(inet::accept(fd)?),
        Command::Send { fd, bytes } => inet::send_all(fd, &vec![b'x'; bytes]).map(done),
        Command::Receive { fd, bytes } => receive_exactly(fd, bytes).map(done),
        Command::AwaitEnd { fd } => await_end(fd).map(done),
        Command::AwaitReset { fd } => inet::await_error_state(fd).map(done),
        Command::ShutdownWrite { fd } => inet::shutdown(fd, libc::SHUT_WR).map(done),
        Command::ShutdownBoth { fd } => inet::shutdown(fd, libc::SHUT_RDWR).map(done),
        Command::Close { fd } => inet::close(fd).map(done),
        Command::CloseByUring { fd } => uring::close(fd).map(done),
        Command::LeaveToUring { fd } => uring::leave(fd).map(done),
        Command::CloseInThread { fd, ref name } => close_in_thread(fd, name).map(done),
        Command::Pass { over, fd } => descriptors::send(&over, b"fd", Some(fd)).map(done),
        Command::TakeOver { over } => {
            let (_, descriptor) = descriptors::receive(&over, &mut [0; 8])?;
            let descriptor = descriptor.ok_or_else(|| io::Error::other("no descriptor came"))?;
            Ok(Answer::Descriptor(descriptor.into_raw_fd()))
        }
        Command::ConnectMany {
            target,
            count,
            first,
        } => bulk::connect_many(target, count, first).map(Answer::Count),
        Command::ConnectPaced {
            target,
            count,
            interval_us,
        } => bulk::connect_paced(target, count, Duration::from_micros(interval_us))
            .map(Answer::Count),
        Command::AcceptMany { fd, count, first } => {
            bulk::accept_many(fd, count, first).map(Answer::Count)
        }
        Command::ResetMany {
            target,
            first,
            count,
        } => bulk::reset_many(target, first, count).map(Answer::Count),
        Command::AcceptPolled { fd, count } => {
            bulk::accept_polled(fd, count).map(Answer::AcceptedFrom)
        }
        Command::DropPrivileges => process::drop_privileges().map(done),
        Command::Spin => loop {
            std::hint::spin_loop();
        },
        Command::Adopt | Command::Fork { .. } | Command::Exit => {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
    }
}

fn done((): ()) -> Answer {
    Answer::Done
}

/// socket() for one of the protocols.
///
/// # Errors
/// EPROTONOSUPPORT, ENOPROTOOPT, EAFNOSUPPORT if this kernel lacks it.
pub fn open(family: AddressFamily, protocol: Protocol) -> io::Result<Fd> {
    let domain = match family {
        AddressFamily::V4 => libc::AF_INET,
        AddressFamily::V6 => libc::AF_INET6,
    };
    let protocol = match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP,
        Protocol::Mptcp => MPTCP,
        Protocol::Sctp => SCTP,
    };
    inet::socket(domain, libc::SOCK_STREAM, protocol)
}

fn connection(fd: Fd) -> io::Result<Answer> {
    Ok(Answer::Connection(Connection {
        fd,
        local: inet::local_address(fd)?,
        remote: inet::remote_address(fd)?,
    }))
}

/// Calls setsockopt().
///
/// # Errors
/// Its errno.
pub fn set(fd: Fd, option: SocketOption) -> io::Result<()> {
    use libc::{IPPROTO_IP, IPPROTO_TCP, SOL_SOCKET};
    match option {
        SocketOption::LingerZero => inet::set_option(
            fd,
            SOL_SOCKET,
            libc::SO_LINGER,
            libc::linger {
                l_onoff: 1,
                l_linger: 0,
            },
        ),
        SocketOption::ReuseAddress => inet::set_option(fd, SOL_SOCKET, libc::SO_REUSEADDR, 1_i32),
        SocketOption::BindAddressNoPort => {
            inet::set_option(fd, IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1_i32)
        }
        SocketOption::LocalPortRange(low, high) => {
            // Not in libc yet (linux/in.h).
            const IP_LOCAL_PORT_RANGE: i32 = 51;
            let range = u32::from(low) | u32::from(high) << 16;
            inet::set_option(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, range)
        }
        SocketOption::UserTimeout(timeout_ms) => {
            inet::set_option(fd, IPPROTO_TCP, libc::TCP_USER_TIMEOUT, timeout_ms)
        }
        SocketOption::SendTimeout(timeout_ms) => {
            let timeout = libc::timeval {
                tv_sec: i64::from(timeout_ms / 1_000),
                tv_usec: i64::from(timeout_ms % 1_000) * 1_000,
            };
            inet::set_option(fd, SOL_SOCKET, libc::SO_SNDTIMEO, timeout)
        }
        SocketOption::QuickKeepalive => {
            inet::set_option(fd, SOL_SOCKET, libc::SO_KEEPALIVE, 1_i32)?;
            for option in [libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL, libc::TCP_KEEPCNT] {
                inet::set_option(fd, IPPROTO_TCP, option, 1_i32)?;
            }
            Ok(())
        }
        SocketOption::ReceiveErrors => {
            // The former also exists for IPv6 sockets.
            inet::set_option(fd, IPPROTO_IP, libc::IP_RECVERR, 1_i32)?;
            inet::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1_i32).or_else(|error| {
                match error.raw_os_error() {
                    Some(libc::ENOPROTOOPT) => Ok(()),
                    _ => Err(error),
                }
            })
        }
        SocketOption::Repair => inet::set_option(fd, IPPROTO_TCP, libc::TCP_REPAIR, 1_i32),
        SocketOption::Linger2(seconds) => {
            inet::set_option(fd, IPPROTO_TCP, libc::TCP_LINGER2, seconds)
        }
    }
}

fn receive_exactly(fd: Fd, bytes: usize) -> io::Result<()> {
    let mut buffer = vec![0_u8; bytes];
    let mut filled = 0;
    while filled < bytes {
        match inet::receive(fd, &mut buffer[filled..])? {
            0 => return Err(io::Error::from_raw_os_error(libc::EPIPE)),
            received => filled += received,
        }
    }
    Ok(())
}

/// Receives until the peer's FIN.
///
/// # Errors
/// The errno the stream ended with instead.
pub fn await_end(fd: Fd) -> io::Result<()> {
    let mut buffer = [0_u8; 4096];
    while inet::receive(fd, &mut buffer)? != 0 {}
    Ok(())
}

fn close_in_thread(fd: Fd, name: &str) -> io::Result<()> {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                process::set_name(name)?;
                inet::close(fd)
            })
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}
