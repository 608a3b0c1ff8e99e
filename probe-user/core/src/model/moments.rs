//! At how many different times something happened: again and again, or all at once.

/// Times that are closer to each other are one moment, nanoseconds.
const APART_NS: u64 = 500_000_000;
/// Maximum number of moments that are distinguished.
const MAX: usize = 4;
/// From this number of moments on something happened again and again.
const AGAIN: usize = 3;

/// Times of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// One time of each moment, CLOCK_MONOTONIC in nanoseconds; the first `known` count.
    at_ns: [u64; MAX],
    known: usize,
    last_ns: u64,
}

impl Moments {
    /// None.
    pub const NONE: Self = Self {
        at_ns: [0; MAX],
        known: 0,
        last_ns: 0,
    };

    /// Adds a time, CLOCK_MONOTONIC in nanoseconds.
    pub fn add(&mut self, at_ns: u64) {
        self.last_ns = self.last_ns.max(at_ns);
        let mut known = self.at_ns[..self.known].iter();
        let is_new = known.all(|moment| moment.abs_diff(at_ns) > APART_NS);
        if is_new && self.known < MAX {
            self.at_ns[self.known] = at_ns;
            self.known += 1;
        }
    }

    /// Adds another's.
    pub fn add_all(&mut self, other: &Self) {
        for at_ns in &other.at_ns[..other.known] {
            self.add(*at_ns);
        }
        self.last_ns = self.last_ns.max(other.last_ns);
    }

    /// Whether there were several moments.
    pub fn is_again(&self) -> bool {
        self.known >= AGAIN
    }

    /// The first time, as far as it is known, and the last one; 0 if there is none.
    pub fn range_ns(&self) -> (u64, u64) {
        let first = self.at_ns[..self.known].iter().min();
        (first.copied().unwrap_or(0), self.last_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_close_is_one_moment() {
        const MS: u64 = 1_000_000;
        let mut moments = Moments::default();
        for ms in 1_000..1_400 {
            moments.add(ms * MS);
        }
        assert!(!moments.is_again());
        let mut others = Moments::default();
        others.add(2_000 * MS);
        others.add(2_100 * MS);
        moments.add_all(&others);
        assert!(!moments.is_again());
        moments.add(3_000 * MS);
        assert!(moments.is_again());
        assert_eq!(moments.range_ns(), (1_000 * MS, 3_000 * MS));
        for ms in 0..100 {
            moments.add(ms * 1_000 * MS);
        }
        assert_eq!(moments.known, MAX);
    }
}
