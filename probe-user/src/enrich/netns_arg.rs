//! Network namespaces as `--netns` names them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::netns;
use super::netns_names::NAMED;

/// An inode number, a name that `ip netns` shows, or a file that stands for a namespace: `/proc/PID/ns/net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetnsArg {
    /// The inode number, as `ip netns identify`, `lsns` and events show it.
    Inode(u32),
    /// A file that stands for the namespace, opened when tracing begins.
    Path(PathBuf),
    /// Its name, as `ip netns` shows it, looked up when tracing begins.
    Name(String),
}

/// A `--netns` that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetnsError {
    /// Neither a number nor a path.
    #[error("neither an inode number, a name nor a path such as /proc/PID/ns/net")]
    Malformed,
    /// The file does not exist, or may not be read.
    #[error("{0} is not a network namespace that can be read")]
    Path(String),
    /// No namespace has this inode number.
    #[error(
        "no network namespace has the inode number {0}: `lsns -t net` and `ls -Li /run/netns` list those that exist"
    )]
    Inode(u32),
    /// `ip netns` has no namespace of that name.
    #[error("no network namespace is named {0} in {dir}", dir = NAMED[0])]
    Name(String),
}

impl FromStr for NetnsArg {
    type Err = NetnsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // In the form that `readlink /proc/PID/ns/net` prints.
        let number = text
            .strip_prefix("net:[")
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        match number.parse() {
            Ok(inode) => Ok(Self::Inode(inode)),
            Err(_) if text.contains('/') => Ok(Self::Path(PathBuf::from(text))),
            // A name must be that of a file.
            Err(_) if matches!(text, "" | "." | "..") => Err(NetnsError::Malformed),
            Err(_) => Ok(Self::Name(text.to_owned())),
        }
    }
}

impl NetnsArg {
    /// The same, if the namespace exists on this host.
    ///
    /// # Errors
    /// If it does not, as far as this process may look.
    pub fn existing(&self) -> Result<u32, NetnsError> {
        let inode = self.inode()?;
        if netns::may_exist(inode) {
            Ok(inode)
        } else {
            Err(NetnsError::Inode(inode))
        }
    }

    /// The namespace's inode number.
    ///
    /// # Errors
    /// If the path does not lead to a namespace.
    pub fn inode(&self) -> Result<u32, NetnsError> {
        match self {
            Self::Inode(inode) => Ok(*inode),
            Self::Path(path) => {
                netns::inode(path).ok_or_else(|| NetnsError::Path(path.display().to_string()))
            }
            Self::Name(name) => NAMED
                .iter()
                .find_map(|directory| netns::inode(&Path::new(directory).join(name)))
                .ok_or_else(|| NetnsError::Name(name.clone())),
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
        assert_eq!("blue".parse(), Ok(NetnsArg::Name("blue".to_owned())));
        assert_eq!("..".parse::<NetnsArg>(), Err(NetnsError::Malformed));
        let none = NetnsArg::Name("twtrace-no-such".to_owned());
        let error = none.inode().unwrap_err().to_string();
        assert!(error.contains("twtrace-no-such in /run/netns"), "{error}");
        let own: NetnsArg = "/proc/self/ns/net".parse().unwrap();
        assert_eq!(own.inode().ok(), netns::of_process(std::process::id()));
        let none: NetnsArg = "/proc/0/ns/net".parse().unwrap();
        assert!(none.inode().is_err());
    }
}
