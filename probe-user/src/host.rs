//! Reads the names of this host.

use std::fs;

use twtrace_core::model::host::Host;

pub fn read() -> Host {
    let read = |name: &str| {
        fs::read(format!("/proc/sys/kernel/{name}"))
            .map(|text| String::from_utf8_lossy(&text).trim_end().to_owned())
            .unwrap_or_default()
    };
    Host {
        name: read("hostname"),
        kernel: read("osrelease"),
    }
}
