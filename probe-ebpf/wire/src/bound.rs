//! Answers to userspace: which local ports belong to a bind().

/// Buckets of the kernel's table that one run of the program `bound_ports` looks at.
pub const BUCKETS_AT_ONCE: u32 = 128;

/// Ports that one run can name.
pub const PORTS_AT_ONCE: usize = 1024;

/// A local port that connect() passes over.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundPort {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The port, in the host's order.
    pub port: u32,
}

/// The map `BOUND_PORTS`: the answer of the program `bound_ports`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundPorts {
    /// Buckets that the table has; 0 where it can't be read.
    pub buckets: u32,
    /// How many of [`Self::ports`] are filled in.
    pub count: u32,
    /// Chains that were not followed to their end, and ports for which there was no room.
    pub missed: u32,
    /// Zero.
    pub reserved: u32,
    /// In no order.
    pub ports: [BoundPort; PORTS_AT_ONCE],
}

const _: () = assert!(size_of::<BoundPorts>() == 16 + 8 * PORTS_AT_ONCE);
