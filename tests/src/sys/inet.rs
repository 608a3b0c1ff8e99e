//! Socket addresses, and the socket calls that actors use.

use std::{
    io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::RawFd,
    ptr,
};

use super::{check, socklen, uninterrupted};

/// An address as the kernel expects it.
pub struct RawAddress {
    storage: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl RawAddress {
    pub fn length(&self) -> libc::socklen_t {
        self.length
    }

    /// From an IPv4 or IPv6 address.
    pub fn new(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self::of(&libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => Self::of(&libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }

    /// AF_UNSPEC: connect() to it disconnects.
    pub fn unspecified() -> Self {
        Self::of(&libc::sockaddr {
            sa_family: libc::AF_UNSPEC as libc::sa_family_t,
            sa_data: [0; 14],
        })
    }

    fn of<T: Copy>(address: &T) -> Self {
        const { assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>()) };
        // SAFETY: sockaddr_storage is plain bytes, for which zero is valid.
        let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
        // SAFETY: both are plain bytes, and T fits (asserted above).
        unsafe { ptr::copy_nonoverlapping(address, (&raw mut storage).cast::<T>(), 1) };
        Self {
            storage,
            length: socklen(size_of::<T>()),
        }
    }

    pub fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }
}

/// Reads the address that a kernel call wrote.
fn parse(storage: &libc::sockaddr_storage) -> io::Result<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family shows that the storage holds this type; it is large and aligned enough.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Ok(SocketAddr::V4(SocketAddrV4::new(
                ip,
                u16::from_be(v4.sin_port),
            )))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Ok(SocketAddr::V6(SocketAddrV6::new(
                ip,
                u16::from_be(v6.sin6_port),
                0,
                0,
            )))
        }
        family => Err(io::Error::other(format!("address family {family}"))),
    }
}

/// Converts an IPv4 address from an IPv6 socket to IPv4.
pub fn unmapped(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 => v4,
    };
    SocketAddr::new(ip, address.port())
}

/// socket()
///
/// # Errors
/// errno of the call; the same for all functions below.
pub fn socket(domain: i32, kind: i32, protocol: i32) -> io::Result<RawFd> {
    // SAFETY: integers only.
    check(unsafe { libc::socket(domain, kind, protocol) })
}

/// bind()
pub fn bind(fd: RawFd, address: SocketAddr) -> io::Result<()> {
    let raw = RawAddress::new(address);
    // SAFETY: pointer and length describe `raw`, which outlives the call.
    check(unsafe { libc::bind(fd, raw.as_ptr(), raw.length) }).map(drop)
}

/// listen()
pub fn listen(fd: RawFd, backlog: i32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::listen(fd, backlog) }).map(drop)
}

/// connect()
pub fn connect(fd: RawFd, address: &RawAddress) -> io::Result<()> {
    // SAFETY: pointer and length describe `address`, which outlives the call.
    check(unsafe { libc::connect(fd, address.as_ptr(), address.length) }).map(drop)
}

/// sendto(MSG_FASTOPEN): connects and sends.
pub fn send_fast_open(fd: RawFd, address: &RawAddress, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: pointers and lengths describe `bytes` and `address`, which outlive the call.
    let sent = unsafe {
        libc::sendto(
            fd,
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL,
            address.as_ptr(),
            address.length,
        )
    };
    usize::try_from(sent).map_or_else(|_| Err(io::Error::last_os_error()), |_| Ok(()))
}

/// accept()
pub fn accept(fd: RawFd) -> io::Result<RawFd> {
    uninterrupted(|| {
        // SAFETY: null address: the kernel writes none.
        check(unsafe { libc::accept(fd, ptr::null_mut(), ptr::null_mut()) })
    })
}

/// accept4() with these flags: the new descriptor, and the peer's address, which the kernel returns even for a
/// connection that has been reset.
pub fn accept_from(fd: RawFd, flags: i32) -> io::Result<(RawFd, SocketAddr)> {
    // SAFETY: plain bytes, for which zero is valid.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut length = socklen(size_of_val(&storage));
    let address = (&raw mut storage).cast();
    // SAFETY: pointers to the storage and its length.
    let accepted = check(unsafe { libc::accept4(fd, address, &raw mut length, flags) })?;
    Ok((accepted, parse(&storage)?))
}

/// Sets O_NONBLOCK.
pub fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) }).map(drop)
}

/// shutdown()
pub fn shutdown(fd: RawFd, how: i32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::shutdown(fd, how) }).map(drop)
}

/// close()
pub fn close(fd: RawFd) -> io::Result<()> {
    // SAFETY: an actor's descriptors are plain numbers without another owner.
    check(unsafe { libc::close(fd) }).map(drop)
}

/// setsockopt() with any plain value.
pub fn set_option<T: Copy>(fd: RawFd, level: i32, name: i32, value: T) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`.
    check(unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const value).cast(),
            socklen(size_of::<T>()),
        )
    })
    .map(drop)
}

/// getsockopt() of a plain value.
pub fn option<T: Copy + Default>(fd: RawFd, level: i32, name: i32) -> io::Result<T> {
    let mut value = T::default();
    let mut length = socklen(size_of::<T>());
    // SAFETY: pointer and length describe `value`, a plain one.
    check(unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) })?;
    Ok(value)
}

/// Non-blocking send() to an address.
pub fn send_to(fd: RawFd, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
    let to = RawAddress::new(to);
    // SAFETY: pointers and lengths describe the bytes and the address.
    let sent = unsafe {
        libc::sendto(
            fd,
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_DONTWAIT,
            to.as_ptr(),
            to.length,
        )
    };
    usize::try_from(sent)
        .map(drop)
        .map_err(|_| io::Error::last_os_error())
}

/// getsockname()
pub fn local_address(fd: RawFd) -> io::Result<SocketAddr> {
    name_by(|address, length| {
        // SAFETY: `name_by` passes a storage and its length.
        unsafe { libc::getsockname(fd, address, length) }
    })
}

/// getpeername()
pub fn remote_address(fd: RawFd) -> io::Result<SocketAddr> {
    name_by(|address, length| {
        // SAFETY: as above.
        unsafe { libc::getpeername(fd, address, length) }
    })
}

fn name_by(
    call: impl Fn(*mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int,
) -> io::Result<SocketAddr> {
    // SAFETY: plain bytes, for which zero is valid.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut length = socklen(size_of_val(&storage));
    check(call((&raw mut storage).cast(), &raw mut length))?;
    parse(&storage)
}

/// Sends all of `bytes`.
pub fn send_all(fd: RawFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: pointer and length describe `bytes`.
        let sent =
            unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
        let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

/// Receives available data, at least one byte; 0 at the peer's FIN.
pub fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    uninterrupted(|| {
        // SAFETY: pointer and length describe `buffer`.
        let received = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    })
}

/// Waits until a RST has broken the connection: poll() returns POLLERR or POLLHUP.
///
/// # Errors
/// ETIMEDOUT after 30 seconds; errno of poll().
pub fn await_error_state(fd: RawFd) -> io::Result<()> {
    let mut wanted = libc::pollfd {
        fd,
        events: 0,
        revents: 0,
    };
    // SAFETY: one pollfd.
    let ready = uninterrupted(|| check(unsafe { libc::poll(&raw mut wanted, 1, 30_000) }))?;
    match ready {
        0 => Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_there_and_back() {
        for text in ["127.0.0.1:80", "[::1]:65535", "[fd09::2]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(parse(&RawAddress::new(address).storage).unwrap(), address);
        }
    }
}
