//! Loading and attaching: what this kernel allows, in tiers, and what was chosen.

mod tiers;

pub use tiers::{Choice, Hook, Question, Tier, Tiers};

use std::path::PathBuf;

use aya::maps::{MapData, RingBuf};
use twtrace_wire::{NetnsTotals, PortKey, PortTotals, Probe, ProcessKey, ProcessTotals};

/// How the probes are to be loaded.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// Hooks that must not be used, even where the kernel has them.
    pub without: Vec<Hook>,
    /// BTF file to use in place of `/sys/kernel/btf/vmlinux`.
    pub btf: Option<PathBuf>,
    /// Sockets whose story can be kept at a time.
    pub max_sockets: u32,
    /// Processes that can be counted.
    pub max_processes: u32,
    /// Size of the ring buffer in bytes: a power of two, at least one page.
    pub ring_bytes: u32,
    /// Port searches at least this long get an event of their own, nanoseconds; 0 for all.
    pub slow_port_ns: u64,
}

/// Why the probes could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Not written yet.
    #[error("not written yet")]
    Todo,
}

/// Attached programs. Dropping it detaches all of them.
pub struct Attached {
    tiers: Tiers,
}

/// Loads and attaches the best tier of each question that this kernel allows.
///
/// # Errors
/// One error that names what failed and what to do, where even the last tier of a question that twtrace
/// can't do without is refused.
pub fn attach(_options: &ProbeOptions) -> Result<Attached, ProbeError> {
    Err(ProbeError::Todo)
}

impl Attached {
    /// What was chosen for each question, and why the better ones were not.
    pub fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// The ring buffer; to be called once.
    ///
    /// # Errors
    /// When it was taken already.
    pub fn take_ring(&mut self) -> Result<RingBuf<MapData>, ProbeError> {
        Err(ProbeError::Todo)
    }

    /// Totals by process, counted in the kernel.
    ///
    /// # Errors
    /// When the map can't be read.
    pub fn processes(&self) -> Result<Vec<(ProcessKey, ProcessTotals)>, ProbeError> {
        Err(ProbeError::Todo)
    }

    /// Port searches by process and operation, counted in the kernel.
    ///
    /// # Errors
    /// When the map can't be read.
    pub fn ports(&self) -> Result<Vec<(PortKey, PortTotals)>, ProbeError> {
        Err(ProbeError::Todo)
    }

    /// Totals by network namespace (inode number), counted in the kernel.
    ///
    /// # Errors
    /// When the map can't be read.
    pub fn netns(&self) -> Result<Vec<(u32, NetnsTotals)>, ProbeError> {
        Err(ProbeError::Todo)
    }

    /// What was lost, by [`Probe`], summed over CPUs.
    ///
    /// # Errors
    /// When the map can't be read.
    pub fn lost(&self) -> Result<[u64; Probe::COUNT], ProbeError> {
        Err(ProbeError::Todo)
    }

    /// How often the kernel skipped each of our programs because one was running on that CPU:
    /// (program, count). `None` where this kernel does not count it (before 5.12).
    ///
    /// # Errors
    /// When /proc/self/fdinfo can't be read.
    pub fn recursion_misses(&self) -> Result<Option<Vec<(String, u64)>>, ProbeError> {
        Err(ProbeError::Todo)
    }

    /// Whether this kernel counts TcpExt TW and TWKilled when a mini-socket expires (5.10) and not when
    /// it is made (6.1 and later): by BTF, `inet_timewait_sock` has a member `tw_kill` in the former.
    pub fn counts_time_wait_at_expiry(&self) -> bool {
        false
    }
}
