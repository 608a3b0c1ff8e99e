//! User stacks that the kernel side keeps: looked up while their processes live, and resolved by another process.
//!
//! Their files belong to any user, and are untrusted input. The tracer only opens them (`process`, `open`) and passes them on
//! (`job`, `queue`, `namer`). A process without rights, which `launcher` starts and `sandbox` confines, reads
//! them: `reader`. `protocol` has the messages between the two, `unwind` puts a stack together.

mod job;
mod kept;
mod launcher;
mod mapping;
mod memory;
mod namer;
mod open;
mod process;
mod protocol;
mod queue;
mod reader;
mod sandbox;
#[cfg(test)]
mod sandbox_tests;
mod unwind;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use twtrace_core::event::Process;
use twtrace_core::model::stacks::{Missing, StackRow, merged};
use twtrace_wire::{
    LOST_SITE, NO_SITE, ProcessKey, STACK_OF_EXIT, STACK_OF_KERNEL_THREAD, SiteCount, StackWhat,
    Unattributed,
};

use crate::probe::{Attached, FoundSite, ProbeError};
use job::{Job, Resolved};
use kept::Kept;
use namer::Namer;
use open::OpenFiles;
use process::{Image, NoImage};

/// Between two lookups of new stacks.
const PAUSE: Duration = Duration::from_millis(100);
/// Time for resolving stacks between two drains of the ring buffer.
const SHARE: Duration = Duration::from_millis(10);
/// Time for those that are left at the end.
const LAST: Duration = Duration::from_secs(10);
/// Time for reading the maps of processes between two drains, and of those of one user: a process may have many large ones.
const LOOKUP: Limits = Limits {
    all: Duration::from_millis(100),
    user: Duration::from_millis(40),
};
/// The same at the end.
const LAST_LOOKUP: Limits = Limits {
    all: Duration::from_secs(2),
    user: Duration::from_millis(500),
};

#[derive(Clone, Copy, Debug)]
struct Limits {
    all: Duration,
    user: Duration,
}

/// Stacks seen so far. Never more than the kernel side's maps hold.
#[derive(Debug)]
pub struct Stacks {
    known: HashSet<u64>,
    files: OpenFiles,
    namer: Namer,
    resolved: Kept,
    looked_up_at: Option<Instant>,
}

impl Stacks {
    /// Starts what resolves them. To be called before privileges are dropped, and while there are no other threads.
    pub fn open() -> Self {
        Self {
            known: HashSet::new(),
            files: OpenFiles::default(),
            namer: Namer::open(),
            resolved: Kept::default(),
            looked_up_at: None,
        }
    }

    /// Looks up new stacks, if the last lookup is at least a pause ago, and has some resolved.
    ///
    /// # Errors
    /// If a map can't be read.
    pub fn resolve_some(&mut self, attached: &Attached) -> Result<(), ProbeError> {
        let is_due = |at: Instant| at.elapsed() >= PAUSE;
        if self.looked_up_at.is_none_or(is_due) {
            self.look_up_new(attached, LOOKUP)?;
        }
        self.work(SHARE);
        Ok(())
    }

    /// Looks up new stacks for the last time, and has all resolved for which there is time.
    ///
    /// # Errors
    /// If a map can't be read.
    pub fn resolve_rest(&mut self, attached: &Attached) -> Result<(), ProbeError> {
        self.look_up_new(attached, LAST_LOOKUP)?;
        for found in attached.new_sites(&self.known)? {
            self.leave(found, Missing::SymbolsLimited);
        }
        self.work(LAST);
        self.namer.abandon();
        self.work(Duration::ZERO);
        Ok(())
    }

    fn work(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while !self.namer.is_idle() {
            self.namer.work(until);
            if Instant::now() >= until {
                break;
            }
        }
        for (id, resolved) in self.namer.take_done() {
            self.resolved.insert(id, resolved);
        }
    }

    /// Those for which there is no time are found again the next time.
    fn look_up_new(&mut self, attached: &Attached, limits: Limits) -> Result<(), ProbeError> {
        self.looked_up_at = Some(Instant::now());
        let mut by_process: HashMap<ProcessKey, Vec<FoundSite>> = HashMap::new();
        for found in attached.new_sites(&self.known)? {
            by_process
                .entry(found.site.process)
                .or_default()
                .push(found);
        }
        let began = Instant::now();
        let mut used: HashMap<Option<u32>, Duration> = HashMap::new();
        // In any order: other processes come first the next time.
        for (process, sites) in by_process {
            let since = Instant::now();
            let of_user = used.entry(process::user_of(process)).or_default();
            if *of_user < limits.user && since - began < limits.all {
                self.look_up(process, sites);
                *of_user += since.elapsed();
            }
        }
        Ok(())
    }

    fn look_up(&mut self, process: ProcessKey, sites: Vec<FoundSite>) {
        let mut image = Image::of(process);
        if image.is_ok() && !process::is_alive(process) {
            // The pid may have been reused while reading: then the image is another process's.
            image = Err(NoImage::Gone);
        }
        for found in sites {
            let why = match (found.site.stack, &mut image) {
                (STACK_OF_EXIT, _) => Missing::Exit,
                (STACK_OF_KERNEL_THREAD, _) => Missing::KernelThread,
                (_, Ok(image)) => {
                    self.known.insert(found.id);
                    self.namer.push(Job::new(found, image, &mut self.files));
                    continue;
                }
                (_, Err(NoImage::Gone)) => Missing::ProcessGone,
                (_, Err(NoImage::Unreadable)) => Missing::Unreadable,
            };
            self.leave(found, why);
        }
    }

    /// Keeps a stack whose process's map is not known.
    fn leave(&mut self, found: FoundSite, why: Missing) {
        let frames = match why {
            Missing::Exit | Missing::KernelThread => Vec::new(),
            _ => unwind::raw(&found.site, &found.frames),
        };
        let resolved = Resolved {
            process: found.site.process,
            user: None,
            frames: frames.into_iter().map(job::unnamed).collect(),
            why: Some(why),
        };
        self.known.insert(found.id);
        self.resolved.insert(found.id, resolved);
    }

    /// Rows of the counted stacks. `name` returns the process of a key.
    pub fn rows(
        &self,
        counts: &[(SiteCount, u64)],
        mut name: impl FnMut(ProcessKey) -> Option<Process>,
    ) -> Vec<StackRow> {
        let rows = counts.iter().filter_map(|(key, count)| {
            let what = StackWhat::from_code(u8::try_from(key.what).ok()?)?;
            let nobody = |why: Missing, unattributed: Unattributed| StackRow {
                process: None,
                unattributed: Some(unattributed),
                what,
                count: *count,
                frames: Vec::new(),
                why: Some(why),
            };
            match key.site {
                NO_SITE => Some(nobody(Missing::NotSeen, Unattributed::Unknown)),
                LOST_SITE => Some(nobody(Missing::Lost, Unattributed::Lost)),
                site => {
                    let Some(resolved) = self.resolved.get(site) else {
                        return Some(nobody(Missing::Lost, Unattributed::Lost));
                    };
                    Some(StackRow {
                        process: name(resolved.process),
                        unattributed: None,
                        what,
                        count: *count,
                        frames: resolved.frames.clone(),
                        why: resolved.why,
                    })
                }
            }
        });
        merged(rows.collect())
    }
}
