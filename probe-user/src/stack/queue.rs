//! Stacks that wait for the process that reads symbols, by user: one user's files, however slow, delay the stacks of the
//! others by one stack at a time.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use super::job::Job;
use super::open::Identity;

/// Memory of the stacks that wait, and of those of one user, bytes. A stack takes some 2 KiB.
const MAX_BYTES: usize = 32 << 20;
const MAX_BYTES_OF_USER: usize = 16 << 20;
/// Files that are remembered.
const MAX_PROVEN: usize = 16_384;
/// Users that are remembered.
const MAX_USERS: usize = 4_096;
/// After as many failures nothing more is read for a user's processes. Very large programs on a busy host may be late, too.
pub const MAX_FAILURES: u32 = 6;

#[derive(Debug, Default)]
struct User {
    waiting: VecDeque<Job>,
    /// Memory of those that wait.
    bytes: usize,
    /// Time that its stacks took.
    used: Duration,
    failures: u32,
    /// Files during whose reading a process failed.
    refused: HashSet<Identity>,
}

/// Who waits, and what has failed.
#[derive(Debug, Default)]
pub struct Queue {
    users: BTreeMap<u32, User>,
    /// Files that were read: they do not count as the reason of a failure.
    proven: HashSet<Identity>,
    /// Memory of all that wait.
    bytes: usize,
}

impl Queue {
    /// Adds a stack; gives it back if there is no room, or nothing more is read for its user.
    pub fn push(&mut self, job: Job) -> Result<(), Box<Job>> {
        if self.users.len() >= MAX_USERS {
            self.users
                .retain(|_, user| user.failures > 0 || !user.waiting.is_empty());
        }
        let bytes = job.bytes();
        if self.bytes + bytes > MAX_BYTES || self.users.len() >= MAX_USERS {
            return Err(Box::new(job));
        }
        let user = self.users.entry(job.user).or_default();
        if user.failures >= MAX_FAILURES || user.bytes + bytes > MAX_BYTES_OF_USER {
            return Err(Box::new(job));
        }
        user.waiting.push_back(job);
        user.bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// The next stack: of the user whose stacks took the least time so far.
    pub fn pop(&mut self) -> Option<Job> {
        let waiting = self.users.values_mut();
        let next = waiting
            .filter(|user| !user.waiting.is_empty())
            .min_by_key(|user| user.used)?;
        let mut job = next.waiting.pop_front()?;
        let bytes = job.bytes();
        next.bytes -= bytes;
        self.bytes -= bytes;
        job.leave_out(|file| next.refused.contains(&file.identity));
        Some(job)
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Counts the time that a stack took.
    pub fn took(&mut self, user: u32, time: Duration) {
        self.users.entry(user).or_default().used += time;
    }

    /// Remembers that all files of a stack were read.
    pub fn succeeded(&mut self, job_files: impl Iterator<Item = Identity>) {
        if self.proven.len() >= MAX_PROVEN {
            self.proven.clear();
        }
        self.proven.extend(job_files);
    }

    /// Remembers that reading failed for a stack: for its user those of its files are not read again that were never read
    /// successfully, or all. Returns the stacks that are not read for that reason.
    pub fn failed(&mut self, job: &Job) -> Vec<Job> {
        let files = job.files().into_iter();
        let of_job: Vec<Identity> = files.map(|file| file.identity).collect();
        let user = self.users.entry(job.user).or_default();
        user.failures += 1;
        let new: Vec<Identity> = of_job
            .iter()
            .filter(|identity| !self.proven.contains(identity))
            .copied()
            .collect();
        user.refused
            .extend(if new.is_empty() { of_job } else { new });
        if user.failures < MAX_FAILURES {
            return Vec::new();
        }
        self.bytes -= std::mem::take(&mut user.bytes);
        user.waiting.drain(..).collect()
    }

    /// Takes all that wait.
    pub fn drain(&mut self) -> Vec<Job> {
        self.bytes = 0;
        let users = self.users.values_mut();
        let waiting = users.flat_map(|user| {
            user.bytes = 0;
            user.waiting.drain(..)
        });
        waiting.collect()
    }
}
