//! Settings that remedies change.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::facts::DoctorFacts;

/// A setting of a network namespace that a finding recommends, if no program has to change for it and it does no harm.
#[derive(schemars::JsonSchema, Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingChange {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// A file that stands for the namespace; null for the one that twtrace ran in.
    pub path: Option<PathBuf>,
    /// What is set.
    pub name: SettingName,
    /// The recommended value.
    pub value: String,
    /// The value at the end of the measurement; null if it is not known.
    pub now: Option<String>,
}

/// What is set: a name for sysctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SettingName {
    /// Lets connect() take ports in TIME_WAIT.
    TwReuse,
    /// TCP timestamps.
    Timestamps,
    /// Maximum number of TIME_WAITs.
    MaxTwBuckets,
    /// Ports that connect() and bind() do not choose.
    ReservedPorts,
    /// Whether a full accept queue answers with a RST.
    AbortOnOverflow,
}

impl SettingName {
    /// The name.
    pub const fn sysctl(self) -> &'static str {
        match self {
            Self::TwReuse => "net.ipv4.tcp_tw_reuse",
            Self::Timestamps => "net.ipv4.tcp_timestamps",
            Self::MaxTwBuckets => "net.ipv4.tcp_max_tw_buckets",
            Self::ReservedPorts => "net.ipv4.ip_local_reserved_ports",
            Self::AbortOnOverflow => "net.ipv4.tcp_abort_on_overflow",
        }
    }

    /// What the change does, and what it costs.
    pub const fn effect(self) -> &'static str {
        match self {
            Self::TwReuse => {
                "connect() takes ports whose connection has been in TIME_WAIT for a second, if both ends use TCP timestamps: \
                 safe for outbound connections, no effect on inbound ones"
            }
            Self::Timestamps => {
                "the kernel's default: 12 bytes a segment, better round-trip times, and TIME_WAITs can be reused; for new \
                 connections only"
            }
            Self::MaxTwBuckets => "room for more TIME_WAITs, of some 300 bytes each",
            Self::ReservedPorts => {
                "connect() and bind() without a port no longer choose these: outgoing connections have fewer ports"
            }
            Self::AbortOnOverflow => {
                "the kernel's default: a full accept queue drops the last segment of the handshake, and the client sends it \
                 again, where now it gets a RST"
            }
        }
    }
}

impl Serialize for SettingName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.sysctl())
    }
}

impl schemars::JsonSchema for SettingName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SettingName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let all = [
            Self::TwReuse,
            Self::Timestamps,
            Self::MaxTwBuckets,
            Self::ReservedPorts,
            Self::AbortOnOverflow,
        ];
        schemars::json_schema!({"type": "string", "enum": all.map(Self::sysctl)})
    }
}

impl DoctorFacts {
    /// A change in a namespace.
    pub fn setting(
        &self,
        netns: u32,
        name: SettingName,
        value: impl fmt::Display,
    ) -> SettingChange {
        let namespace = self.namespaces.get(&netns);
        let now = namespace.and_then(|it| {
            let (state, ports) = (&it.now, &it.now.ports);
            match name {
                SettingName::TwReuse => Some((ports.tw_reuse as u8).to_string()),
                SettingName::Timestamps => Some(u8::from(ports.timestamps).to_string()),
                SettingName::MaxTwBuckets => state.max_tw_buckets.map(|it| it.to_string()),
                SettingName::ReservedPorts => Some(ports.reserved.to_string()),
                SettingName::AbortOnOverflow => {
                    state.abort_on_overflow.map(|it| u8::from(it).to_string())
                }
            }
        });
        SettingChange {
            netns,
            path: namespace.and_then(|it| it.path.clone()),
            name,
            value: value.to_string(),
            now,
        }
    }

    /// The command line that sets it.
    pub fn set(&self, change: &SettingChange) -> String {
        let command = format!("sysctl -w {}={}", change.name.sysctl(), change.value);
        self.command(change.netns, &command)
    }
}
