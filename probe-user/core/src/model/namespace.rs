//! Settings and counters of network namespaces at one time.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::budget::sysctls::PortSysctls;

/// Every namespace that was sampled, by inode number.
pub type NamespaceSamples = BTreeMap<u32, NamespaceSample>;

/// Sample of one namespace.
#[derive(Clone, Debug)]
pub struct NamespaceSample {
    /// A file that stands for it; `None` for twtrace's own namespace.
    pub path: Option<PathBuf>,
    /// Its settings and counters, or why they are not known.
    pub state: Result<NamespaceState, String>,
}

/// Settings and counters. What this kernel does not have is `None`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NamespaceState {
    /// Settings that concern local ports.
    pub ports: PortSysctls,
    /// `tcp_fin_timeout`, seconds.
    pub fin_timeout_s: Option<u64>,
    /// `tcp_max_tw_buckets`.
    pub max_tw_buckets: Option<u64>,
    /// Mini-sockets alive.
    pub time_waits: Option<u64>,
    /// TcpExt ListenOverflows: connections that found the accept queue full.
    pub listen_overflows: Option<u64>,
    /// TcpExt ListenDrops: those, and what a listener dropped for other reasons.
    pub listen_drops: Option<u64>,
    /// `tcp_abort_on_overflow`: whether a full accept queue answers with a RST. `None` in recordings of earlier versions,
    /// as are the next three.
    #[serde(default)]
    pub abort_on_overflow: Option<bool>,
    /// Tcp ActiveOpens: connect() calls that sent a SYN.
    #[serde(default)]
    pub active_opens: Option<u64>,
    /// Tcp PassiveOpens: connections that a listener took up.
    #[serde(default)]
    pub passive_opens: Option<u64>,
    /// Tcp CurrEstab: connections in ESTABLISHED or CLOSE_WAIT.
    #[serde(default)]
    pub established: Option<u64>,
    /// Connection tracking; `None` if it is not in use.
    pub conntrack: Option<Conntrack>,
}

/// Connection tracking of one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conntrack {
    /// Connections in its table.
    pub count: u64,
    /// Size of the table.
    pub max: u64,
    /// Entries that clashed when they were to be confirmed: packets lost because NAT had no free port.
    pub insert_failed: u64,
    /// Packets dropped because there was no room for their connection.
    pub drop: u64,
    /// Entries removed early to make room.
    pub early_drop: u64,
}

#[cfg(any(test, feature = "samples"))]
pub mod samples {
    use super::*;
    use crate::model::budget::ports::{PortRange, PortSet};
    use crate::model::budget::sysctls::{REUSE_DELAY_NS, TwReuse};

    /// The kernel's defaults.
    pub fn defaults() -> NamespaceState {
        NamespaceState {
            ports: PortSysctls {
                range: PortRange {
                    low: 32_768,
                    high: 60_999,
                },
                reserved: PortSet::default(),
                tw_reuse: TwReuse::Loopback,
                timestamps: true,
                reuse_delay_ns: REUSE_DELAY_NS,
                tw_timeout: None,
            },
            fin_timeout_s: Some(60),
            max_tw_buckets: Some(65_536),
            time_waits: Some(0),
            listen_overflows: Some(5),
            listen_drops: Some(7),
            abort_on_overflow: Some(false),
            active_opens: Some(100),
            passive_opens: Some(100),
            established: Some(0),
            conntrack: None,
        }
    }
}
