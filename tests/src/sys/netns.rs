//! Network namespaces, and their devices.

use std::{
    fs::{self, File, OpenOptions},
    io, mem,
    net::{Ipv4Addr, Ipv6Addr},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    process::Command,
    thread,
    time::Duration,
};

use super::{check, inet};

/// Name of the only TUN device.
const TUN_NAME: &str = "tun0";
/// `TUNSETIFF` of linux/if_tun.h.
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;

/// Moves the calling thread into a new network namespace, with `lo` up. Returns the namespace's inode number.
pub fn enter_new() -> io::Result<u64> {
    // SAFETY: integers only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    set_up("lo")?;
    own()
}

/// Inode number of the calling thread's network namespace.
///
/// # Errors
/// If there is no /proc.
pub fn own() -> io::Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.ino())
}

/// A socket for interface ioctls.
fn control_socket(domain: i32) -> io::Result<OwnedFd> {
    let fd = inet::socket(domain, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)?;
    // SAFETY: created just now, no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn request_for(device: &str) -> libc::ifreq {
    // SAFETY: plain bytes, for which zero is valid.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *slot = byte as libc::c_char;
    }
    request
}

fn set_up(device: &str) -> io::Result<()> {
    let socket = control_socket(libc::AF_INET)?;
    let mut request = request_for(device);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
        .map(drop)
}

/// `in6_ifreq` of linux/ipv6.h.
#[repr(C)]
struct Ipv6Request {
    address: libc::in6_addr,
    prefix_length: u32,
    interface: libc::c_int,
}

/// A TUN device in this namespace, with an address in 10.9.0.0/24 and one in fd09::/64. Packets to other addresses of
/// these networks can be read from the file, and packets written to it arrive in the namespace.
///
/// # Errors
/// errno of the call that failed: ENOENT, ENODEV if this kernel has no TUN.
pub fn open_tun(v4: Ipv4Addr, v6: Ipv6Addr) -> io::Result<File> {
    let tun = open_clone_device()?;
    let mut request = request_for(TUN_NAME);
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes an ifreq.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), TUNSETIFF, &raw mut request) })?;
    set_up(TUN_NAME)?;
    set_v4(libc::SIOCSIFADDR, v4)?;
    set_v4(libc::SIOCSIFNETMASK, Ipv4Addr::new(255, 255, 255, 0))?;
    let socket = control_socket(libc::AF_INET6)?;
    let name = std::ffi::CString::new(TUN_NAME)?;
    // SAFETY: a NUL-terminated name.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    let request = Ipv6Request {
        address: libc::in6_addr {
            s6_addr: v6.octets(),
        },
        prefix_length: 64,
        interface: index as libc::c_int,
    };
    // SAFETY: on an AF_INET6 socket SIOCSIFADDR reads an in6_ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &raw const request) })?;
    await_usable(v6)?;
    Ok(tun)
}

/// The kernel enables a new IPv6 address in a work queue: until then a connect() would use another one.
fn await_usable(address: Ipv6Addr) -> io::Result<()> {
    const TENTATIVE: u32 = 0x40;
    let digits: String = address
        .octets()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for _ in 0..5000 {
        // Address, interface, prefix length, scope, flags, name.
        let text = fs::read_to_string("/proc/self/net/if_inet6")?;
        let flags = text
            .lines()
            .find(|line| line.starts_with(&digits))
            .and_then(|line| line.split_whitespace().nth(4))
            .and_then(|flags| u32::from_str_radix(flags, 16).ok());
        if flags.is_some_and(|flags| flags & TENTATIVE == 0) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Err(io::Error::other(format!("{address} stays tentative")))
}

fn set_v4(operation: libc::Ioctl, address: Ipv4Addr) -> io::Result<()> {
    let socket = control_socket(libc::AF_INET)?;
    let mut request = request_for(TUN_NAME);
    let value = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.octets()),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: sockaddr_in and sockaddr have the same size and are plain bytes.
    request.ifr_ifru.ifru_addr =
        unsafe { mem::transmute::<libc::sockaddr_in, libc::sockaddr>(value) };
    // SAFETY: these operations read an ifreq with an address.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), operation, &raw const request) }).map(drop)
}

/// `/dev/net/tun`, created (and its module loaded) if a small system lacks it.
fn open_clone_device() -> io::Result<File> {
    const PATH: &str = "/dev/net/tun";
    let open = || OpenOptions::new().read(true).write(true).open(PATH);
    if let Ok(file) = open() {
        return Ok(file);
    }
    // Without modprobe, or without the module, the second open() fails.
    let _ = Command::new("modprobe").arg("tun").output();
    if fs::metadata(PATH).is_err() {
        fs::create_dir_all("/dev/net")?;
        // SAFETY: a NUL-terminated path.
        check(unsafe {
            libc::mknod(
                c"/dev/net/tun".as_ptr(),
                libc::S_IFCHR | 0o600,
                libc::makedev(10, 200),
            )
        })?;
    }
    open()
}

/// An rtnetlink message in the kernel's layout: header, route, and two attributes.
#[repr(C)]
struct NewRoute {
    header: libc::nlmsghdr,
    family: u8,
    destination_bits: u8,
    source_bits: u8,
    tos: u8,
    table: u8,
    protocol: u8,
    scope: u8,
    kind: u8,
    flags: u32,
    destination_length: u16,
    destination_type: u16,
    destination: [u8; 16],
    interface_length: u16,
    interface_type: u16,
    interface: u32,
}

/// Makes `lo` accept every address of an IPv6 network as this namespace's own (`ip -6 route add local NET dev lo`).
///
/// # Errors
/// errno of the call, or of the kernel's answer.
pub fn accept_all_of(net: Ipv6Addr, bits: u8) -> io::Result<()> {
    const ANSWER_BYTES: usize = 256;
    // SAFETY: a NUL-terminated name.
    let lo = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
    let request = NewRoute {
        header: libc::nlmsghdr {
            nlmsg_len: size_of::<NewRoute>() as u32,
            nlmsg_type: libc::RTM_NEWROUTE,
            nlmsg_flags: (libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE) as u16,
            nlmsg_seq: 1,
            nlmsg_pid: 0,
        },
        family: libc::AF_INET6 as u8,
        destination_bits: bits,
        source_bits: 0,
        tos: 0,
        table: libc::RT_TABLE_LOCAL,
        protocol: libc::RTPROT_STATIC,
        scope: libc::RT_SCOPE_UNIVERSE,
        kind: libc::RTN_LOCAL,
        flags: 0,
        destination_length: 20,
        destination_type: libc::RTA_DST,
        destination: net.octets(),
        interface_length: 8,
        interface_type: libc::RTA_OIF,
        interface: lo,
    };
    let socket = inet::socket(
        libc::AF_NETLINK,
        libc::SOCK_RAW | libc::SOCK_CLOEXEC,
        libc::NETLINK_ROUTE,
    )?;
    // SAFETY: created just now, no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: plain integers without padding, of the length that is given.
    let bytes = unsafe {
        std::slice::from_raw_parts((&raw const request).cast::<u8>(), size_of::<NewRoute>())
    };
    inet::send_all(socket.as_raw_fd(), bytes)?;
    let mut answer = [0; ANSWER_BYTES];
    let length = inet::receive(socket.as_raw_fd(), &mut answer)?;
    // nlmsgerr: the error follows the header.
    match answer[..length].get(16..20).map(<[u8; 4]>::try_from) {
        Some(Ok([0, 0, 0, 0])) => Ok(()),
        Some(Ok(error)) => Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(error))),
        _ => Err(io::Error::other("a short answer of rtnetlink")),
    }
}
