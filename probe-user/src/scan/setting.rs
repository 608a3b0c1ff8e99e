//! The settings of a network namespace that determine local ports, and how its other files are opened.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use twtrace_core::model::budget::ports::PortsError;
use twtrace_core::model::budget::sysctls::{PortSysctls, REUSE_DELAY_NS, TwReuse, TwTimeout};

use super::namespace_helper::NamespaceHelper;
use super::snapshot::is_gone;
use crate::enrich::netns;

/// A file in /proc, which shows the namespace of the process that opens it. Those of ipv4 apply to IPv6 too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Setting {
    /// `ip_local_port_range`
    PortRange,
    /// `ip_local_reserved_ports`
    ReservedPorts,
    /// `tcp_tw_reuse`
    TwReuse,
    /// `tcp_tw_reuse_delay` (6.16 and later), milliseconds
    TwReuseDelay,
    /// `tcp_tw_timeout` of kernels that have it, seconds
    TwTimeout,
    /// `tcp_timestamps`
    Timestamps,
    /// `tcp_fin_timeout`, seconds
    FinTimeout,
    /// `tcp_max_tw_buckets`
    MaxTwBuckets,
    /// `tcp_abort_on_overflow`
    AbortOnOverflow,
    /// `nf_conntrack_count`; missing without the module, as are the next two.
    ConntrackCount,
    /// `nf_conntrack_max`
    ConntrackMax,
    /// Counters of `nf_conntrack`, a line for each CPU
    ConntrackStat,
    /// Counters: TcpExt
    Netstat,
    /// Counters: sockets in use
    Sockstat,
    /// Counters: TCP's MIB
    Snmp,
}

impl Setting {
    const ALL: [Self; 15] = [
        Self::PortRange,
        Self::ReservedPorts,
        Self::TwReuse,
        Self::TwReuseDelay,
        Self::TwTimeout,
        Self::Timestamps,
        Self::FinTimeout,
        Self::MaxTwBuckets,
        Self::AbortOnOverflow,
        Self::ConntrackCount,
        Self::ConntrackMax,
        Self::ConntrackStat,
        Self::Netstat,
        Self::Sockstat,
        Self::Snmp,
    ];

    /// The setting with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| *setting as u8 == code)
    }

    pub fn path(self) -> &'static Path {
        Path::new(match self {
            Self::PortRange => "/proc/sys/net/ipv4/ip_local_port_range",
            Self::ReservedPorts => "/proc/sys/net/ipv4/ip_local_reserved_ports",
            Self::TwReuse => "/proc/sys/net/ipv4/tcp_tw_reuse",
            Self::TwReuseDelay => "/proc/sys/net/ipv4/tcp_tw_reuse_delay",
            Self::TwTimeout => "/proc/sys/net/ipv4/tcp_tw_timeout",
            Self::Timestamps => "/proc/sys/net/ipv4/tcp_timestamps",
            Self::FinTimeout => "/proc/sys/net/ipv4/tcp_fin_timeout",
            Self::MaxTwBuckets => "/proc/sys/net/ipv4/tcp_max_tw_buckets",
            Self::AbortOnOverflow => "/proc/sys/net/ipv4/tcp_abort_on_overflow",
            Self::ConntrackCount => "/proc/sys/net/netfilter/nf_conntrack_count",
            Self::ConntrackMax => "/proc/sys/net/netfilter/nf_conntrack_max",
            Self::ConntrackStat => "/proc/thread-self/net/stat/nf_conntrack",
            Self::Netstat => "/proc/thread-self/net/netstat",
            Self::Sockstat => "/proc/thread-self/net/sockstat",
            Self::Snmp => "/proc/thread-self/net/snmp",
        })
    }
}

/// Why settings are not known.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// A file can't be opened or read.
    #[error("reading {}", .0.path().display())]
    Read(Setting, #[source] io::Error),
    /// A file has no ports in it.
    #[error("{}", .0.path().display())]
    Ports(Setting, #[source] PortsError),
    /// A file has no known number in it.
    #[error("{path} has an unknown value: {1:?}", path = .0.path().display())]
    Number(Setting, String),
}

impl SettingError {
    /// Whether the namespace was removed in between.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Read(_, error) if is_gone(error))
    }
}

/// Reads the settings of a namespace by the first of its files that still leads there; without a helper, those of the
/// calling thread's own namespace.
///
/// # Errors
/// If it can't be entered, or a file is not as expected.
pub fn read(
    helper: Option<&NamespaceHelper>,
    netns: u32,
    paths: &[PathBuf],
) -> Result<PortSysctls, SettingError> {
    parse(|setting| text(helper, netns, paths, setting))
}

/// The text of one of a namespace's files, read in the same way.
///
/// # Errors
/// If it can't be entered, or the file can't be read.
pub fn text(
    helper: Option<&NamespaceHelper>,
    netns: u32,
    paths: &[PathBuf],
    setting: Setting,
) -> Result<String, SettingError> {
    let mut text = String::new();
    open(helper, netns, paths, setting)
        .and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|error| SettingError::Read(setting, error))?;
    Ok(text)
}

fn open(
    helper: Option<&NamespaceHelper>,
    netns: u32,
    paths: &[PathBuf],
    setting: Setting,
) -> io::Result<File> {
    if netns::of_process(std::process::id()) == Some(netns) {
        return File::open(setting.path());
    }
    let helper =
        helper.ok_or_else(|| io::Error::other("entering other namespaces takes CAP_SYS_ADMIN"))?;
    let mut last = io::Error::from_raw_os_error(libc::ESTALE);
    for path in paths {
        match helper.setting(setting, netns, path) {
            Ok(file) => return Ok(file),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn parse(
    text: impl Fn(Setting) -> Result<String, SettingError>,
) -> Result<PortSysctls, SettingError> {
    let number = |setting: Setting| -> Result<u64, SettingError> {
        let text = text(setting)?;
        let number = text.trim().parse();
        number.map_err(|_| SettingError::Number(setting, text))
    };
    let range = text(Setting::PortRange)?;
    let reserved = text(Setting::ReservedPorts)?;
    let reuse = number(Setting::TwReuse)?;
    Ok(PortSysctls {
        range: range
            .parse()
            .map_err(|error| SettingError::Ports(Setting::PortRange, error))?,
        reserved: reserved
            .parse()
            .map_err(|error| SettingError::Ports(Setting::ReservedPorts, error))?,
        tw_reuse: TwReuse::from_number(reuse)
            .ok_or_else(|| SettingError::Number(Setting::TwReuse, reuse.to_string()))?,
        timestamps: number(Setting::Timestamps)? != 0,
        reuse_delay_ns: match number(Setting::TwReuseDelay) {
            Ok(delay_ms) => {
                let delay = Duration::from_millis(delay_ms);
                u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)
            }
            // Kernels before 6.16.
            Err(_) => REUSE_DELAY_NS,
        },
        // Most kernels have none.
        tw_timeout: number(Setting::TwTimeout)
            .ok()
            .and_then(TwTimeout::from_seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_settings_need_no_helper() {
        let own = netns::of_process(std::process::id()).unwrap();
        let sysctls = read(None, own, &[]).unwrap();
        assert!(sysctls.range.low <= sysctls.range.high);
        let error = read(None, own + 1, &[]).unwrap_err();
        assert!(!error.is_gone());
        let error = format!("{:#}", anyhow::Error::from(error));
        assert!(error.contains("ip_local_port_range") && error.contains("CAP_SYS_ADMIN"));
    }

    /// With the settings that not all kernels have.
    fn text_of(
        setting: Setting,
        delay: Option<&'static str>,
        timeout: Option<&'static str>,
    ) -> Result<String, SettingError> {
        let there = |text: Option<&'static str>| {
            text.ok_or_else(|| {
                let error = io::Error::from_raw_os_error(libc::ENOENT);
                SettingError::Read(setting, error)
            })
        };
        let text = match setting {
            Setting::PortRange => "32768\t60999\n",
            Setting::ReservedPorts => "40000-40001\n",
            Setting::TwReuse => "2\n",
            Setting::Timestamps => "1\n",
            Setting::TwReuseDelay => there(delay)?,
            Setting::TwTimeout => there(timeout)?,
            other => panic!("{other:?} does not decide about ports"),
        };
        Ok(text.to_owned())
    }

    #[test]
    fn files_are_read_as_the_kernel_writes_them() {
        let sysctls = parse(|setting| text_of(setting, None, None)).unwrap();
        assert_eq!(sysctls.range.low, 32_768);
        assert_eq!(sysctls.reserved.iter().count(), 2);
        assert_eq!(sysctls.tw_reuse, TwReuse::Loopback);
        assert!(sysctls.timestamps);
        assert_eq!(sysctls.reuse_delay_ns, REUSE_DELAY_NS);
        assert_eq!(sysctls.tw_timeout, None);
        let sysctls = parse(|setting| text_of(setting, Some("500\n"), Some("15\n"))).unwrap();
        assert_eq!(sysctls.reuse_delay_ns, 500_000_000);
        assert_eq!(sysctls.time_wait_ns(), 15_000_000_000);
        for not_one in ["0\n", "many\n", ""] {
            let sysctls = parse(|setting| text_of(setting, None, Some(not_one))).unwrap();
            assert_eq!(sysctls.tw_timeout, None, "{not_one:?}");
        }
        let error = parse(|_| Ok("7\n".to_owned())).unwrap_err();
        assert!(error.to_string().contains("ip_local_port_range"));
    }

    #[test]
    fn numbers_stand_for_settings() {
        for setting in Setting::ALL {
            assert_eq!(Setting::from_code(setting as u8), Some(setting));
        }
        assert_eq!(Setting::from_code(200), None);
    }
}
