//! `--since` and `--until` of a history.

use jiff::tz::{Offset, TimeZone};
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
    resolve_in(since, until, began, now, &TimeZone::system())
}

fn resolve_in(
    since: Option<Bound>,
    until: Option<Bound>,
    began: Timestamp,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<Span, SpanError> {
    let at = |bound: Bound, base: Timestamp| match bound {
        Bound::At(at) => at,
        Bound::AfterStart(after_ns) => Timestamp(base.0.saturating_add(after_ns)),
        Bound::Civil(civil_ns) => to_utc(civil_ns, zone),
        Bound::OfDay { time_ns, is_utc } => {
            let zone = if is_utc { &TimeZone::UTC } else { zone };
            latest(time_ns, now, zone)
        }
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
fn latest(time_ns: u64, now: Timestamp, zone: &TimeZone) -> Timestamp {
    let offset_ns = i64::from(zone.to_offset(now.into()).seconds()) * SECOND_NS as i64;
    let today_ns = now.0.saturating_add_signed(offset_ns) / DAY_NS * DAY_NS;
    let at = to_utc(today_ns + time_ns, zone);
    if at <= now {
        at
    } else {
        to_utc(today_ns.saturating_sub(DAY_NS) + time_ns, zone)
    }
}

/// Converts local civil time to UTC. A time that summer time repeats is the first one; one that it skips is an hour later.
fn to_utc(civil_ns: u64, zone: &TimeZone) -> Timestamp {
    let civil = Offset::UTC.to_datetime(Timestamp(civil_ns).into());
    let at = zone.to_timestamp(civil).ok();
    at.and_then(|at| at.try_into().ok())
        .unwrap_or(Timestamp(civil_ns))
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
        let span = resolve_in(bound(since), bound(until), began, now, &fixed(2))?;
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
        // Central European rules: the clock is set on the last Sundays of March and October.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (civil, utc) in [
            ("2026-10-25T01:30:00Z", "2026-10-24T23:30:00.000000000Z"),
            ("2026-10-25T02:30:00Z", "2026-10-25T00:30:00.000000000Z"),
            ("2026-10-25T04:30:00Z", "2026-10-25T03:30:00.000000000Z"),
            ("2026-03-29T02:30:00Z", "2026-03-29T01:30:00.000000000Z"),
        ] {
            let civil: Timestamp = civil.parse().unwrap();
            assert_eq!(to_utc(civil.0, &zone).to_string(), utc);
        }
    }

    #[test]
    fn a_moment_before_1970_is_the_first_one() {
        assert_eq!(to_utc(0, &fixed(2)), Timestamp(0));
    }

    fn fixed(hours_ahead: i8) -> TimeZone {
        Offset::constant(hours_ahead).to_time_zone()
    }
}
