//! Parallel phases: those on the machine itself one at a time, since they mostly wait; those that keep CPUs busy, as
//! many at a time as there are CPUs.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use super::result::PhaseResult;

/// Which other jobs a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Jobs that attach to the machine's own kernel, and must be the only ones.
    Machine,
    /// Jobs that keep a CPU busy.
    Busy,
}

/// Phases that run one after the other, in parallel with other jobs.
pub struct Job<'a> {
    pub lane: Lane,
    /// Its duration, in any unit: of the busy jobs the longest start first, so that all CPUs have work to the end.
    pub weight: u32,
    pub work: Box<dyn FnOnce() -> Vec<PhaseResult> + Send + 'a>,
}

/// Runs all jobs, with this many busy ones at a time; the machine's start in the given order. The results are also in
/// that order.
pub fn run(jobs: Vec<Job<'_>>, busy_at_a_time: usize) -> Vec<PhaseResult> {
    let (machine, mut busy): (VecDeque<_>, VecDeque<_>) = jobs
        .into_iter()
        .enumerate()
        .partition(|(_, job)| job.lane == Lane::Machine);
    busy.make_contiguous()
        .sort_by_key(|(_, job)| std::cmp::Reverse(job.weight));
    let busy_workers = busy_at_a_time.clamp(1, busy.len().max(1));
    let lanes = [(Mutex::new(machine), 1), (Mutex::new(busy), busy_workers)];
    let ended = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (waiting, workers) in &lanes {
            for _ in 0..*workers {
                scope.spawn(|| {
                    loop {
                        // A separate statement, which releases the lock at its end.
                        let next = locked(waiting).pop_front();
                        let Some((index, job)) = next else { return };
                        let results = (job.work)();
                        locked(&ended).push((index, results));
                    }
                });
            }
        }
    });
    let mut ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
    ended.sort_by_key(|(index, _)| *index);
    ended.into_iter().flat_map(|(_, results)| results).collect()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::test::result::PhaseVerdict;

    /// Maximum number that ran at the same time.
    #[derive(Default)]
    struct Crowd {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    fn job<'a>(name: usize, lane: Lane, crowd: &'a Crowd) -> Job<'a> {
        let work = move || {
            let now = crowd.now.fetch_add(1, Ordering::SeqCst) + 1;
            crowd.most.fetch_max(now, Ordering::SeqCst);
            // Long enough for the others to start, if they may.
            thread::sleep(Duration::from_millis(50));
            crowd.now.fetch_sub(1, Ordering::SeqCst);
            vec![PhaseResult::new(
                &name.to_string(),
                Duration::ZERO,
                PhaseVerdict::Well,
            )]
        };
        Job {
            lane,
            weight: 1,
            work: Box::new(work),
        }
    }

    #[test]
    fn the_longest_begin() {
        let order = Mutex::new(Vec::new());
        let begun = &order;
        let jobs = [1, 3, 2].map(|weight| Job {
            lane: Lane::Busy,
            weight,
            work: Box::new(move || {
                locked(begun).push(weight);
                Vec::new()
            }),
        });
        run(jobs.into(), 1);
        assert_eq!(order.into_inner().unwrap(), [3, 2, 1]);
    }

    #[test]
    fn each_lane_has_its_own_limit_and_results_keep_their_order() {
        let (machine, busy) = (Crowd::default(), Crowd::default());
        let jobs = (0..8).map(|name| match name % 2 {
            0 => job(name, Lane::Machine, &machine),
            _ => job(name, Lane::Busy, &busy),
        });
        let results = run(jobs.collect(), 2);
        let names: Vec<_> = results.iter().map(|result| result.name.as_str()).collect();
        assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6", "7"]);
        assert_eq!(machine.most.load(Ordering::SeqCst), 1);
        assert_eq!(busy.most.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn nothing_to_do_ends_at_once() {
        assert!(run(Vec::new(), 0).is_empty());
    }
}
