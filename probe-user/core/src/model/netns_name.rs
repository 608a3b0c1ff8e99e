//! What network namespaces are called.

use serde::{Deserialize, Serialize};

/// The longest name that is kept, bytes: none of a host is longer.
const MAX_NAME: usize = 4_096;

/// What a namespace is named after.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedAfter {
    /// The one that the host's first process is in.
    Host,
    /// A name that `ip netns` shows.
    IpNetns,
    /// The UID of the pod of its oldest process.
    Pod,
    /// The container of its oldest process.
    Container,
    /// The systemd unit of its oldest process.
    Unit,
    /// A file that it is mounted on.
    Mount,
}

impl NamedAfter {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::IpNetns => "ip_netns",
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Unit => "unit",
            Self::Mount => "mount",
        }
    }
}

/// A network namespace and its name.
#[derive(schemars::JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetnsName {
    /// Its inode number.
    pub netns: u32,
    /// What it is named after.
    pub after: NamedAfter,
    /// The name.
    #[serde(deserialize_with = "short")]
    pub name: String,
}

fn short<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let mut name = String::deserialize(deserializer)?;
    let mut end = name.len().min(MAX_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_file_has_no_endless_names() {
        let name = NetnsName {
            netns: 1,
            after: NamedAfter::Mount,
            name: "é".repeat(MAX_NAME),
        };
        let text = serde_json::to_string(&name).unwrap();
        let read: NetnsName = serde_json::from_str(&text).unwrap();
        assert_eq!(read.name.len(), MAX_NAME);
    }
}
