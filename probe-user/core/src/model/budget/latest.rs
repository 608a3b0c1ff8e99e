//! Which of the namespaces that had a number has it now.

use std::collections::HashMap;

/// Port pools are about existing namespaces: data of one is forgotten when another one with its number appears.
#[derive(Debug, Default)]
pub struct LatestNetns(HashMap<u32, u32>);

impl LatestNetns {
    /// Whether an event's namespace is the latest one with its number, as far as known. If it is new, data of the
    /// earlier one has to be forgotten.
    pub fn is_of_latest(&mut self, netns: u32, nth: u32, forget: impl FnOnce()) -> bool {
        match self.0.get_mut(&netns) {
            None if nth == 0 => {}
            None => {
                self.0.insert(netns, nth);
                forget();
            }
            Some(latest) if nth > *latest => {
                *latest = nth;
                forget();
            }
            Some(latest) => return nth == *latest,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_forgotten_once() {
        let mut latest = LatestNetns::default();
        let mut forgotten = 0;
        for (nth, is_latest, expected) in [
            (0, true, 0),
            (2, true, 1),
            (2, true, 1),
            (1, false, 1),
            (0, false, 1),
            (3, true, 2),
        ] {
            assert_eq!(latest.is_of_latest(7, nth, || forgotten += 1), is_latest);
            assert_eq!(forgotten, expected, "{nth}");
        }
    }
}
