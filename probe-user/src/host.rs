//! The host that is traced.

use std::fs;

/// Its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// As `hostname` prints it; empty where /proc can't be read.
    pub name: String,
    /// Release of the kernel, as `uname -r` prints it.
    pub kernel: String,
}

impl Host {
    /// Reads both.
    pub fn read() -> Self {
        let read = |name: &str| {
            fs::read(format!("/proc/sys/kernel/{name}"))
                .map(|text| String::from_utf8_lossy(&text).trim_end().to_owned())
                .unwrap_or_default()
        };
        Self {
            name: read("hostname"),
            kernel: read("osrelease"),
        }
    }
}
