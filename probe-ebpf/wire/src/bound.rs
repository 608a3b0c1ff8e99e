//! Data for userspace: which local ports belong to a bind().

/// Buckets of the kernel's table that one run of the program `bound_ports` scans.
pub const BUCKETS_AT_ONCE: u32 = 128;

/// Maximum number of ports that one run reports.
pub const PORTS_AT_ONCE: usize = 1024;

/// A local port that connect() skips.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundPort {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The port, in host order.
    pub port: u32,
}

/// The map `BOUND_PORTS`: the result of the program `bound_ports`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundPorts {
    /// Number of buckets of the table; 0 if it can't be read.
    pub buckets: u32,
    /// Number of valid entries of [`Self::ports`].
    pub count: u32,
    /// Chains that were not followed to their end, and ports for which there was no room.
    pub missed: u32,
    /// Zero.
    pub reserved: u32,
    /// Unordered.
    pub ports: [BoundPort; PORTS_AT_ONCE],
}

const _: () = assert!(size_of::<BoundPorts>() == 16 + 8 * PORTS_AT_ONCE);
