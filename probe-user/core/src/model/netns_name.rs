//! Names of network namespaces.

use serde::{Deserialize, Serialize};

use crate::event::text::escape;

/// Maximum length of a name, bytes: no host has longer ones.
const MAX_NAME: usize = 4_096;

/// Origin of a namespace's name.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedAfter {
    /// The namespace of the host's first process.
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
    /// The word in JSON.
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
    /// Origin of the name.
    pub after: NamedAfter,
    /// The name.
    #[serde(deserialize_with = "short")]
    pub name: String,
}

/// The number of a namespace, with its position among those that had this number: `4026532177 #2`.
pub fn shown_netns(netns: u32, nth: u32) -> String {
    match nth {
        0 => netns.to_string(),
        _ => format!("{netns} #{}", u64::from(nth) + 1),
    }
}

/// The short name of the host's own namespace.
pub const HOST: &str = "host";

impl NetnsName {
    /// As tables and sentences show it: `blue`, `pod 3f1b…`, [`HOST`].
    pub fn short(&self) -> String {
        let name = escape(&self.name);
        match self.after {
            NamedAfter::Host => HOST.to_owned(),
            NamedAfter::IpNetns | NamedAfter::Mount | NamedAfter::Unit => name,
            NamedAfter::Pod => format!("pod {name}"),
            NamedAfter::Container => format!("container {name}"),
        }
    }
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
