//! `--since` and `--until`: a part of a recording.

use std::str::FromStr;
use std::time::Duration;

use crate::clock::SECOND_NS;
use crate::event::Timestamp;

const DAY_NS: u64 = 86_400 * SECOND_NS;

/// A moment of a recording, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// RFC 3339, UTC.
    At(Timestamp),
    /// Time of the day, UTC, nanoseconds: the first one that is not long before the recording began.
    OfDay(u64),
    /// After the recording began, nanoseconds.
    AfterStart(u64),
}

/// What is wrong with one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a time (2026-11-25T03:00:00Z), a time of the day in UTC (03:00) or, after the start, +10m"
)]
pub struct BoundError;

impl FromStr for Bound {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<Self, BoundError> {
        if let Some(after) = text.strip_prefix('+') {
            let after: Duration = humantime::parse_duration(after).map_err(|_| BoundError)?;
            return u64::try_from(after.as_nanos())
                .map(Self::AfterStart)
                .map_err(|_| BoundError);
        }
        let text = text.strip_suffix('Z').unwrap_or(text);
        let whole = |text: &str| {
            // Seconds may be left out.
            let seconds = if text.len() == 16 { ":00" } else { "" };
            format!("{text}{seconds}Z").parse::<Timestamp>()
        };
        if text.contains('T') {
            return whole(text).map(Self::At).map_err(|_| BoundError);
        }
        whole(&format!("1970-01-01T{text}"))
            .map(|time| Self::OfDay(time.0))
            .map_err(|_| BoundError)
    }
}

impl Bound {
    /// When that is in a recording that began then.
    pub fn resolve(self, start: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::AfterStart(after_ns) => Timestamp(start.0.saturating_add(after_ns)),
            Self::OfDay(time_ns) => {
                let on_first_day = start.0 / DAY_NS * DAY_NS + time_ns;
                // 03:00 of a recording that began at 22:00 is that of the next day; of one that began at 03:10 it
                // is just before it.
                match on_first_day + DAY_NS / 2 < start.0 {
                    true => Timestamp(on_first_day + DAY_NS),
                    false => Timestamp(on_first_day),
                }
            }
        }
    }
}

/// A part of a recording: from `since`, inclusive, to `until`, exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// From here; `None`: from the start.
    pub since: Option<Bound>,
    /// To here; `None`: to the end.
    pub until: Option<Bound>,
}

impl Window {
    /// Whether it leaves anything out.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(bound: &str, start: &str) -> String {
        let bound: Bound = bound.parse().unwrap();
        bound.resolve(start.parse().unwrap()).to_string()
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let start = "2026-11-24T22:00:00Z";
        for (bound, at) in [
            ("2026-11-25T03:00:00Z", "2026-11-25T03:00:00.000000000Z"),
            ("2026-11-25T03:00", "2026-11-25T03:00:00.000000000Z"),
            ("03:00", "2026-11-25T03:00:00.000000000Z"),
            ("22:10:30.5", "2026-11-24T22:10:30.500000000Z"),
            ("21:50", "2026-11-24T21:50:00.000000000Z"),
            ("+10m", "2026-11-24T22:10:00.000000000Z"),
            ("+1h 5s", "2026-11-24T23:00:05.000000000Z"),
        ] {
            assert_eq!(resolved(bound, start), at, "{bound}");
        }
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "",
            "3",
            "25:00",
            "03:60",
            "yesterday",
            "+",
            "+x",
            "-5m",
            "2026-11-25",
        ] {
            assert_eq!(text.parse::<Bound>(), Err(BoundError), "{text}");
        }
    }
}
