//! The settings of a network namespace that decide which ports a connect() may use.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ports::{PortRange, PortSet, PortsError};
use crate::event::timestamp::SECOND_NS;

/// TCP_TIMEWAIT_LEN: how long a TIME_WAIT lives unless a setting changes it, nanoseconds.
pub const TIME_WAIT_NS: u64 = Duration::from_secs(60).as_nanos() as u64;

/// `tcp_tw_timeout` of kernels that have it: how long a TIME_WAIT lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwTimeout(u16);

impl TwTimeout {
    /// Maximum, seconds: kernels that have it accept 600 at most.
    const MAX_S: u64 = 3_600;

    /// From the number in /proc/sys/net/ipv4/tcp_tw_timeout; `None` if it is invalid.
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        let is_possible = (1..=Self::MAX_S).contains(&seconds);
        u16::try_from(seconds)
            .ok()
            .filter(|_| is_possible)
            .map(Self)
    }

    /// Seconds, as in /proc.
    pub fn seconds(self) -> u64 {
        self.0.into()
    }

    /// Nanoseconds.
    pub fn nanoseconds(self) -> u64 {
        self.seconds() * SECOND_NS
    }
}

/// `tcp_tw_reuse_delay` of kernels without that setting (before 6.16), nanoseconds.
pub const REUSE_DELAY_NS: u64 = Duration::from_secs(1).as_nanos() as u64;

/// `tcp_tw_reuse`: whether a connect() that allocates a port may reuse one in TIME_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwReuse {
    /// 0
    Never,
    /// 1
    Always,
    /// 2, the default: between loopback addresses.
    Loopback,
}

impl TwReuse {
    /// From the number in /proc/sys/net/ipv4/tcp_tw_reuse; `None` if it is unknown.
    pub fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Never),
            1 => Some(Self::Always),
            2 => Some(Self::Loopback),
            _ => None,
        }
    }

    /// The number in /proc.
    pub const fn number(self) -> u64 {
        match self {
            Self::Never => 0,
            Self::Always => 1,
            Self::Loopback => 2,
        }
    }
}

/// Settings of one network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SysctlsJson", into = "SysctlsJson")]
pub struct PortSysctls {
    /// `ip_local_port_range`
    pub range: PortRange,
    /// `ip_local_reserved_ports`
    pub reserved: PortSet,
    /// `tcp_tw_reuse`
    pub tw_reuse: TwReuse,
    /// Whether `tcp_timestamps` is on.
    pub timestamps: bool,
    /// `tcp_tw_reuse_delay`: how old a TIME_WAIT must be to be reused, nanoseconds.
    pub reuse_delay_ns: u64,
    /// `tcp_tw_timeout`, if the kernel has it.
    pub tw_timeout: Option<TwTimeout>,
}

impl PortSysctls {
    /// How long a TIME_WAIT lives, nanoseconds; never 0.
    pub fn time_wait_ns(&self) -> u64 {
        self.tw_timeout.map_or(TIME_WAIT_NS, TwTimeout::nanoseconds)
    }

    /// Whether a connect() between these ends that allocates a port may reuse one in TIME_WAIT, once that is older than
    /// [`Self::reuse_delay_ns`] and past FIN_WAIT2.
    ///
    /// The kernel also requires that the old connection used TCP timestamps, which depends on the peer. No dump of
    /// sockets shows that: it is assumed if this end offers them.
    pub fn reuses(&self, source: IpAddr, destination: SocketAddr) -> bool {
        self.timestamps
            && match self.tw_reuse {
                TwReuse::Never => false,
                TwReuse::Always => true,
                TwReuse::Loopback => [source, destination.ip()]
                    .iter()
                    .any(|address| address.to_canonical().is_loopback()),
            }
    }
}

/// The form in recordings: with the kernel's names.
#[derive(Serialize, Deserialize)]
struct SysctlsJson {
    ip_local_port_range: PortRange,
    ip_local_reserved_ports: String,
    tcp_tw_reuse: u64,
    tcp_timestamps: bool,
    tcp_tw_reuse_delay_ns: u64,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tcp_tw_timeout: Option<u64>,
}

impl From<PortSysctls> for SysctlsJson {
    fn from(sysctls: PortSysctls) -> Self {
        Self {
            ip_local_port_range: sysctls.range,
            ip_local_reserved_ports: sysctls.reserved.to_string(),
            tcp_tw_reuse: sysctls.tw_reuse.number(),
            tcp_timestamps: sysctls.timestamps,
            tcp_tw_reuse_delay_ns: sysctls.reuse_delay_ns,
            tcp_tw_timeout: sysctls.tw_timeout.map(TwTimeout::seconds),
        }
    }
}

impl TryFrom<SysctlsJson> for PortSysctls {
    type Error = String;

    fn try_from(settings: SysctlsJson) -> Result<Self, String> {
        let range = settings.ip_local_port_range;
        if range.low > range.high {
            return Err(format!("{range} is not a range of ports"));
        }
        let tw_timeout = settings.tcp_tw_timeout.map(|seconds| {
            TwTimeout::from_seconds(seconds).ok_or_else(|| format!("tcp_tw_timeout is {seconds}"))
        });
        Ok(Self {
            range,
            reserved: settings
                .ip_local_reserved_ports
                .parse()
                .map_err(|error: PortsError| error.to_string())?,
            tw_reuse: TwReuse::from_number(settings.tcp_tw_reuse)
                .ok_or_else(|| format!("tcp_tw_reuse is {}", settings.tcp_tw_reuse))?,
            timestamps: settings.tcp_timestamps,
            reuse_delay_ns: settings.tcp_tw_reuse_delay_ns,
            tw_timeout: tw_timeout.transpose()?,
        })
    }
}

#[cfg(any(test, feature = "samples"))]
#[allow(clippy::unwrap_used, reason = "only tests are made of them")]
pub mod samples {
    use super::*;

    /// Four ports, 40000 to 40003, and no reuse.
    pub fn narrow() -> PortSysctls {
        PortSysctls {
            range: PortRange {
                low: 40_000,
                high: 40_003,
            },
            reserved: PortSet::default(),
            tw_reuse: TwReuse::Never,
            timestamps: true,
            reuse_delay_ns: REUSE_DELAY_NS,
            tw_timeout: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_wait_lives_for_a_minute_unless_the_kernel_has_a_setting() {
        let mut sysctls = samples::narrow();
        assert_eq!(sysctls.time_wait_ns(), TIME_WAIT_NS);
        let of_recording = |sysctls: &PortSysctls| serde_json::to_string(sysctls).unwrap();
        assert!(!of_recording(&sysctls).contains("tcp_tw_timeout"));
        sysctls.tw_timeout = TwTimeout::from_seconds(5);
        assert_eq!(sysctls.time_wait_ns(), 5 * SECOND_NS);
        let text = of_recording(&sysctls);
        assert!(text.contains(r#""tcp_tw_timeout":5"#), "{text}");
        assert_eq!(serde_json::from_str::<PortSysctls>(&text).unwrap(), sysctls);
        for seconds in [0, 3_601, u64::MAX] {
            assert_eq!(TwTimeout::from_seconds(seconds), None);
            let text = text.replace("timeout\":5", &format!("timeout\":{seconds}"));
            assert!(
                serde_json::from_str::<PortSysctls>(&text).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn reuse_takes_the_setting_the_addresses_and_timestamps() {
        let mut sysctls = samples::narrow();
        let far = ("10.0.0.1".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let near = (
            "127.0.0.1".parse().unwrap(),
            "127.0.0.2:80".parse().unwrap(),
        );
        let near_v6 = ("::1".parse().unwrap(), "[::1]:80".parse().unwrap());
        let mut reuses = |tw_reuse, timestamps| {
            (sysctls.tw_reuse, sysctls.timestamps) = (tw_reuse, timestamps);
            [far, near, near_v6].map(|(source, destination)| sysctls.reuses(source, destination))
        };
        assert_eq!(reuses(TwReuse::Never, true), [false, false, false]);
        assert_eq!(reuses(TwReuse::Always, true), [true, true, true]);
        assert_eq!(reuses(TwReuse::Loopback, true), [false, true, true]);
        assert_eq!(reuses(TwReuse::Always, false), [false, false, false]);
    }
}
