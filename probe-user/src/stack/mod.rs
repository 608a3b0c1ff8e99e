//! User stacks that the kernel side keeps: looked up and symbolised while their processes live.
//!
//! `process` reads a process's memory map and opens its files in its own root, `unwind` assembles a stack, `symbols`
//! gives its functions names.

mod perf_map;
mod process;
mod symbols;
mod tables;
mod unwind;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use twtrace_core::event::Process;
use twtrace_core::model::stacks::{Frame, Missing, StackRow, merged};
use twtrace_wire::{
    LOST_SITE, NO_SITE, ProcessKey, STACK_LOST, STACK_OF_EXIT, STACK_OF_KERNEL_THREAD, SiteCount,
    StackWhat, Unattributed,
};

use crate::probe::{Attached, FoundSite, ProbeError};
use process::{Image, NoImage};
use symbols::Symbols;

/// Between two lookups of new stacks.
const PAUSE: Duration = Duration::from_millis(100);

/// Stacks seen so far. Never more than the kernel side's maps hold.
#[derive(Debug, Default)]
pub struct Stacks {
    known: HashSet<u64>,
    resolved: HashMap<u64, Resolved>,
    resolved_at: Option<Instant>,
}

#[derive(Debug)]
struct Resolved {
    process: ProcessKey,
    frames: Vec<Frame>,
    why: Option<Missing>,
}

impl Stacks {
    /// Looks up new stacks, if the last lookup is at least a pause ago.
    pub fn resolve_if_due(&mut self, attached: &Attached) -> Result<(), ProbeError> {
        match self.resolved_at {
            Some(resolved_at) if resolved_at.elapsed() < PAUSE => Ok(()),
            _ => self.resolve_new(attached),
        }
    }

    /// Looks up new stacks.
    pub fn resolve_new(&mut self, attached: &Attached) -> Result<(), ProbeError> {
        self.resolved_at = Some(Instant::now());
        let mut by_process: HashMap<ProcessKey, Vec<FoundSite>> = HashMap::new();
        for found in attached.new_sites(&self.known)? {
            self.known.insert(found.id);
            by_process
                .entry(found.site.process)
                .or_default()
                .push(found);
        }
        for (process, sites) in by_process {
            self.resolve(process, &sites);
        }
        Ok(())
    }

    fn resolve(&mut self, process: ProcessKey, sites: &[FoundSite]) {
        let mut image = Image::of(process);
        if image.is_ok() && !process::is_alive(process) {
            // The pid may have been reused while reading: then the image is another process's.
            image = Err(NoImage::Gone);
        }
        let mut symbols = Symbols::new();
        for found in sites {
            let without = match found.site.stack {
                STACK_OF_EXIT => Some(Missing::Exit),
                STACK_OF_KERNEL_THREAD => Some(Missing::KernelThread),
                _ => None,
            };
            let (frames, why) = match (&mut image, without) {
                (_, Some(why)) => (Vec::new(), Some(why)),
                (Ok(image), None) => {
                    let stack = unwind::unwind(&found.site, &found.frames, image);
                    let outer = match (found.site.stack, stack.is_cut) {
                        (STACK_LOST, _) => Some(Missing::OuterFrames),
                        (_, true) => Some(Missing::NoFramePointers),
                        (_, false) => None,
                    };
                    (symbols.name(&stack.frames, image), outer)
                }
                (Err(error), None) => {
                    let why = match error {
                        NoImage::Gone => Missing::ProcessGone,
                        NoImage::Unreadable => Missing::Unreadable,
                    };
                    (
                        symbols::unnamed(&unwind::raw(&found.site, &found.frames)),
                        Some(why),
                    )
                }
            };
            let resolved = Resolved {
                process,
                frames,
                why,
            };
            self.resolved.insert(found.id, resolved);
        }
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
                    let Some(resolved) = self.resolved.get(&site) else {
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
