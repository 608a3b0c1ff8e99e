//! User stacks: how to keep them, and how to read them back.

use std::collections::HashSet;
use std::hash::BuildHasher;

use aya::maps::{HashMap, MapData, MapError, StackTraceMap};
use twtrace_wire::{
    REGISTERS_ABSENT, REGISTERS_BY_HELPER, REGISTERS_BY_STACK, STACK_ID_MASK, STACK_IN_MORE, Site,
    SiteCount,
};

use super::btf::KernelBtf;
use super::program_counters::{map_error, missing};
use super::{Attached, ProbeError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackOptions {
    /// Maximum number of different stacks.
    pub max_stacks: u32,
    /// Stacks of port searches that take at least this long are counted, nanoseconds.
    pub slow_port_ns: u64,
}

/// `THREAD_SIZE` of x86-64 less `struct pt_regs`: where kernels without a helper for it (before 5.15) keep the user's
/// registers (task_pt_regs() of arch/x86/include/asm/processor.h; no padding before 6.9).
pub(super) const REGISTERS_OFFSET: u32 = 16_384 - 21 * 8;

/// How the kernel side finds the user's registers.
pub(super) fn user_registers(types: &KernelBtf) -> u32 {
    if !cfg!(target_arch = "x86_64") {
        return REGISTERS_ABSENT;
    }
    let has_helper = types
        .enum_values("bpf_func_id")
        .into_iter()
        .any(|(_, name)| name == "BPF_FUNC_task_pt_regs");
    if has_helper {
        REGISTERS_BY_HELPER
    } else {
        REGISTERS_BY_STACK
    }
}

/// A place in a process's code.
#[derive(Clone, Debug)]
pub struct FoundSite {
    pub id: u64,
    /// What the kernel side keeps of it.
    pub site: Site,
    /// The stack by frame pointers, innermost first; empty if there is none.
    pub frames: Vec<u64>,
}

impl Attached {
    /// The places in code that are not in `known` yet.
    pub fn new_sites<S: BuildHasher>(
        &self,
        known: &HashSet<u64, S>,
    ) -> Result<Vec<FoundSite>, ProbeError> {
        const SITES: &str = "SITES";
        let fails = |error: MapError| map_error(SITES, &error);
        let map = self.ebpf.map(SITES).ok_or_else(|| missing(SITES))?;
        let sites: HashMap<&MapData, u64, Site> = map.try_into().map_err(fails)?;
        let mut found = Vec::new();
        for id in sites.keys() {
            let id = id.map_err(fails)?;
            if known.contains(&id) {
                continue;
            }
            let site = sites.get(&id, 0).map_err(fails)?;
            if site.ready == 0 {
                // It is still being written.
                continue;
            }
            let frames = self.frames(site.stack)?;
            found.push(FoundSite { id, site, frames });
        }
        Ok(found)
    }

    fn frames(&self, stack: u32) -> Result<Vec<u64>, ProbeError> {
        let name = match stack {
            0..=STACK_ID_MASK => "STACKS",
            _ if stack & !STACK_ID_MASK == STACK_IN_MORE => "STACKS_MORE",
            _ => return Ok(Vec::new()),
        };
        let fails = |error: MapError| map_error(name, &error);
        let map = self.ebpf.map(name).ok_or_else(|| missing(name))?;
        let stacks: StackTraceMap<&MapData> = map.try_into().map_err(fails)?;
        let trace = stacks.get(&(stack & STACK_ID_MASK), 0).map_err(fails)?;
        Ok(trace.frames().iter().map(|frame| frame.ip).collect())
    }

    /// Counts of what each place led to.
    pub fn site_counts(&self) -> Result<Vec<(SiteCount, u64)>, ProbeError> {
        self.entries("SITE_COUNTS")
    }
}
