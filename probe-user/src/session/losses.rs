//! What was lost since losses were last reported.

use twtrace_core::event::LostBy;
use twtrace_wire::Probe;

#[derive(Debug, Default)]
pub struct UnreportedLosses {
    /// Records that could not be read, so far.
    pub undecoded: u64,
    reported: [u64; Probe::COUNT],
    reported_undecoded: u64,
}

impl UnreportedLosses {
    /// Losses by probe since the last call, from the kernel side's counters. Only those that increased.
    pub fn since_last(&mut self, lost: &[u64; Probe::COUNT]) -> Vec<(LostBy, u64)> {
        let mut grown: Vec<_> = Probe::ALL
            .iter()
            .zip(lost.iter().zip(&self.reported))
            .filter(|(_, (now, reported))| now > reported)
            .map(|(probe, (now, reported))| (LostBy::Probe(*probe), now - reported))
            .collect();
        if self.undecoded > self.reported_undecoded {
            grown.push((LostBy::Decode, self.undecoded - self.reported_undecoded));
        }
        self.reported = *lost;
        self.reported_undecoded = self.undecoded;
        grown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_growth_is_told() {
        let mut losses = UnreportedLosses::default();
        let mut lost = [0; Probe::COUNT];
        assert!(losses.since_last(&lost).is_empty());
        lost[Probe::Reset as usize] = 5;
        losses.undecoded = 1;
        assert_eq!(
            losses.since_last(&lost),
            [(LostBy::Probe(Probe::Reset), 5), (LostBy::Decode, 1)]
        );
        assert!(losses.since_last(&lost).is_empty());
        lost[Probe::Reset as usize] = 7;
        assert_eq!(losses.since_last(&lost), [(LostBy::Probe(Probe::Reset), 2)]);
    }
}
