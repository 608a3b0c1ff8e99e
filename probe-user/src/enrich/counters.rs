//! The kernel's own counters of TIME_WAIT, per network namespace.

use std::fs;
use std::io;
use std::path::Path;

/// Counters of one network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// TcpExt TW: mini-sockets made (6.1 and later) or expired (5.10), with a long time to live.
    pub tw: u64,
    /// TcpExt TWKilled: likewise, with a short one.
    pub tw_killed: u64,
    /// TcpExt TWRecycled: reused by connect().
    pub tw_recycled: u64,
    /// TcpExt TCPTimeWaitOverflow: refused.
    pub overflow: u64,
    /// Mini-sockets alive, from sockstat.
    pub alive: u64,
    /// Tcp OutRsts: RSTs sent.
    pub resets_sent: u64,
}

/// Why the counters can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CountersError {
    /// A file can't be read.
    #[error("reading {0}")]
    Read(String, #[source] io::Error),
    /// A file is not as expected.
    #[error("{0} has no {1}")]
    Missing(&'static str, &'static str),
}

impl Counters {
    /// Reads the counters of the namespace that a directory such as `/proc/PID/net` shows.
    ///
    /// # Errors
    /// When the directory went away, or its files are not as expected.
    pub fn read(net_directory: &Path) -> Result<Self, CountersError> {
        let read = |name: &str| {
            let path = net_directory.join(name);
            fs::read_to_string(&path)
                .map_err(|error| CountersError::Read(path.display().to_string(), error))
        };
        Self::parse(&read("netstat")?, &read("snmp")?, &read("sockstat")?)
    }

    /// Whether a counter is lower than in an earlier reading of the same namespace, which can't be.
    pub fn is_before(&self, earlier: &Self) -> bool {
        self.tw < earlier.tw
            || self.tw_killed < earlier.tw_killed
            || self.tw_recycled < earlier.tw_recycled
            || self.overflow < earlier.overflow
            || self.resets_sent < earlier.resets_sent
    }

    fn parse(netstat: &str, snmp: &str, sockstat: &str) -> Result<Self, CountersError> {
        let counter =
            |name| tcp_ext(netstat, name).ok_or(CountersError::Missing("/proc/net/netstat", name));
        Ok(Self {
            tw: counter("TW")?,
            tw_killed: counter("TWKilled")?,
            tw_recycled: counter("TWRecycled")?,
            overflow: counter("TCPTimeWaitOverflow")?,
            alive: sockstat_alive(sockstat)
                .ok_or(CountersError::Missing("/proc/net/sockstat", "TCP: tw"))?,
            resets_sent: of_protocol(snmp, "Tcp:", "OutRsts")
                .ok_or(CountersError::Missing("/proc/net/snmp", "OutRsts"))?,
        })
    }
}

/// A counter of TcpExt.
pub fn tcp_ext(netstat: &str, name: &str) -> Option<u64> {
    of_protocol(netstat, "TcpExt:", name)
}

/// netstat and snmp have a line of names, then a line of values, each beginning with the protocol.
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
TcpExt: SyncookiesSent TW TWRecycled TWKilled TCPTimeWaitOverflow
TcpExt: 0 40 3 2 1
IpExt: InNoRoutes TW
IpExt: 0 99
";
    const SNMP: &str = "\
Ip: InReceives OutRsts
Ip: 7 8
Tcp: InErrs OutRsts InCsumErrors
Tcp: 0 5 0
";
    const SOCKSTAT: &str = "\
sockets: used 12
TCP: inuse 1 orphan 0 tw 7 alloc 4 mem 130
UDP: inuse 0 mem 0
";

    #[test]
    fn the_six_are_found() {
        assert_eq!(
            Counters::parse(NETSTAT, SNMP, SOCKSTAT).unwrap(),
            Counters {
                tw: 40,
                tw_killed: 2,
                tw_recycled: 3,
                overflow: 1,
                alive: 7,
                resets_sent: 5
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
        let earlier = Counters::parse(NETSTAT, SNMP, SOCKSTAT).unwrap();
        let mut later = earlier;
        later.tw += 1;
        later.alive = 0;
        assert!(!later.is_before(&earlier));
        later.tw_recycled = 0;
        assert!(later.is_before(&earlier));
    }

    #[test]
    fn this_kernel_has_them() {
        Counters::read(Path::new("/proc/self/net")).unwrap();
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Counters::parse("TcpExt: TW\nTcpExt: 1\n", SNMP, SOCKSTAT).unwrap_err();
        assert_eq!(error.to_string(), "/proc/net/netstat has no TWKilled");
        assert!(Counters::parse(NETSTAT, SNMP, "").is_err());
        assert!(Counters::parse(NETSTAT, "", SOCKSTAT).is_err());
        assert!(Counters::parse("", SNMP, SOCKSTAT).is_err());
    }
}
