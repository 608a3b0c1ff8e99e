//! `--since` and `--until` of a history.

use twtrace_core::event::Timestamp;
use twtrace_core::event::timestamp::SECOND_NS;

use super::reader::Span;
use crate::record::window::Bound;

const DAY_NS: u64 = 86_400 * SECOND_NS;

/// `--since` is not before `--until`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--since {since} is not before --until {until}")]
pub struct SpanError {
    since: Timestamp,
    until: Timestamp,
}

/// Resolves the bounds. Times of the day are in this host's zone, and the latest ones that are past; `--until` may be
/// later if it would otherwise not be after `--since`. `began` is when the history begins.
///
/// # Errors
/// If the end is not after the beginning.
pub fn resolve(
    since: Option<Bound>,
    until: Option<Bound>,
    began: Timestamp,
    now: Timestamp,
) -> Result<Span, SpanError> {
    resolve_in(since, until, began, now, offset_s)
}

fn resolve_in(
    since: Option<Bound>,
    until: Option<Bound>,
    began: Timestamp,
    now: Timestamp,
    offset_s: impl Fn(u64) -> i64,
) -> Result<Span, SpanError> {
    let at = |bound: Bound, base: Timestamp| match bound {
        Bound::At(at) => at,
        Bound::AfterStart(after_ns) => Timestamp(base.0.saturating_add(after_ns)),
        Bound::Civil(civil_ns) => Timestamp(to_utc(civil_ns, &offset_s)),
        Bound::OfDay { time_ns, is_utc } => latest(time_ns, is_utc, now, &offset_s),
    };
    let since = since.map(|since| at(since, began));
    let base = since.unwrap_or(began);
    let until = until.map(|bound| {
        let until = at(bound, base);
        match bound {
            Bound::OfDay { .. } if since.is_some_and(|since| until <= since) => {
                Timestamp(until.0.saturating_add(DAY_NS))
            }
            _ => until,
        }
    });
    match (since, until) {
        (Some(since), Some(until)) if until <= since => Err(SpanError { since, until }),
        _ => Ok(Span { since, until }),
    }
}

/// The latest moment with this time of the day.
fn latest(time_ns: u64, is_utc: bool, now: Timestamp, offset_s: &impl Fn(u64) -> i64) -> Timestamp {
    let offset_s = |utc_s| if is_utc { 0 } else { offset_s(utc_s) };
    let offset_ns = offset_s(now.0 / SECOND_NS) * SECOND_NS as i64;
    let today_ns = now.0.saturating_add_signed(offset_ns) / DAY_NS * DAY_NS;
    let at = to_utc(today_ns + time_ns, &offset_s);
    if at <= now.0 {
        Timestamp(at)
    } else {
        Timestamp(to_utc(today_ns.saturating_sub(DAY_NS) + time_ns, &offset_s))
    }
}

/// Converts local civil time to UTC. An hour that summer time skips or repeats may be taken for the one next to it.
fn to_utc(civil_ns: u64, offset_s: &impl Fn(u64) -> i64) -> u64 {
    let minus = |offset_s: i64| civil_ns.saturating_add_signed(-offset_s * SECOND_NS as i64);
    let guess_ns = minus(offset_s(civil_ns / SECOND_NS));
    minus(offset_s(guess_ns / SECOND_NS))
}

/// How far this host's zone is ahead of UTC at a moment, seconds.
fn offset_s(utc_s: u64) -> i64 {
    let Ok(time) = libc::time_t::try_from(utc_s) else {
        return 0;
    };
    // SAFETY: all zeros are a valid value: numbers and a null pointer.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the length of the call.
    let is_unknown = unsafe { libc::localtime_r(&raw const time, &raw mut local) }.is_null();
    if is_unknown { 0 } else { local.tm_gmtoff }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-25T10:00:00Z";

    /// Two hours ahead of UTC.
    fn resolved(since: &str, until: &str) -> Result<(String, String), SpanError> {
        let bound = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        let began = "2026-11-01T00:00:00Z".parse().unwrap();
        let now = NOW.parse().unwrap();
        let span = resolve_in(bound(since), bound(until), began, now, |_| 7_200)?;
        let text = |at: Option<Timestamp>| {
            at.map_or_else(String::new, |at| at.to_string().replace(".000000000Z", ""))
        };
        Ok((text(span.since), text(span.until)))
    }

    #[test]
    fn times_of_the_day_are_local_and_past() {
        for (since, until, expected) in [
            (
                "03:00",
                "03:20",
                ("2026-11-25T01:00:00", "2026-11-25T01:20:00"),
            ),
            // 12:30 is still in the future here, so it is yesterday's.
            ("12:30", "", ("2026-11-24T10:30:00", "")),
            ("03:00Z", "", ("2026-11-25T03:00:00", "")),
            (
                "23:50",
                "00:10",
                ("2026-11-24T21:50:00", "2026-11-24T22:10:00"),
            ),
            // Its end is in the future, but not a day before its beginning.
            (
                "11:50",
                "12:10",
                ("2026-11-25T09:50:00", "2026-11-25T10:10:00"),
            ),
            (
                "2026-11-20 03:00",
                "2026-11-20 03:20:30",
                ("2026-11-20T01:00:00", "2026-11-20T01:20:30"),
            ),
            (
                "2026-11-20T03:00:00Z",
                "2026-11-20T05:00:00+02:00",
                ("", ""),
            ),
            (
                "2026-11-20 03:00Z",
                "+20m",
                ("2026-11-20T03:00:00", "2026-11-20T03:20:00"),
            ),
            ("+1h", "", ("2026-11-01T01:00:00", "")),
            ("", "", ("", "")),
        ] {
            match resolved(since, until) {
                Ok((from, to)) => assert_eq!((from.as_str(), to.as_str()), expected),
                Err(error) => assert!(
                    expected == ("", "") && error.to_string().contains("is not before"),
                    "{since} {until}: {error}"
                ),
            }
        }
    }

    #[test]
    fn summer_time_is_that_of_its_day() {
        // Ahead by one more hour until 2026-10-25T01:00:00Z.
        let change_s = 1_792_890_000;
        let offset_s = |utc_s| if utc_s < change_s { 7_200 } else { 3_600 };
        let utc = |civil: &str| {
            let civil: Timestamp = civil.parse().unwrap();
            Timestamp(to_utc(civil.0, &offset_s)).to_string()
        };
        assert_eq!(
            utc("2026-10-25T01:30:00Z"),
            "2026-10-24T23:30:00.000000000Z"
        );
        assert_eq!(
            utc("2026-10-25T04:30:00Z"),
            "2026-10-25T03:30:00.000000000Z"
        );
    }
}
