//! Network namespaces as `--netns` names them.

use std::path::PathBuf;
use std::str::FromStr;

use crate::enrich::netns;

/// An inode number, or a file that stands for a namespace: `/proc/PID/ns/net`, `/run/netns/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetnsArg {
    /// As `ip netns identify`, `lsns` and events show it.
    Inode(u32),
    /// To be looked at when tracing begins.
    Path(PathBuf),
}

/// A `--netns` that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetnsError {
    /// Neither a number nor a path.
    #[error("neither an inode number nor a path such as /proc/PID/ns/net")]
    Malformed,
    /// The file is not there, or may not be looked at.
    #[error("{0} does not stand for a network namespace that can be looked at")]
    Path(String),
}

impl FromStr for NetnsArg {
    type Err = NetnsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // As `readlink /proc/PID/ns/net` prints it.
        let number = text
            .strip_prefix("net:[")
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        match number.parse() {
            Ok(inode) => Ok(Self::Inode(inode)),
            Err(_) if text.contains('/') => Ok(Self::Path(PathBuf::from(text))),
            Err(_) => Err(NetnsError::Malformed),
        }
    }
}

impl NetnsArg {
    /// The namespace's inode number.
    ///
    /// # Errors
    /// When the path leads nowhere.
    pub fn inode(&self) -> Result<u32, NetnsError> {
        match self {
            Self::Inode(inode) => Ok(*inode),
            Self::Path(path) => {
                netns::inode(path).ok_or_else(|| NetnsError::Path(path.display().to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_links_and_paths() {
        assert_eq!("4026531840".parse(), Ok(NetnsArg::Inode(4_026_531_840)));
        assert_eq!(
            "net:[4026531840]".parse(),
            Ok(NetnsArg::Inode(4_026_531_840))
        );
        assert_eq!("blue".parse::<NetnsArg>(), Err(NetnsError::Malformed));
        let own: NetnsArg = "/proc/self/ns/net".parse().unwrap();
        assert_eq!(own.inode().ok(), netns::of_process(std::process::id()));
        let none: NetnsArg = "/proc/0/ns/net".parse().unwrap();
        assert!(none.inode().is_err());
    }
}
