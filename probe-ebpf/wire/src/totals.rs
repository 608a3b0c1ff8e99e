//! Counts of the kernel side itself, so that totals stay exact when events are lost.

use crate::{AbortReason, COMM_LEN, EndCause, ProcessKey, ResetReason, ReuseRefusal, Side};

/// Value of the map `NAMES`, keyed by [`ProcessKey`]: a process at its last action. If it ran another program or was in
/// another cgroup before, that is kept in another entry, with the generation in place of [`ProcessKey::unattributed`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessNames {
    /// The group leader's comm, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// Real user id.
    pub uid: u32,
    /// As in [`crate::Process`].
    pub execs: u32,
    /// Id of its cgroup, as in [`crate::Process`].
    pub cgroup_id: u64,
    /// Identifies the program and cgroup of these names; only used by the kernel side.
    pub generation: u32,
    /// Zero.
    pub reserved: u32,
}

/// Bit of [`ProcessKey::unattributed`] that contains, in keys of `PROCESSES` and `PORTS`, the epoch of the counts.
const EPOCH_BIT: u32 = 1 << 31;

impl ProcessKey {
    /// The key of this process's counts in an epoch, 0 or 1. Userspace begins the other epoch when it takes totals:
    /// writes in progress continue in the old one.
    #[inline(always)]
    pub const fn in_epoch(self, epoch: u32) -> Self {
        Self {
            unattributed: self.unattributed | epoch << 31,
            ..self
        }
    }

    /// The process, and the epoch of the counts.
    pub const fn split_epoch(self) -> (Self, u32) {
        let key = Self {
            unattributed: self.unattributed & !EPOCH_BIT,
            ..self
        };
        (key, self.unattributed >> 31)
    }
}

/// Value of the map `PROCESSES`, keyed by [`ProcessKey`] in its epoch. Causes without a process have entries of
/// their own (`tgid` 0 and the reason).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessTotals {
    /// Mini-sockets created, by [`Side`].
    pub time_wait: [u64; Side::COUNT],
    /// Those of `time_wait` that began in FIN_WAIT2, by [`Side`].
    pub fin_wait2: [u64; Side::COUNT],
    /// Mini-sockets refused, by [`Side`].
    pub overflow: [u64; Side::COUNT],
    /// RSTs sent, by [`ResetReason`].
    pub reset_sent: [u64; ResetReason::COUNT],
    /// RSTs received, by [`ResetReason`].
    pub reset_received: [u64; ResetReason::COUNT],
    /// Connections that ended without RST, by [`AbortReason`].
    pub abort: [u64; AbortReason::COUNT],
    /// Mini-sockets of this process that ended, by [`EndCause`].
    pub ended: [u64; EndCause::COUNT],
    /// Tuples of TIME_WAITs of any process that its connects reused.
    pub reused: u64,
    /// Its connects that found at least one TIME_WAIT whose tuple they could not reuse.
    pub hindered: u64,
    /// TIME_WAITs that they could not reuse, by [`ReuseRefusal`].
    pub refused: [u64; ReuseRefusal::COUNT],
}

impl ProcessTotals {
    /// Adds another's numbers. Correct even if one epoch takes back counts of another (two's complement).
    pub fn add(&mut self, other: &Self) {
        fn each<const N: usize>(mine: &mut [u64; N], other: &[u64; N]) {
            for (mine, other) in mine.iter_mut().zip(other) {
                *mine = mine.wrapping_add(*other);
            }
        }
        each(&mut self.time_wait, &other.time_wait);
        each(&mut self.fin_wait2, &other.fin_wait2);
        each(&mut self.overflow, &other.overflow);
        each(&mut self.reset_sent, &other.reset_sent);
        each(&mut self.reset_received, &other.reset_received);
        each(&mut self.abort, &other.abort);
        each(&mut self.ended, &other.ended);
        self.reused = self.reused.wrapping_add(other.reused);
        self.hindered = self.hindered.wrapping_add(other.hindered);
        each(&mut self.refused, &other.refused);
    }
}

/// Identity of a network namespace: the kernel reuses a number as soon as it is free.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetnsKey {
    /// Inode number.
    pub netns: u32,
    /// Distinguishes namespaces that had this number one after the other: a random number of the kernel
    /// (`net.hash_mix`), set before the first socket. 0 if this kernel's structs differ. Not to be shown: hashes that
    /// use it must be hard to guess.
    pub mark: u32,
}

/// Value of the map `NETNS`, keyed by [`NetnsKey`]: the traced side of the audit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetnsTotals {
    /// Mini-sockets created.
    pub births: u64,
    /// Mini-sockets refused.
    pub overflow: u64,
    /// Mini-sockets that ended; only counted if a hook for it is attached.
    pub ends: u64,
    /// Births that were inferred.
    pub inferred: u64,
    /// Those of `ends` whose tuple a connect() reused.
    pub reused: u64,
    /// RSTs sent, of any process.
    pub resets_sent: u64,
    /// Full sockets that changed from ESTABLISHED or CLOSE_WAIT to CLOSE.
    pub connections_reset: u64,
}

/// Key of the map `PORTS`; its process in its epoch.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortKey {
    /// The calling process.
    pub process: ProcessKey,
    /// [`crate::PortOp`].
    pub op: u32,
    /// 1 if latencies are those of the allocation itself, 0 if they are upper bounds.
    pub exact: u32,
}

/// Number of latency buckets of [`PortTotals`].
pub const LATENCY_BUCKETS: usize = 128;

/// Value of the map `PORTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortTotals {
    /// Allocations, with any result.
    pub count: u64,
    /// Allocations that failed.
    pub failures: u64,
    /// Allocations whose time could not be separated from that of the handshake; not in `buckets`.
    pub untimed: u64,
    /// The longest allocation, nanoseconds.
    pub max_ns: u64,
    /// Allocations by [`bucket_of_ns`].
    pub buckets: [u32; LATENCY_BUCKETS],
}

impl Default for PortTotals {
    fn default() -> Self {
        Self {
            count: 0,
            failures: 0,
            untimed: 0,
            max_ns: 0,
            buckets: [0; LATENCY_BUCKETS],
        }
    }
}

impl PortTotals {
    /// Adds another's numbers.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.failures += other.failures;
        self.untimed += other.untimed;
        if other.max_ns > self.max_ns {
            self.max_ns = other.max_ns;
        }
        for (mine, other) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine = mine.saturating_add(*other);
        }
    }

    /// Takes another's numbers out, except for [`Self::max_ns`].
    pub fn subtract(&mut self, other: &Self) {
        self.count = self.count.saturating_sub(other.count);
        self.failures = self.failures.saturating_sub(other.failures);
        self.untimed = self.untimed.saturating_sub(other.untimed);
        for (mine, other) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine = mine.saturating_sub(*other);
        }
    }
}

const _: () = assert!(size_of::<ProcessNames>() == COMM_LEN + 24);
const _: () = assert!(
    size_of::<ProcessTotals>()
        == 8 * (3 * Side::COUNT + 2 * ResetReason::COUNT + AbortReason::COUNT + EndCause::COUNT)
            + 8 * (2 + ReuseRefusal::COUNT)
);
const _: () = assert!(size_of::<NetnsTotals>() == 56);
const _: () = assert!(size_of::<PortKey>() == size_of::<ProcessKey>() + 8);
const _: () = assert!(size_of::<PortTotals>() == 32 + 4 * LATENCY_BUCKETS);

/// Bucket of a latency: four for each power of two, from 64 ns; the last one has no upper bound.
#[inline(always)]
pub const fn bucket_of_ns(latency_ns: u64) -> usize {
    if latency_ns < 64 {
        return 0;
    }
    let exponent = 63 - latency_ns.leading_zeros() as usize;
    let quarter = (latency_ns >> (exponent - 2)) as usize & 3;
    let bucket = (exponent - 6) * 4 + quarter + 1;
    if bucket < LATENCY_BUCKETS {
        bucket
    } else {
        LATENCY_BUCKETS - 1
    }
}

/// The smallest latency of a bucket, nanoseconds. `bucket` is below [`LATENCY_BUCKETS`].
pub const fn bucket_lower_bound_ns(bucket: usize) -> u64 {
    if bucket == 0 {
        return 0;
    }
    let exponent = (bucket - 1) / 4 + 6;
    let quarter = ((bucket - 1) % 4) as u64;
    (4 + quarter) << (exponent - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_apart_from_process_and_reason() {
        let reason = ProcessKey {
            tgid: 0,
            unattributed: 3,
            start_boot_ns: 0,
        };
        for epoch in [0, 1] {
            assert_eq!(reason.in_epoch(epoch).split_epoch(), (reason, epoch));
        }
        assert_ne!(reason.in_epoch(0), reason.in_epoch(1));
    }

    /// Each number in it differs from the others by its factor.
    fn totals(number: u64) -> ProcessTotals {
        ProcessTotals {
            time_wait: [number; Side::COUNT],
            fin_wait2: [2 * number; Side::COUNT],
            overflow: [3 * number; Side::COUNT],
            reset_sent: [4 * number; ResetReason::COUNT],
            reset_received: [5 * number; ResetReason::COUNT],
            abort: [6 * number; AbortReason::COUNT],
            ended: [7 * number; EndCause::COUNT],
            reused: 8 * number,
            hindered: 9 * number,
            refused: [10 * number; ReuseRefusal::COUNT],
        }
    }

    #[test]
    fn sums_have_every_number() {
        let mut sum = totals(1);
        sum.add(&totals(2));
        assert_eq!(sum, totals(3));
        // Taken back in a later epoch.
        sum.add(&ProcessTotals {
            ended: [u64::MAX; EndCause::COUNT],
            ..ProcessTotals::default()
        });
        assert_eq!(sum.ended, [20; EndCause::COUNT]);
    }

    #[test]
    fn sums_of_searches_have_the_longest() {
        let search = |count, max_ns| PortTotals {
            count,
            failures: 2 * count,
            untimed: 3 * count,
            max_ns,
            buckets: [count as u32; LATENCY_BUCKETS],
        };
        for (one, other) in [(search(1, 5), search(2, 7)), (search(2, 7), search(1, 5))] {
            let mut sum = one;
            sum.add(&other);
            assert_eq!(sum, search(3, 7));
        }
    }

    #[test]
    fn every_bucket_begins_where_its_lower_bound_says() {
        for bucket in 0..LATENCY_BUCKETS {
            let low = bucket_lower_bound_ns(bucket);
            assert_eq!(bucket_of_ns(low), bucket, "lower bound of {bucket}");
            if bucket > 0 {
                assert_eq!(bucket_of_ns(low - 1), bucket - 1, "just below {bucket}");
            }
        }
        assert_eq!(bucket_of_ns(u64::MAX), LATENCY_BUCKETS - 1);
    }
}
