//! Durations that occur again and again.

/// Number of groups of similar durations that are kept.
const GROUPS: usize = 4;
/// Durations of one group differ by this part of the shortest at most.
const PART: u64 = 10;
/// Or by this much, nanoseconds: ticks of the kernel, and scheduling.
const SLACK_NS: u64 = 50_000_000;

/// A timeout that a program checks about once a second ends a connection up to this much later, nanoseconds.
pub const SWEEP_NS: u64 = 1_300_000_000;
/// Shorter timeouts are not checked that rarely, nanoseconds.
const SWEPT_NS: u64 = 900_000_000;

/// Durations that are about the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Similar {
    /// How many.
    pub count: u64,
    /// The shortest, nanoseconds.
    pub min_ns: u64,
    /// The longest, nanoseconds.
    pub max_ns: u64,
}

impl Similar {
    fn joined(self, other: Self) -> Option<Self> {
        let joined = Self {
            count: self.count + other.count,
            min_ns: self.min_ns.min(other.min_ns),
            max_ns: self.max_ns.max(other.max_ns),
        };
        joined.is_alike().then_some(joined)
    }

    /// By how much durations differ at most that are about the same, nanoseconds.
    pub fn slack_ns(self) -> u64 {
        (self.min_ns / PART).max(SLACK_NS)
    }

    /// Whether all are about the same: a group is, [`swept`](Spread::swept) ones may not be.
    pub fn is_alike(self) -> bool {
        self.max_ns - self.min_ns <= self.slack_ns()
    }
}

/// How durations are spread: the most frequent ones in groups, and the number of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    groups: Vec<Similar>,
    others: u64,
    range_ns: Option<(u64, u64)>,
}

impl Spread {
    /// No durations.
    pub const NONE: Self = Self {
        groups: Vec::new(),
        others: 0,
        range_ns: None,
    };

    /// Counts a duration, nanoseconds.
    pub fn add(&mut self, ns: u64) {
        self.join(Similar {
            count: 1,
            min_ns: ns,
            max_ns: ns,
        });
    }

    fn join(&mut self, new: Similar) {
        let (min_ns, max_ns) = self.range_ns.unwrap_or((new.min_ns, new.max_ns));
        self.range_ns = Some((min_ns.min(new.min_ns), max_ns.max(new.max_ns)));
        for group in &mut self.groups {
            if let Some(joined) = group.joined(new) {
                *group = joined;
                return;
            }
        }
        if self.groups.len() < GROUPS {
            self.groups.push(new);
            return;
        }
        // The rarest leaves, so that what is frequent later finds room.
        let rarest = self.groups.iter_mut().min_by_key(|group| group.count);
        match rarest.filter(|group| group.count <= new.count) {
            Some(group) => self.others += std::mem::replace(group, new).count,
            None => self.others += new.count,
        }
    }

    /// Adds another's.
    pub fn add_all(&mut self, other: &Self) {
        self.others += other.others;
        for group in &other.groups {
            self.join(*group);
        }
        self.range_ns = match (self.range_ns, other.range_ns) {
            (Some(one), Some(two)) => Some((one.0.min(two.0), one.1.max(two.1))),
            (one, two) => one.or(two),
        };
    }

    /// The group that has the most.
    pub fn most(&self) -> Option<Similar> {
        self.groups.iter().copied().max_by_key(|group| group.count)
    }

    /// The durations that one timeout explains, if it is checked about once a second: from the shortest group on.
    pub fn swept(&self) -> Option<Similar> {
        let starts = self.groups.iter().filter(|it| it.min_ns >= SWEPT_NS);
        let from = |start: &Similar| {
            let within =
                |it: &&Similar| it.min_ns >= start.min_ns && it.max_ns - start.min_ns <= SWEEP_NS;
            self.groups
                .iter()
                .filter(within)
                .fold(*start, |sum, it| Similar {
                    count: sum.count + if it == start { 0 } else { it.count },
                    min_ns: sum.min_ns,
                    max_ns: sum.max_ns.max(it.max_ns),
                })
        };
        starts.map(from).max_by_key(|it| it.count)
    }

    /// Number of durations that are in groups within these bounds, nanoseconds: a lower bound.
    pub fn within(&self, min_ns: u64, max_ns: u64) -> u64 {
        let within = |it: &&Similar| it.min_ns >= min_ns && it.max_ns <= max_ns;
        let groups = self.groups.iter().filter(within);
        groups.map(|group| group.count).sum()
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.groups.iter().map(|group| group.count).sum::<u64>() + self.others
    }

    /// The shortest and the longest, nanoseconds.
    pub fn range_ns(&self) -> Option<(u64, u64)> {
        self.range_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_that_is_checked_now_and_then_is_one() {
        const MS: u64 = 1_000_000;
        let mut spread = Spread::default();
        for number in 0..44_u64 {
            spread.add((2_290 + number * 25) * MS);
        }
        let swept = spread.swept().unwrap();
        assert!(swept.count >= 40, "{swept:?}");
        assert!(swept.min_ns == 2_290 * MS && swept.max_ns - swept.min_ns <= SWEEP_NS);
        let mut spread = Spread::default();
        for number in 0..44_u64 {
            spread.add(number * 500 * MS);
        }
        assert!(spread.swept().unwrap().count < 20);
    }

    #[test]
    fn what_is_frequent_is_found_among_what_is_not() {
        let mut spread = Spread::default();
        for number in 0..40_u64 {
            spread.add(1_000_000_000 + number * 1_000_000);
            spread.add(number * number * 7_000_000_000);
        }
        let most = spread.most().unwrap();
        assert!(most.count >= 40 && most.max_ns < 1_100_000_000, "{most:?}");
        assert_eq!(spread.count(), 80);
        assert_eq!(spread.range_ns().unwrap().0, 0);
        assert!(spread.groups.len() <= GROUPS);
        let mut sum = spread.clone();
        sum.add_all(&spread);
        assert_eq!(sum.count(), 160);
        assert!(sum.most().unwrap().count >= 80);
    }
}
