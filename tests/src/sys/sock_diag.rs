//! Destroys a socket from outside, as `ss -K` does.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{FromRawFd, OwnedFd},
};

use super::{check, inet};

const NETLINK_SOCK_DIAG: i32 = 4;
/// `SOCK_DESTROY` of linux/sock_diag.h.
const SOCK_DESTROY: u16 = 21;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const HEADER_BYTES: usize = 16;
/// `inet_diag_req_v2`: 8 bytes, then the `inet_diag_sockid` of 48.
const REQUEST_BYTES: usize = 56;

/// Destroys the socket with these two ends in the caller's network namespace.
///
/// # Errors
/// EOPNOTSUPP or ENOENT if this kernel can't do it (no inet_diag module, no INET_DIAG_DESTROY), or there is no such
/// socket.
pub fn destroy(local: SocketAddr, remote: SocketAddr) -> io::Result<()> {
    let socket = inet::socket(
        libc::AF_NETLINK,
        libc::SOCK_RAW | libc::SOCK_CLOEXEC,
        NETLINK_SOCK_DIAG,
    )?;
    // SAFETY: created just now, no other owner.
    let _owner = unsafe { OwnedFd::from_raw_fd(socket) };
    inet::send_all(socket, &request(local, remote))?;
    let mut answer = [0_u8; 512];
    let length = inet::receive(socket, &mut answer)?;
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    if length < HEADER_BYTES + 4 || kind != NLMSG_ERROR {
        return Err(io::Error::other("netlink gave no acknowledgement"));
    }
    let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    check(if error == 0 { 0 } else { -1 })
        .map(drop)
        .map_err(|_| io::Error::from_raw_os_error(-error))
}

fn request(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + REQUEST_BYTES);
    let length = (HEADER_BYTES + REQUEST_BYTES) as u32;
    bytes.extend(length.to_ne_bytes());
    bytes.extend(SOCK_DESTROY.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    bytes.extend([0; 8]);
    let family = if local.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    bytes.push(family as u8);
    bytes.push(libc::IPPROTO_TCP as u8);
    bytes.extend([0; 2]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(remote.port().to_be_bytes());
    for ip in [local.ip(), remote.ip()] {
        let mut field = [0_u8; 16];
        match ip {
            IpAddr::V4(v4) => field[..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => field = v6.octets(),
        }
        bytes.extend(field);
    }
    bytes.extend(0_u32.to_ne_bytes());
    // INET_DIAG_NOCOOKIE
    bytes.extend([0xff; 8]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_kernels_size() {
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert_eq!(
            request(address, address).len(),
            HEADER_BYTES + REQUEST_BYTES
        );
    }
}
