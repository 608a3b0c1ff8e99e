//! The host that was traced.

/// Its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// As `hostname` prints it; empty if /proc can't be read.
    pub name: String,
    /// Release of the kernel, as `uname -r` prints it.
    pub kernel: String,
}
