//! Words that findings about both ends share.

use crate::event::quantity::duration;
use crate::event::timestamp::SECOND_NS;
pub use crate::model::resets::PAUSE_NS;
use crate::model::resets::spread::{Similar, Spread};

/// The part of all durations that have to be alike for one timeout, in percent.
const MOST_PERCENT: u64 = 80;

/// The duration that most have in common.
pub fn common(spread: &Spread) -> Option<Similar> {
    spread.most().filter(|most| is_of_most(*most, spread))
}

/// The same, also if a program checks its timeout only about once a second, as redis does: then the durations are between the
/// timeout and a second more.
pub fn timeout(spread: &Spread) -> Option<Similar> {
    let is_of_most = |it: &Similar| is_of_most(*it, spread);
    common(spread).or_else(|| spread.swept().filter(is_of_most))
}

fn is_of_most(it: Similar, spread: &Spread) -> bool {
    it.count >= super::SOME && it.count * 100 >= spread.count() * MOST_PERCENT
}

/// A timeout as its settings have it: `2.29s or up to 1 s less` for the shortest duration, if it is checked about once a second.
pub fn length(it: Similar) -> String {
    match is_swept(it) {
        true => format!("{} or up to 1 s less", rounded(it.min_ns)),
        false => similar(it),
    }
}

/// The shortest that a timeout may be, nanoseconds.
pub fn shortest_ns(it: Similar) -> u64 {
    match is_swept(it) {
        true => it.min_ns.saturating_sub(SECOND_NS).max(SECOND_NS / 2),
        false => it.min_ns,
    }
}

/// Whether a timeout was not checked all the time.
pub fn is_swept(it: Similar) -> bool {
    !it.is_alike()
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
