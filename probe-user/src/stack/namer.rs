//! Has stacks resolved by the process that reads symbols, and replaces it when it fails or is late.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use twtrace_core::model::stacks::Missing;

use super::job::{Job, Resolved};
use super::launcher::{Launcher, Started, Work, wait_readable};
use super::protocol::{MAX_ANSWER, MAX_REQUEST};
use super::queue::Queue;
use super::reader;
use crate::scan::descriptor;

/// Time for one stack, in which several large files may have to be read.
const STACK_DEADLINE: Duration = Duration::from_secs(3);
/// A process that has worked as long is replaced before its next stack: its CPU time is limited.
const MAX_WORK: Duration = Duration::from_secs(20);
/// Replacements of processes that failed.
const MAX_REPLACEMENTS: u32 = 24;

/// A stack and its id.
pub type Done = (u64, Resolved);

/// The process that reads symbols, and the stacks that wait for it.
#[derive(Debug, Default)]
pub struct Namer {
    /// `None` if it could not be started, or failed too often.
    launcher: Option<Launcher>,
    reader: Option<Reader>,
    queue: Queue,
    /// The stack that is being resolved, and since when.
    pending: Option<(Job, Instant)>,
    /// Of the last request.
    number: u64,
    failures: u32,
    done: Vec<Done>,
}

#[derive(Debug)]
struct Reader {
    socket: OwnedFd,
    worked: Duration,
}

/// What became of the stack that is being resolved.
enum Outcome {
    Waiting,
    Answer(Vec<u8>),
    Failed,
}

impl Namer {
    /// To be called before privileges are dropped, and while there are no other threads.
    pub fn open() -> Self {
        Self::of(reader::serve)
    }

    fn of(work: Work) -> Self {
        let launcher = Launcher::open(work).inspect_err(|error| {
            log::warn!("stacks will have no function names: {error}");
        });
        Self {
            launcher: launcher.ok(),
            ..Self::default()
        }
    }

    /// Takes a stack. The result comes with [`Self::take_done`], maybe at once.
    pub fn push(&mut self, job: Job) {
        if self.launcher.is_none() {
            self.finish(job, Missing::SymbolsOff);
        } else if let Err(job) = self.queue.push(job) {
            self.finish(*job, Missing::SymbolsLimited);
        }
    }

    /// Stacks that are done.
    pub fn take_done(&mut self) -> Vec<Done> {
        std::mem::take(&mut self.done)
    }

    /// Whether no stack waits.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.pending.is_none()
    }

    /// Has stacks resolved, for a limited time.
    pub fn work(&mut self, until: Instant) {
        while self.pending.is_some() || self.send_next() {
            let Some((job, since)) = self.pending.take() else {
                return;
            };
            match self.poll(since, until) {
                Outcome::Waiting => {
                    self.pending = Some((job, since));
                    return;
                }
                Outcome::Answer(message) => self.answered(job, since, &message),
                Outcome::Failed => self.failed(job, since),
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// Gives up all that wait.
    pub fn abandon(&mut self) {
        let pending = self.pending.take().map(|(job, _)| job);
        if pending.is_some() {
            // Its answer would be late.
            self.reader = None;
        }
        for job in pending.into_iter().chain(self.queue.drain()) {
            self.finish(job, Missing::SymbolsLimited);
        }
    }

    /// Sends the next request, if a stack waits; false if none does.
    fn send_next(&mut self) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        if self.reader.as_ref().is_none_or(|it| it.worked > MAX_WORK)
            && let Err(error) = self.start_reader()
        {
            self.switch_off(&error.to_string());
            return false;
        }
        let Some(job) = self.queue.pop() else {
            return false;
        };
        self.number += 1;
        match self.send(&job) {
            Ok(()) => self.pending = Some((job, Instant::now())),
            Err(error) => {
                log::debug!("symbols: {error}");
                self.failed(job, Instant::now());
            }
        }
        !self.queue.is_empty() || self.pending.is_some()
    }

    fn send(&self, job: &Job) -> io::Result<()> {
        let reader = self.reader.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let (request, descriptors) = job.request(self.number);
        let message = serde_json::to_vec(&request)?;
        if message.len() > MAX_REQUEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        descriptor::send(&reader.socket, &message, &descriptors)
    }

    fn poll(&self, since: Instant, until: Instant) -> Outcome {
        let Some(reader) = &self.reader else {
            return Outcome::Failed;
        };
        let deadline = since + STACK_DEADLINE;
        match wait_readable(&reader.socket, until.min(deadline)) {
            Ok(true) => {}
            Ok(false) if Instant::now() < deadline => return Outcome::Waiting,
            Ok(false) | Err(_) => return Outcome::Failed,
        }
        let mut buffer = vec![0; MAX_ANSWER];
        // Descriptors that an answer brings are closed.
        match descriptor::receive(&reader.socket, &mut buffer) {
            Ok((length, _)) if length > 0 => {
                buffer.truncate(length);
                Outcome::Answer(buffer)
            }
            Ok(_) | Err(_) => Outcome::Failed,
        }
    }

    fn answered(&mut self, job: Job, since: Instant, message: &[u8]) {
        let took = since.elapsed();
        let (id, user) = (job.id, job.user);
        let files: Vec<_> = job.files().into_iter().map(|it| it.identity).collect();
        match job.named(message, self.number) {
            Ok(resolved) => {
                log::debug!("symbols of a stack of user {user}: {} us", took.as_micros());
                self.queue.took(user, took);
                self.queue.succeeded(files.into_iter());
                if let Some(reader) = &mut self.reader {
                    reader.worked += took;
                }
                self.done.push((id, resolved));
            }
            Err(job) => self.failed(*job, since),
        }
    }

    fn failed(&mut self, job: Job, since: Instant) {
        self.queue.took(job.user, since.elapsed());
        self.reader = None;
        self.failures += 1;
        for other in self.queue.failed(&job) {
            self.finish(other, Missing::SymbolsLimited);
        }
        self.finish(job, Missing::SymbolsFailed);
        if self.failures > MAX_REPLACEMENTS {
            self.switch_off("reading symbols failed too often");
        }
    }

    fn start_reader(&mut self) -> io::Result<()> {
        let launcher = self.launcher.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let Started {
            socket,
            pid,
            previous,
        } = launcher.start_reader()?;
        log::debug!("process {pid} reads symbols; the one before ended with status {previous:?}");
        self.reader = Some(Reader {
            socket,
            worked: Duration::ZERO,
        });
        Ok(())
    }

    fn switch_off(&mut self, why: &str) {
        log::warn!("further stacks will have no function names: {why}");
        (self.launcher, self.reader) = (None, None);
        for job in self.queue.drain() {
            self.finish(job, Missing::SymbolsOff);
        }
    }

    fn finish(&mut self, job: Job, why: Missing) {
        let id = job.id;
        self.done.push((id, job.without_names(why)));
    }
}

#[cfg(test)]
#[path = "namer_tests.rs"]
mod tests;
