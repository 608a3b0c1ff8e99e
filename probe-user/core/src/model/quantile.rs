//! Quantiles of the latency histograms of the kernel side.

use twtrace_wire::{LATENCY_BUCKETS, PortTotals, bucket_lower_bound_ns};

/// The latency, nanoseconds, that a fraction `quantile` (0 to 1) of the allocations did not exceed: the upper bound of
/// its bucket, so at most a quarter too high, and never above the longest allocation. `None` if no allocation was
/// timed.
pub fn latency_ns(totals: &PortTotals, quantile: f64) -> Option<u64> {
    let timed: u64 = totals.buckets.iter().copied().map(u64::from).sum();
    if timed == 0 {
        return None;
    }
    let rank = (quantile * timed as f64).ceil().max(1.0) as u64;
    let mut below = 0_u64;
    let bucket = totals.buckets.iter().position(|count| {
        below += u64::from(*count);
        below >= rank
    })?;
    let upper_end_ns = if bucket + 1 < LATENCY_BUCKETS {
        bucket_lower_bound_ns(bucket + 1) - 1
    } else {
        totals.max_ns
    };
    Some(upper_end_ns.min(totals.max_ns))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use twtrace_wire::bucket_of_ns;

    use super::*;

    fn totals(latencies_ns: &[u64]) -> PortTotals {
        let mut totals = PortTotals {
            count: latencies_ns.len() as u64,
            ..PortTotals::default()
        };
        for latency_ns in latencies_ns {
            totals.buckets[bucket_of_ns(*latency_ns)] += 1;
            totals.max_ns = totals.max_ns.max(*latency_ns);
        }
        totals
    }

    #[test]
    fn none_one_and_many() {
        assert_eq!(latency_ns(&totals(&[]), 0.5), None);
        assert_eq!(latency_ns(&totals(&[1_000]), 0.5), Some(1_000));
        let mut many = vec![1_000; 99];
        many.push(5_000_000);
        assert_eq!(latency_ns(&totals(&many), 0.5), Some(1_023));
        assert_eq!(latency_ns(&totals(&many), 0.99), Some(1_023));
        assert_eq!(latency_ns(&totals(&many), 1.0), Some(5_000_000));
        assert_eq!(latency_ns(&totals(&[u64::MAX]), 0.5), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn never_below_the_true_one_and_at_most_a_quarter_above(
            mut latencies_ns in prop::collection::vec(64_u64..1 << 36, 1..200),
            quantile in 0.0..=1.0,
        ) {
            let found = latency_ns(&totals(&latencies_ns), quantile).unwrap();
            latencies_ns.sort_unstable();
            let rank = (quantile * latencies_ns.len() as f64).ceil().max(1.0) as usize;
            let true_ns = latencies_ns[rank - 1];
            prop_assert!(found >= true_ns, "{found} < {true_ns}");
            prop_assert!(found <= true_ns + true_ns / 4, "{found} > 1.25 * {true_ns}");
        }
    }
}
