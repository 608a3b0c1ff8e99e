//! Totals by process: read in place, or taken out of the kernel to make room for others.

use aya::Pod;
use aya::maps::{Array, HashMap, MapData, MapError};
use twtrace_wire::{PortKey, PortTotals, ProcessKey, ProcessNames, ProcessTotals};

use super::program_counters::{map_error, missing};
use super::{Attached, ProbeError};

/// What was counted for each process since the last time.
#[derive(Clone, Debug, Default)]
pub struct TakenTotals {
    /// By process, or by the reason why there is none.
    pub processes: Vec<(ProcessKey, ProcessTotals)>,
    pub ports: Vec<(PortKey, PortTotals)>,
}

impl Attached {
    /// Totals by process, counted in the kernel since tracing began or since they were last taken.
    pub fn processes(&self) -> Result<Vec<(ProcessKey, ProcessTotals)>, ProbeError> {
        let mut sums: std::collections::HashMap<ProcessKey, ProcessTotals> = Default::default();
        for (key, totals) in self.entries::<ProcessKey, ProcessTotals>("PROCESSES")? {
            sums.entry(key.split_epoch().0).or_default().add(&totals);
        }
        Ok(sums.into_iter().collect())
    }

    /// Port searches by process and operation, over the same time.
    pub fn ports(&self) -> Result<Vec<(PortKey, PortTotals)>, ProbeError> {
        let mut sums: std::collections::HashMap<PortKey, PortTotals> = Default::default();
        for (key, totals) in self.entries::<PortKey, PortTotals>("PORTS")? {
            sums.entry(split(key).0).or_default().add(&totals);
        }
        Ok(sums.into_iter().collect())
    }

    /// Names of a process that acted; `None` if too many others have acted since.
    pub fn names_of(&self, key: ProcessKey) -> Option<ProcessNames> {
        let map: HashMap<&MapData, ProcessKey, ProcessNames> =
            self.ebpf.map("NAMES")?.try_into().ok()?;
        map.get(&key, 0).ok()
    }

    /// Begins another epoch of counting and takes what was counted in the previous one. Returns each count once. If
    /// the kernel can't report when all counting programs have changed to the new epoch, returns what was counted up
    /// to the previous call.
    pub fn take_totals(&mut self) -> Result<TakenTotals, ProbeError> {
        let before = self.epoch()?;
        let next = 1 - before;
        if self.waits_for_programs {
            self.begin_epoch(next)?;
            if wait_for_programs() {
                return self.take_epoch(before);
            }
            log::debug!("membarrier() is refused: totals are taken one turn later");
            self.waits_for_programs = false;
            return Ok(TakenTotals::default());
        }
        // This epoch ended at the previous call.
        let taken = self.take_epoch(next)?;
        self.begin_epoch(next)?;
        Ok(taken)
    }

    fn epoch(&self) -> Result<u32, ProbeError> {
        let fails = |error: MapError| map_error("EPOCH", &error);
        let map = self.ebpf.map("EPOCH").ok_or_else(|| missing("EPOCH"))?;
        let epochs: Array<&MapData, u32> = map.try_into().map_err(fails)?;
        Ok(epochs.get(&0, 0).map_err(fails)? & 1)
    }

    fn begin_epoch(&mut self, epoch: u32) -> Result<(), ProbeError> {
        let fails = |error: MapError| map_error("EPOCH", &error);
        let map = self.ebpf.map_mut("EPOCH");
        let map = map.ok_or_else(|| missing("EPOCH"))?;
        let mut epochs: Array<&mut MapData, u32> = map.try_into().map_err(fails)?;
        epochs.set(0, epoch, 0).map_err(fails)
    }

    fn take_epoch(&mut self, epoch: u32) -> Result<TakenTotals, ProbeError> {
        Ok(TakenTotals {
            processes: self.take("PROCESSES", epoch, ProcessKey::split_epoch)?,
            ports: self.take("PORTS", epoch, split)?,
        })
    }

    fn take<K: Pod, V: Pod, P>(
        &mut self,
        name: &'static str,
        epoch: u32,
        split: fn(K) -> (P, u32),
    ) -> Result<Vec<(P, V)>, ProbeError> {
        let fails = |error: MapError| map_error(name, &error);
        // All entries first: a walk starts again if the entry it has reached is removed.
        let ended: Vec<(K, V)> = self
            .entries::<K, V>(name)?
            .into_iter()
            .filter(|(key, _)| split(*key).1 == epoch)
            .collect();
        let map = self.ebpf.map_mut(name).ok_or_else(|| missing(name))?;
        let mut map: HashMap<&mut MapData, K, V> = map.try_into().map_err(fails)?;
        let mut taken = Vec::with_capacity(ended.len());
        for (key, value) in ended {
            map.remove(&key).map_err(fails)?;
            taken.push((split(key).0, value));
        }
        Ok(taken)
    }
}

fn split(key: PortKey) -> (PortKey, u32) {
    let (process, epoch) = key.process.split_epoch();
    (PortKey { process, ..key }, epoch)
}

/// Waits until every program that ran at the time of the call has ended: they are RCU readers, and
/// MEMBARRIER_CMD_GLOBAL waits for a grace period (kernel/sched/membarrier.c). False if this kernel can't
/// (nohz_full).
fn wait_for_programs() -> bool {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: takes plain numbers.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0 }
}
