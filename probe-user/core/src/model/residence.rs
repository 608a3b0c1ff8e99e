//! Ages of TIME_WAITs at their end.

use serde::Serialize;
use twtrace_wire::{PortTotals, bucket_of_ns};

use super::quantile;

/// A histogram of ages, in the buckets of the kernel side's latencies (four to each power of two, to 137 s).
#[derive(Clone, Debug, Default)]
pub struct Residence(Option<Box<PortTotals>>);

/// Quantiles of a histogram of ages. From events: incomplete if some were lost.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Ended TIME_WAITs with a known age.
    pub count: u64,
    /// Median age, nanoseconds; at most a quarter too high.
    pub p50_ns: u64,
    /// 99th percentile, nanoseconds; at most a quarter too high.
    pub p99_ns: u64,
    /// The oldest, nanoseconds.
    pub max_ns: u64,
}

impl Residence {
    /// Counts one that ended at this age, nanoseconds.
    pub fn add(&mut self, age_ns: u64) {
        let histogram = self.0.get_or_insert_default();
        histogram.count += 1;
        histogram.max_ns = histogram.max_ns.max(age_ns);
        histogram.buckets[bucket_of_ns(age_ns)] += 1;
    }

    /// Adds another's.
    pub fn add_all(&mut self, other: &Self) {
        if let Some(other) = other.0.as_deref() {
            self.0.get_or_insert_default().add(other);
        }
    }

    /// The histogram; `None` if none ended.
    pub fn histogram(&self) -> Option<&PortTotals> {
        self.0.as_deref()
    }

    /// From a histogram.
    pub fn of(histogram: PortTotals) -> Self {
        Self((histogram.count > 0).then(|| Box::new(histogram)))
    }

    /// `None` if none ended.
    pub fn quantiles(&self) -> Option<Quantiles> {
        let histogram = self.0.as_deref()?;
        Some(Quantiles {
            count: histogram.count,
            p50_ns: quantile::latency_ns(histogram, 0.5)?,
            p99_ns: quantile::latency_ns(histogram, 0.99)?,
            max_ns: histogram.max_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_stay_a_minute() {
        let mut residence = Residence::default();
        assert_eq!(residence.quantiles(), None);
        for _ in 0..99 {
            residence.add(60_500_000_000);
        }
        residence.add(1_000_000);
        let quantiles = residence.quantiles().unwrap();
        assert_eq!(quantiles.count, 100);
        assert_eq!(quantiles.p50_ns, 60_500_000_000);
        assert_eq!(quantiles.max_ns, 60_500_000_000);
    }
}
