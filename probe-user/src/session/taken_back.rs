//! Counts that the kernel side corrects after they were taken from it.

use std::collections::HashMap;

use twtrace_wire::{EndCause, ProcessKey, ProcessTotals, ResetReason};

/// Processes that may have corrections due, at most.
const MAX_PROCESSES: usize = 4_096;

/// RSTs that were counted as received and turned out to be something else (a replacement, see the event contract),
/// and ends of TIME_WAITs that differ from what was assumed, if they had already been taken. Later counts are reduced
/// by them: a reported figure never decreases.
#[derive(Debug, Default)]
pub struct TakenBack(HashMap<ProcessKey, Debt>);

/// Corrections that are due for one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Debt {
    reset_received: [u64; ResetReason::COUNT],
    ended: [u64; EndCause::COUNT],
}

impl TakenBack {
    /// Sets negative numbers in `taken` aside, and subtracts those of earlier calls.
    pub fn settle(&mut self, taken: &mut [(ProcessKey, ProcessTotals)]) {
        for (key, totals) in taken {
            let mut debt = self.0.get(key).copied().unwrap_or_default();
            settle(&mut totals.reset_received, &mut debt.reset_received);
            settle(&mut totals.ended, &mut debt.ended);
            if debt == Debt::default() {
                self.0.remove(key);
            } else {
                if self.0.len() >= MAX_PROCESSES {
                    // Most of these processes have long ended.
                    log::debug!("what was taken back is forgotten: it stays counted");
                    self.0.clear();
                }
                self.0.insert(*key, debt);
            }
        }
    }
}

fn settle<const N: usize>(counts: &mut [u64; N], taken_back: &mut [u64; N]) {
    for (count, taken_back) in counts.iter_mut().zip(taken_back) {
        let net = count.wrapping_sub(*taken_back).cast_signed();
        *count = u64::try_from(net).unwrap_or(0);
        *taken_back = net.min(0).unsigned_abs();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(counts: [i64; 2]) -> Vec<(ProcessKey, ProcessTotals)> {
        let mut totals = ProcessTotals::default();
        for (to, count) in totals.reset_received.iter_mut().zip(counts) {
            *to = count.cast_unsigned();
        }
        vec![(ProcessKey::default(), totals)]
    }

    #[test]
    fn what_is_taken_back_is_made_up_for() {
        let mut taken_back = TakenBack::default();
        for (kernel, reported) in [
            ([1, 0], [1, 0]),
            ([-1, 2], [0, 2]),
            ([-1, 0], [0, 0]),
            ([1, 0], [0, 0]),
            ([3, 1], [2, 1]),
            ([1, 0], [1, 0]),
        ] {
            let mut taken = taken(kernel);
            taken_back.settle(&mut taken);
            assert_eq!(taken[0].1.reset_received[..2], reported);
        }
        assert!(taken_back.0.is_empty());
    }

    #[test]
    fn ends_are_made_up_for_as_well() {
        let mut taken_back = TakenBack::default();
        for (kernel, reported) in [([3, 0], [3, 0]), ([-1, 1], [0, 1]), ([2, 0], [1, 0])] {
            let mut taken = taken([0, 0]);
            for (to, count) in taken[0].1.ended.iter_mut().zip(kernel) {
                *to = i64::cast_unsigned(count);
            }
            taken_back.settle(&mut taken);
            assert_eq!(taken[0].1.ended[..2], reported);
        }
        assert!(taken_back.0.is_empty());
    }

    #[test]
    fn debts_are_bounded() {
        let mut taken_back = TakenBack::default();
        for tgid in 1..=2 * MAX_PROCESSES as u32 {
            let mut taken = taken([-1, 0]);
            taken[0].0.tgid = tgid;
            taken_back.settle(&mut taken);
        }
        assert!(taken_back.0.len() <= MAX_PROCESSES);
    }
}
