//! Reads what the programs count.

use std::{fs, os::fd::AsRawFd};

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError, PerCpuArray},
    programs::{Program, ProgramFd},
};
use twtrace_wire::{Cancelled, EndEvent, NetnsKey, NetnsTotals, Probe, TupleKey};

use super::{Attached, ProbeError};

impl Attached {
    /// Totals by network namespace, counted in the kernel.
    pub fn netns(&self) -> Result<Vec<(NetnsKey, NetnsTotals)>, ProbeError> {
        self.entries("NETNS")
    }

    /// Forgets what was counted in a removed namespace.
    pub fn forget_netns(&mut self, netns: NetnsKey) -> Result<(), ProbeError> {
        let fails = |error: MapError| map_error("NETNS", &error);
        let map = self.ebpf.map_mut("NETNS").ok_or_else(|| missing("NETNS"))?;
        let mut map: HashMap<&mut MapData, NetnsKey, NetnsTotals> =
            map.try_into().map_err(fails)?;
        match map.remove(&netns) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            // There was nothing to forget.
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
            {
                Ok(())
            }
            Err(error) => Err(fails(error)),
        }
    }

    /// What was lost, by [`Probe`], summed over CPUs.
    pub fn lost(&self) -> Result<[u64; Probe::COUNT], ProbeError> {
        let fails = |error: MapError| map_error("LOST", &error);
        let map = self.ebpf.map("LOST").ok_or_else(|| missing("LOST"))?;
        let counts: PerCpuArray<&MapData, u64> = map.try_into().map_err(fails)?;
        let mut lost = [0; Probe::COUNT];
        for (index, total) in (0..).zip(&mut lost) {
            *total = counts.get(&index, 0).map_err(fails)?.iter().sum();
        }
        Ok(lost)
    }

    /// Ends of mini-sockets on the timer tier whose timer was stopped before this time (CLOCK_MONOTONIC) and not
    /// restarted. Returns each once.
    pub fn take_cancelled(&mut self, before_ns: u64) -> Result<Vec<EndEvent>, ProbeError> {
        let fails = |error: MapError| map_error("CANCELLED", &error);
        let map = self
            .ebpf
            .map_mut("CANCELLED")
            .ok_or_else(|| missing("CANCELLED"))?;
        let mut map: HashMap<&mut MapData, TupleKey, Cancelled> = map.try_into().map_err(fails)?;
        let over: Vec<(TupleKey, Cancelled)> = map
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, cancelled)| cancelled.mini != 0 && cancelled.event.mono_ns < before_ns)
            .collect();
        let mut ended = Vec::new();
        for (key, cancelled) in over {
            // If the timer was restarted in between, the entry was removed.
            if map.remove(&key).is_ok() && cancelled.event.before_start == 0 {
                ended.push(cancelled.event);
            }
        }
        Ok(ended)
    }

    pub(super) fn entries<K: Pod, V: Pod>(
        &self,
        name: &'static str,
    ) -> Result<Vec<(K, V)>, ProbeError> {
        let fails = |error: MapError| map_error(name, &error);
        let map = self.ebpf.map(name).ok_or_else(|| missing(name))?;
        let map: HashMap<&MapData, K, V> = map.try_into().map_err(fails)?;
        map.iter().collect::<Result<_, _>>().map_err(fails)
    }

    /// How often the kernel skipped each of our programs because another run was in progress on that CPU, since all
    /// were attached: (program, count). `None` if this kernel does not count it (before 5.12).
    ///
    /// # Errors
    /// If /proc/self/fdinfo can't be read.
    pub fn recursion_misses(&self) -> Result<Option<Vec<(String, u64)>>, ProbeError> {
        let mut misses = self.misses()?;
        for (name, count) in misses.iter_mut().flatten() {
            let before = self.misses_before.get(name).copied().unwrap_or(0);
            *count = count.saturating_sub(before);
        }
        Ok(misses)
    }

    pub(super) fn misses(&self) -> Result<Option<Vec<(String, u64)>>, ProbeError> {
        let mut misses = Vec::new();
        for (name, program) in self.ebpf.programs() {
            let Some(count) = program_fd(program).map(misses_of).transpose()? else {
                continue;
            };
            match count {
                Some(count) => misses.push((name.to_owned(), count)),
                None => return Ok(None),
            }
        }
        Ok(Some(misses))
    }
}

/// `None` if the program is not loaded.
fn program_fd(program: &Program) -> Option<&ProgramFd> {
    program.fd().ok()
}

/// The kernel shows the count in the descriptor's fdinfo (bpf_prog_show_fdinfo); aya's info lacks it.
fn misses_of(fd: &ProgramFd) -> Result<Option<u64>, ProbeError> {
    use std::os::fd::AsFd;
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).map_err(|error| ProbeError::Proc { path, error })?;
    Ok(text
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))
        .and_then(|count| count.trim().parse().ok()))
}

/// The error that the object has no such map.
pub(super) fn missing(map: &'static str) -> ProbeError {
    ProbeError::Map {
        map,
        error: "the object has no such map".to_owned(),
    }
}

/// The error that the map can't be used.
pub(super) fn map_error(map: &'static str, error: &MapError) -> ProbeError {
    ProbeError::Map {
        map,
        error: error.to_string(),
    }
}
