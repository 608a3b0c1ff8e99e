//! Figures of this network namespace in /proc/net.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

/// The kernel's counters that the births of mini-sockets are compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelCounters {
    /// TcpExt TW.
    pub time_wait: u64,
    /// TcpExt TWKilled.
    pub time_wait_killed: u64,
    /// TcpExt TCPTimeWaitOverflow.
    pub overflow: u64,
    /// Tcp OutRsts.
    pub resets_sent: u64,
    /// Tcp EstabResets.
    pub connections_reset: u64,
    /// TcpExt TCPAbortOnClose.
    pub abort_on_close: u64,
    /// TcpExt TWRecycled.
    pub recycled: u64,
    /// Live mini-sockets, from sockstat; this one is not a counter.
    pub alive: u64,
}

impl KernelCounters {
    /// The current values in the caller's network namespace.
    ///
    /// # Errors
    /// If /proc/net/netstat or snmp can't be read or has another form.
    pub fn read() -> io::Result<Self> {
        let netstat = fs::read_to_string("/proc/thread-self/net/netstat")?;
        let snmp = fs::read_to_string("/proc/thread-self/net/snmp")?;
        let sockstat = fs::read_to_string("/proc/thread-self/net/sockstat")?;
        Self::parse(&netstat, &snmp, &sockstat)
    }

    fn parse(netstat: &str, snmp: &str, sockstat: &str) -> io::Result<Self> {
        Ok(Self {
            time_wait: counter(netstat, "TcpExt:", "TW")?,
            time_wait_killed: counter(netstat, "TcpExt:", "TWKilled")?,
            overflow: counter(netstat, "TcpExt:", "TCPTimeWaitOverflow")?,
            resets_sent: counter(snmp, "Tcp:", "OutRsts")?,
            connections_reset: counter(snmp, "Tcp:", "EstabResets")?,
            abort_on_close: counter(netstat, "TcpExt:", "TCPAbortOnClose")?,
            recycled: counter(netstat, "TcpExt:", "TWRecycled")?,
            alive: alive(sockstat)?,
        })
    }

    /// The increase since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            time_wait: self.time_wait.wrapping_sub(earlier.time_wait),
            time_wait_killed: self.time_wait_killed.wrapping_sub(earlier.time_wait_killed),
            overflow: self.overflow.wrapping_sub(earlier.overflow),
            resets_sent: self.resets_sent.wrapping_sub(earlier.resets_sent),
            connections_reset: self
                .connections_reset
                .wrapping_sub(earlier.connections_reset),
            abort_on_close: self.abort_on_close.wrapping_sub(earlier.abort_on_close),
            recycled: self.recycled.wrapping_sub(earlier.recycled),
            alive: self.alive,
        }
    }

    /// Births of mini-sockets, if the kernel counts them when they are created (6.1 and later).
    pub fn births(self) -> u64 {
        self.time_wait + self.time_wait_killed
    }
}

/// `TCP: inuse 7 orphan 0 tw 2 alloc 9 mem 1`
fn alive(sockstat: &str) -> io::Result<u64> {
    let mut words = sockstat
        .lines()
        .find_map(|line| line.strip_prefix("TCP: "))
        .unwrap_or_default()
        .split_whitespace();
    words
        .find(|word| *word == "tw")
        .and_then(|_| words.next()?.parse().ok())
        .ok_or_else(|| io::Error::other("no tw in sockstat"))
}

/// A counter from a file that has a line of names and a line of values for each group.
fn counter(text: &str, group: &str, name: &str) -> io::Result<u64> {
    let mut lines = text
        .lines()
        .filter(|line| line.split_whitespace().next() == Some(group));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return Err(io::Error::other(format!("no counters {group}")));
    };
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find(|(found, _)| *found == name)
        .and_then(|(_, value)| value.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no counter {group} {name}")))
}

/// Timer of a mini-socket, in /proc/net/tcp.
pub const MINI_SOCKET: u8 = 3;

/// States as /proc/net/tcp prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `01`
    Established,
    /// `04`
    FinWait1,
    /// `05`: also a mini-socket that still waits for the peer's FIN
    FinWait2,
    /// `06`
    TimeWait,
    /// `08`
    CloseWait,
    /// `0B`
    Closing,
    /// Any other state.
    Other,
}

/// One line of /proc/net/tcp or tcp6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcSocket {
    /// Local address; v4-mapped ones unchanged.
    pub local: SocketAddr,
    /// Remote address.
    pub remote: SocketAddr,
    /// State; of a mini-socket, its substate.
    pub state: State,
    /// Bytes that have arrived and are unread.
    pub unread: u64,
    /// Which timer runs: 2 keepalive, 3 that of a mini-socket.
    pub timer: u8,
    /// 0 for sockets without a file: orphans, mini-sockets, children that wait for accept().
    pub inode: u64,
}

/// Every TCP socket of the caller's network namespace.
///
/// # Errors
/// If /proc/net/tcp can't be read.
pub fn sockets() -> io::Result<Vec<ProcSocket>> {
    let mut found = Vec::new();
    for name in ["tcp", "tcp6"] {
        match fs::read_to_string(format!("/proc/thread-self/net/{name}")) {
            Ok(text) => found.extend(text.lines().skip(1).filter_map(parse_socket)),
            // A kernel without IPv6.
            Err(error) if name == "tcp6" && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn parse_socket(line: &str) -> Option<ProcSocket> {
    let mut fields = line.split_whitespace().skip(1);
    let local = parse_address(fields.next()?)?;
    let remote = parse_address(fields.next()?)?;
    let state = match fields.next()? {
        "01" => State::Established,
        "04" => State::FinWait1,
        "05" => State::FinWait2,
        "06" => State::TimeWait,
        "08" => State::CloseWait,
        "0B" => State::Closing,
        _ => State::Other,
    };
    // tx:rx queues, timer:when, retransmits, uid, timeout, inode.
    let (_, unread) = fields.next()?.split_once(':')?;
    let unread = u64::from_str_radix(unread, 16).ok()?;
    let (timer, _) = fields.next()?.split_once(':')?;
    let timer = u8::from_str_radix(timer, 16).ok()?;
    let inode = fields.nth(3)?.parse().ok()?;
    Some(ProcSocket {
        local,
        remote,
        state,
        unread,
        timer,
        inode,
    })
}

/// Hexadecimal words in the machine's byte order, each with 32 bits of address in network order.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_net_tcp_is_read() {
        let line = "   0: 0100007F:1F90 0100007F:A001 05 00000000:0000012C 03:00001770 00000000     0        0 4711 3 0";
        let socket = parse_socket(line).unwrap();
        assert_eq!(socket.local.to_string(), "127.0.0.1:8080");
        assert_eq!(socket.remote.to_string(), "127.0.0.1:40961");
        assert_eq!(socket.state, State::FinWait2);
        assert_eq!((socket.unread, socket.inode), (300, 4711));
    }

    #[test]
    fn an_ipv6_address_is_read() {
        let address = parse_address(
            "000000000000000000000000 01000000:0050"
                .replace(' ', "")
                .as_str(),
        );
        assert_eq!(address.unwrap().to_string(), "[::1]:80");
    }

    #[test]
    fn counters_are_found_by_name() {
        let netstat = "TcpExt: TWKilled TW X TCPTimeWaitOverflow TWRecycled TCPAbortOnClose\nTcpExt: 2 3 4 5 6 8\nIpExt: A\nIpExt: 1\n";
        let snmp = "Ip: OutRsts\nIp: 9\nTcp: InErrs OutRsts EstabResets\nTcp: 0 7 10\n";
        let sockstat = "sockets: used 9\nTCP: inuse 7 orphan 0 tw 2 alloc 9 mem 1\n";
        let counters = KernelCounters::parse(netstat, snmp, sockstat).unwrap();
        assert_eq!(counters.births(), 5);
        assert_eq!(counters.overflow, 5);
        assert_eq!(counters.resets_sent, 7);
        assert_eq!((counters.recycled, counters.alive), (6, 2));
        assert!(KernelCounters::parse("TcpExt: TW\nTcpExt: 1\n", snmp, sockstat).is_err());
    }
}
