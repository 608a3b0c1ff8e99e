//! Reads the kernel's own counters of TIME_WAITs and of connections that failed, by network namespace.

use std::fs;
use std::io;
use std::path::Path;

use twtrace_core::model::audit::{Counters, FailureCounters};

/// Why the counters can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CountersError {
    /// A file can't be read.
    #[error("reading {0}")]
    Read(String, #[source] io::Error),
    /// A file lacks a counter.
    #[error("{0} has no {1}")]
    Missing(&'static str, &'static str),
}

/// Reads the counters of the namespace that a directory such as `/proc/PID/net` shows.
///
/// # Errors
/// If the directory was removed, or its files are not as expected.
pub fn read(net_directory: &Path) -> Result<Counters, CountersError> {
    let read = |name: &str| {
        let path = net_directory.join(name);
        fs::read_to_string(&path)
            .map_err(|error| CountersError::Read(path.display().to_string(), error))
    };
    parse(&read("netstat")?, &read("snmp")?, &read("sockstat")?)
}

/// The counters in these files of one namespace.
///
/// # Errors
/// If they are not as expected.
pub fn parse(netstat: &str, snmp: &str, sockstat: &str) -> Result<Counters, CountersError> {
    let counter =
        |name| tcp_ext(netstat, name).ok_or(CountersError::Missing("/proc/net/netstat", name));
    let of_tcp = |name| {
        of_protocol(snmp, "Tcp:", name).ok_or(CountersError::Missing("/proc/net/snmp", name))
    };
    Ok(Counters {
        tw: counter("TW")?,
        tw_killed: counter("TWKilled")?,
        tw_recycled: counter("TWRecycled")?,
        overflow: counter("TCPTimeWaitOverflow")?,
        alive: sockstat_alive(sockstat)
            .ok_or(CountersError::Missing("/proc/net/sockstat", "TCP: tw"))?,
        resets_sent: of_tcp("OutRsts")?,
        connections_reset: of_tcp("EstabResets")?,
        others: FailureCounters {
            attempts_failed: of_tcp("AttemptFails")?,
            abort_on_data: counter("TCPAbortOnData")?,
            abort_on_close: counter("TCPAbortOnClose")?,
            abort_on_memory: counter("TCPAbortOnMemory")?,
            abort_on_timeout: counter("TCPAbortOnTimeout")?,
            abort_on_linger: counter("TCPAbortOnLinger")?,
        },
    })
}

/// A counter of TcpExt.
pub fn tcp_ext(netstat: &str, name: &str) -> Option<u64> {
    of_protocol(netstat, "TcpExt:", name)
}

/// A counter of TCP's MIB.
pub fn tcp_mib(snmp: &str, name: &str) -> Option<u64> {
    of_protocol(snmp, "Tcp:", name)
}

/// netstat and snmp have a line of names, then a line of values. Each begins with the protocol.
fn of_protocol(file: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = file.lines().filter(|line| line.starts_with(protocol));
    let (names, values) = (lines.next()?, lines.next()?);
    names
        .split(' ')
        .zip(values.split(' '))
        .find(|(known, _)| *known == name)?
        .1
        .parse()
        .ok()
}

/// Mini-sockets alive: `TCP: inuse 1 orphan 0 tw 5 alloc 1 mem 130`
pub fn sockstat_alive(sockstat: &str) -> Option<u64> {
    sockstat_tcp(sockstat, "tw")
}

/// Full TCP sockets that exist, in all namespaces together: `alloc` in the line above.
pub fn sockstat_allocated(sockstat: &str) -> Option<u64> {
    sockstat_tcp(sockstat, "alloc")
}

fn sockstat_tcp(sockstat: &str, name: &str) -> Option<u64> {
    let line = sockstat
        .lines()
        .find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == name)?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETSTAT: &str = "\
TcpExt: TW TWRecycled TWKilled TCPTimeWaitOverflow TCPAbortOnData TCPAbortOnClose TCPAbortOnMemory TCPAbortOnTimeout TCPAbortOnLinger
TcpExt: 40 3 2 1 11 12 13 14 15
IpExt: InNoRoutes TW
IpExt: 0 99
";
    const SNMP: &str = "\
Ip: InReceives OutRsts
Ip: 7 8
Tcp: AttemptFails EstabResets InErrs OutRsts InCsumErrors
Tcp: 10 6 0 5 0
";
    const SOCKSTAT: &str = "\
sockets: used 12
TCP: inuse 1 orphan 0 tw 7 alloc 4 mem 130
UDP: inuse 0 mem 0
";

    #[test]
    fn each_is_found() {
        assert_eq!(
            parse(NETSTAT, SNMP, SOCKSTAT).unwrap(),
            Counters {
                tw: 40,
                tw_killed: 2,
                tw_recycled: 3,
                overflow: 1,
                alive: 7,
                resets_sent: 5,
                connections_reset: 6,
                others: FailureCounters {
                    attempts_failed: 10,
                    abort_on_data: 11,
                    abort_on_close: 12,
                    abort_on_memory: 13,
                    abort_on_timeout: 14,
                    abort_on_linger: 15,
                },
            }
        );
    }

    #[test]
    fn sockets_are_counted() {
        assert_eq!(sockstat_alive(SOCKSTAT), Some(7));
        assert_eq!(sockstat_allocated(SOCKSTAT), Some(4));
        assert_eq!(sockstat_allocated("UDP: alloc 3\n"), None);
    }

    #[test]
    fn counters_that_went_back_are_another_namespaces() {
        let earlier = parse(NETSTAT, SNMP, SOCKSTAT).unwrap();
        let mut later = earlier;
        later.tw += 1;
        later.alive = 0;
        assert!(!later.is_before(&earlier));
        later.tw_recycled = 0;
        assert!(later.is_before(&earlier));
    }

    #[test]
    fn this_kernel_has_them() {
        read(Path::new("/proc/self/net")).unwrap();
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = parse("TcpExt: TW\nTcpExt: 1\n", SNMP, SOCKSTAT).unwrap_err();
        assert_eq!(error.to_string(), "/proc/net/netstat has no TWKilled");
        assert!(parse(NETSTAT, SNMP, "").is_err());
        assert!(parse(NETSTAT, "", SOCKSTAT).is_err());
        assert!(parse("", SNMP, SOCKSTAT).is_err());
    }
}
