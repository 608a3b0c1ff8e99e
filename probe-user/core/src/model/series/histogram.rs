//! Histograms in Prometheus' form: counts up to fixed bounds, and a sum.

use twtrace_wire::{LATENCY_BUCKETS, PortTotals, bucket_lower_bound_ns};

use crate::event::timestamp::SECOND_NS;

/// Bounds of port allocations, nanoseconds: powers of 4 from 1 µs to 69 s. Each bucket of the kernel side is within one
/// of these, as its own bounds are quarters of powers of 2.
pub const SEARCH_BOUNDS_NS: &[u64] = &[
    1 << 10,
    1 << 12,
    1 << 14,
    1 << 16,
    1 << 18,
    1 << 20,
    1 << 22,
    1 << 24,
    1 << 26,
    1 << 28,
    1 << 30,
    1 << 32,
    1 << 34,
    1 << 36,
];

/// Bounds of the lifetime of TIME_WAITs, nanoseconds: finest around the usual end, after 60 s.
pub const RESIDENCE_BOUNDS_NS: &[u64] = &[
    SECOND_NS / 100,
    SECOND_NS / 10,
    SECOND_NS,
    2 * SECOND_NS,
    5 * SECOND_NS,
    10 * SECOND_NS,
    20 * SECOND_NS,
    30 * SECOND_NS,
    45 * SECOND_NS,
    59 * SECOND_NS,
    60 * SECOND_NS,
    61 * SECOND_NS,
    65 * SECOND_NS,
    90 * SECOND_NS,
    120 * SECOND_NS,
];

/// Counts by duration.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds_ns: &'static [u64],
    /// One more than bounds: the last is above all of them.
    counts: Box<[u64]>,
    sum_ns: u64,
}

impl Histogram {
    /// Nothing counted yet.
    pub fn new(bounds_ns: &'static [u64]) -> Self {
        Self {
            bounds_ns,
            counts: vec![0; bounds_ns.len() + 1].into(),
            sum_ns: 0,
        }
    }

    /// Counts a duration.
    pub fn add(&mut self, duration_ns: u64) {
        self.add_many(duration_ns, duration_ns, 1);
    }

    /// Adds counts of the kernel side. Their sum is not known: each allocation is assumed to have lasted as long as the
    /// middle of its bucket, an error of at most an eighth.
    pub fn add_searches(&mut self, searches: &PortTotals) {
        for (bucket, count) in searches.buckets.iter().enumerate() {
            if *count == 0 {
                continue;
            }
            let low_ns = bucket_lower_bound_ns(bucket);
            let high_ns = if bucket + 1 < LATENCY_BUCKETS {
                bucket_lower_bound_ns(bucket + 1)
            } else {
                searches.max_ns.max(low_ns)
            };
            let middle_ns = low_ns.midpoint(high_ns).min(searches.max_ns);
            self.add_many(low_ns, middle_ns, u64::from(*count));
        }
    }

    /// For each bound, nanoseconds, the count at or below it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut below = 0;
        self.bounds_ns
            .iter()
            .zip(&self.counts)
            .map(move |(bound_ns, count)| {
                below += count;
                (*bound_ns, below)
            })
    }

    /// Number of all durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of all durations, nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    fn add_many(&mut self, at_least_ns: u64, each_ns: u64, count: u64) {
        let place = self
            .bounds_ns
            .partition_point(|bound_ns| *bound_ns <= at_least_ns);
        self.counts[place] += count;
        self.sum_ns = self.sum_ns.saturating_add(each_ns.saturating_mul(count));
    }
}

#[cfg(test)]
mod tests {
    use twtrace_wire::bucket_of_ns;

    use super::*;

    #[test]
    fn a_bucket_of_the_kernel_side_lies_within_one() {
        for bound_ns in SEARCH_BOUNDS_NS {
            assert_eq!(bucket_lower_bound_ns(bucket_of_ns(*bound_ns)), *bound_ns);
        }
    }

    #[test]
    fn searches_are_counted_where_their_latency_is() {
        let mut searches = PortTotals {
            max_ns: 1_100_000,
            ..PortTotals::default()
        };
        for latency_ns in [500, 1_000, 1_023, 1_024, 1_100_000] {
            searches.buckets[bucket_of_ns(latency_ns)] += 1;
        }
        let mut histogram = Histogram::new(SEARCH_BOUNDS_NS);
        histogram.add_searches(&searches);
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative[0], (1_024, 3));
        assert_eq!(cumulative[1], (4_096, 4));
        assert_eq!(cumulative[5], (1 << 20, 4));
        assert_eq!(cumulative[6], (1 << 22, 5));
        assert_eq!(histogram.count(), 5);
        let sum_ns = 500.0 + 1_000.0 + 1_023.0 + 1_024.0 + 1_100_000.0;
        let off = (histogram.sum_ns() as f64 - sum_ns).abs() / sum_ns;
        assert!(off < 0.125, "{}", histogram.sum_ns());
    }

    #[test]
    fn durations_beyond_all_bounds_are_counted_too() {
        let mut histogram = Histogram::new(RESIDENCE_BOUNDS_NS);
        histogram.add(60_500_000_000);
        histogram.add(u64::MAX);
        assert_eq!(histogram.cumulative().last(), Some((120 * SECOND_NS, 1)));
        assert_eq!((histogram.count(), histogram.sum_ns()), (2, u64::MAX));
    }
}
