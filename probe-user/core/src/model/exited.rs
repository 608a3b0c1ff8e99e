//! When processes were seen to have exited.

use std::collections::HashMap;

use twtrace_wire::ProcessKey;

use crate::event::Moment;

/// Maximum number of processes that are kept: the latest.
const MAX_EXITED: usize = 4_096;

/// By process.
#[derive(Clone, Debug, Default)]
pub struct Exited(HashMap<ProcessKey, Moment>);

impl Exited {
    /// Notes that processes no longer run. The first time counts: what a process left behind may end later, and its exit is then
    /// reported again.
    pub fn note(&mut self, keys: impl IntoIterator<Item = ProcessKey>, at: Moment) {
        for key in keys {
            if self.0.len() >= MAX_EXITED && !self.0.contains_key(&key) {
                self.forget_half();
            }
            self.0.entry(key).or_insert(at);
        }
    }

    /// All that are kept.
    pub fn all(&self) -> &HashMap<ProcessKey, Moment> {
        &self.0
    }

    fn forget_half(&mut self) {
        let mut times: Vec<u64> = self.0.values().map(|at| at.mono_ns).collect();
        times.sort_unstable();
        let middle_ns = times.get(times.len() / 2).copied().unwrap_or(0);
        self.0.retain(|_, at| at.mono_ns > middle_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tgid: u32) -> ProcessKey {
        crate::event::samples::process(tgid, "nginx").key
    }

    fn at(mono_ns: u64) -> Moment {
        Moment {
            mono_ns,
            ..Moment::default()
        }
    }

    #[test]
    fn the_first_time_counts() {
        let mut exited = Exited::default();
        exited.note([key(1)], at(5));
        exited.note([key(1), key(2)], at(9_000));
        assert_eq!(exited.all()[&key(1)].mono_ns, 5);
        assert_eq!(exited.all()[&key(2)].mono_ns, 9_000);
    }

    #[test]
    fn the_latest_are_kept() {
        let mut exited = Exited::default();
        for pid in 1..3 * MAX_EXITED as u32 {
            exited.note([key(pid)], at(u64::from(pid)));
        }
        assert!(exited.all().len() <= MAX_EXITED);
        assert!(exited.all().contains_key(&key(3 * MAX_EXITED as u32 - 1)));
    }
}
