//! Namespaces that had the same number one after the other.

use std::collections::{HashMap, VecDeque};

use twtrace_wire::NetnsKey;

/// How many namespaces with the same number are remembered: the latest ones; earlier ones no longer matter.
const REMEMBERED: usize = 64;

/// Numbers the namespaces that had the same inode number, in the order in which they were seen.
#[derive(Debug, Default)]
pub struct NetnsOrder {
    by_number: HashMap<u32, Marks>,
    /// The last result: in most cases also the next one.
    last: Option<(NetnsKey, u32)>,
}

#[derive(Debug, Default)]
struct Marks {
    forgotten: u32,
    marks: VecDeque<u32>,
}

impl NetnsOrder {
    /// How many earlier namespaces had the number of this one. A namespace that can't be distinguished from others
    /// counts as the first.
    pub fn nth(&mut self, key: NetnsKey) -> u32 {
        if key.mark == 0 {
            return 0;
        }
        if let Some((last, nth)) = self.last
            && last == key
        {
            return nth;
        }
        let nth = self.by_number.entry(key.netns).or_default().nth(key.mark);
        self.last = Some((key, nth));
        nth
    }
}

impl Marks {
    fn nth(&mut self, mark: u32) -> u32 {
        let index = match self.marks.iter().rposition(|known| *known == mark) {
            Some(index) => index,
            None => {
                if self.marks.len() == REMEMBERED {
                    self.marks.pop_front();
                    self.forgotten = self.forgotten.saturating_add(1);
                }
                self.marks.push_back(mark);
                self.marks.len() - 1
            }
        };
        self.forgotten.saturating_add(index as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(netns: u32, mark: u32) -> NetnsKey {
        NetnsKey { netns, mark }
    }

    #[test]
    fn each_namespace_of_a_number_has_its_place() {
        let mut order = NetnsOrder::default();
        for (netns, mark, nth) in [
            (7, 5, 0),
            (7, 5, 0),
            (7, 6, 1),
            (8, 6, 0),
            // A late event of the namespace that no longer exists.
            (7, 5, 0),
            (7, 9, 2),
            (7, 0, 0),
        ] {
            assert_eq!(order.nth(key(netns, mark)), nth, "{netns} {mark}");
        }
    }

    #[test]
    fn places_stay_when_early_ones_are_forgotten() {
        let mut order = NetnsOrder::default();
        for mark in 1..=100 {
            assert_eq!(order.nth(key(7, mark)), mark - 1);
        }
        assert_eq!(order.nth(key(7, 50)), 49);
    }
}
