//! Events that may stand for what never happened, since the record that would replace them may have been lost.

use twtrace_core::event::reset_correlation::ResetCorrelation;
use twtrace_wire::{EventKind, Probe};

/// Counts them: they are not passed on, and count as lost.
#[derive(Debug, Default)]
pub struct Doubtful {
    /// Records of RSTs that were lost, as last read.
    resets_lost: u64,
    by_probe: [u64; Probe::COUNT],
}

impl Doubtful {
    /// Takes out the events that wait for a replacement, if records of RSTs were lost since the last call. `lost` is
    /// what the kernel side lost, by probe.
    pub fn take(&mut self, lost: &[u64; Probe::COUNT], waiting: &mut ResetCorrelation) {
        let lost = lost[Probe::Reset as usize];
        if lost <= std::mem::replace(&mut self.resets_lost, lost) {
            return;
        }
        for event in waiting.take_replaceable() {
            let probe = match event.event {
                EventKind::Reset => Probe::Reset,
                _ => Probe::TimeWait,
            };
            self.by_probe[probe as usize] += 1;
        }
    }

    /// Adds them to what was lost.
    pub fn add_to(&self, lost: &mut [u64; Probe::COUNT]) {
        for (lost, doubtful) in lost.iter_mut().zip(&self.by_probe) {
            *lost += doubtful;
        }
    }
}
