//! Words that findings about both ends share.

use crate::event::quantity::duration;
use crate::model::resets::spread::{Similar, Spread};

/// From this length on, nanoseconds, a pause may be a timeout, and not only the work of a program.
pub const PAUSE_NS: u64 = 100_000_000;
/// The part of all durations that have to be alike for one timeout, in percent.
const MOST_PERCENT: u64 = 80;

/// The duration that most have in common.
pub fn common(spread: &Spread) -> Option<Similar> {
    let most = spread.most()?;
    (most.count >= super::SOME && most.count * 100 >= spread.count() * MOST_PERCENT).then_some(most)
}

/// Such as `1.00s` or `1.00s to 1.02s`.
pub fn similar(it: Similar) -> String {
    between(it.min_ns, it.max_ns)
}

/// Such as `4.00ms to 12.0ms`, or `an unknown time`.
pub fn range(spread: &Spread) -> String {
    match spread.range_ns() {
        Some((min_ns, max_ns)) => between(min_ns, max_ns),
        None => "an unknown time".to_owned(),
    }
}

/// A timeout is not known to the microsecond: 999.6 ms is a second.
pub fn rounded(ns: u64) -> String {
    const MS: u64 = 1_000_000;
    duration(match ns {
        0..PAUSE_NS => ns,
        _ => (ns + MS / 2) / MS * MS,
    })
}

fn between(min_ns: u64, max_ns: u64) -> String {
    let (min, max) = (rounded(min_ns), rounded(max_ns));
    match min == max {
        true => min,
        false => format!("{min} to {max}"),
    }
}
