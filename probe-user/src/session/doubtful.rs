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
    /// what the kernel side lost, by probe: all that was taken out so far is added.
    pub fn take(&mut self, lost: &mut [u64; Probe::COUNT], waiting: &mut ResetCorrelation) {
        let resets_lost = lost[Probe::Reset as usize];
        if resets_lost > std::mem::replace(&mut self.resets_lost, resets_lost) {
            for event in waiting.take_replaceable() {
                let probe = match event.event {
                    EventKind::Reset => Probe::Reset,
                    _ => Probe::TimeWait,
                };
                self.by_probe[probe as usize] += 1;
            }
        }
        for (lost, doubtful) in lost.iter_mut().zip(&self.by_probe) {
            *lost += doubtful;
        }
    }
}
