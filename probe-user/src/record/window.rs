//! `--since` and `--until`: a part of a recording.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::fmt::temporal::DateTimeParser;
use twtrace_core::event::Timestamp;
use twtrace_core::event::timestamp::SECOND_NS;

const DAY_NS: u64 = 86_400 * SECOND_NS;

/// A moment of a recording, as users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// RFC 3339, or a duration before now.
    At(Timestamp),
    /// Date and time, nanoseconds since 1970 as if it were UTC. It is UTC for a recording, this host's zone for a
    /// history.
    Civil(u64),
    /// Time of the day. For a recording: the first one that is not long before it began, in UTC. For a history: the
    /// latest one that is past, in this host's zone unless it is written with a Z.
    OfDay {
        /// Since midnight, nanoseconds.
        time_ns: u64,
        /// Whether it was written with a Z.
        is_utc: bool,
    },
    /// Time after the recording began, nanoseconds.
    AfterStart(u64),
}

/// The text is not a moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a time (2026-11-25T03:00:00Z), a date and time (2026-11-25 03:00), a time of the day (03:00), so long \
     ago (2h) or, after the start, +10m"
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
        if text.ends_with(|last: char| last.is_ascii_lowercase()) {
            let ago = humantime::parse_duration(text).map_err(|_| BoundError)?;
            let at = jiff::Timestamp::now().checked_sub(ago).ok();
            return at
                .and_then(|at| at.try_into().ok())
                .map(Self::At)
                .ok_or(BoundError);
        }
        let (text, offset_s) = zone(text)?;
        let whole = |text: &str| {
            // Seconds are optional.
            let seconds = if text.len() == 16 { ":00" } else { "" };
            let whole = format!("{}{seconds}Z", text.replacen(' ', "T", 1));
            whole.parse::<Timestamp>().map_err(|_| BoundError)
        };
        let offset_ns = offset_s.unwrap_or(0) * SECOND_NS as i64;
        match (text.find(['T', ' ']), offset_s) {
            (None, None | Some(0)) => Ok(Self::OfDay {
                time_ns: whole(&format!("1970-01-01T{text}"))?.0,
                is_utc: offset_s.is_some(),
            }),
            (None, Some(_)) => Err(BoundError),
            (Some(_), None) if text.contains(' ') => Ok(Self::Civil(whole(text)?.0)),
            (Some(_), _) => {
                let at = whole(text)?.0.checked_add_signed(-offset_ns);
                at.map(|at| Self::At(Timestamp(at))).ok_or(BoundError)
            }
        }
    }
}

/// Splits off the zone: seconds ahead of UTC, if it is written.
fn zone(text: &str) -> Result<(&str, Option<i64>), BoundError> {
    if let Some(text) = text.strip_suffix('Z') {
        return Ok((text, Some(0)));
    }
    // The shortest text before a zone is `2026-11-25T03:00`, so that a dash of the date is not taken for one.
    let Some((before, offset)) = text
        .len()
        .checked_sub(6)
        .filter(|at| *at >= 16)
        .and_then(|at| text.split_at_checked(at))
    else {
        return Ok((text, None));
    };
    if !offset.starts_with(['+', '-']) {
        return Ok((text, None));
    }
    let zone = DateTimeParser::new().parse_time_zone(offset);
    let offset = zone.and_then(|zone| zone.to_fixed_offset()).ok();
    let ahead_s = offset.map(|offset| i64::from(offset.seconds()));
    // jiff reads more than RFC 3339 has, up to 25:59.
    let ahead_s = ahead_s.filter(|ahead_s| ahead_s.abs() < 86_400);
    Ok((before, Some(ahead_s.ok_or(BoundError)?)))
}

impl Bound {
    /// The time that this is in a recording that began at `start`.
    pub fn resolve(self, start: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Civil(civil_ns) => Timestamp(civil_ns),
            Self::AfterStart(after_ns) => Timestamp(start.0.saturating_add(after_ns)),
            Self::OfDay { time_ns, .. } => {
                let on_first_day = start.0 / DAY_NS * DAY_NS + time_ns;
                // 03:00 of a recording that began at 22:00 is on the next day; of one that began at 03:10 it is just
                // before the start.
                if on_first_day + DAY_NS / 2 < start.0 {
                    Timestamp(on_first_day + DAY_NS)
                } else {
                    Timestamp(on_first_day)
                }
            }
        }
    }
}

/// A part of a recording: from `since`, inclusive, to `until`, exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// `None`: from the start.
    pub since: Option<Bound>,
    /// `None`: to the end.
    pub until: Option<Bound>,
}

impl Window {
    /// Whether it includes everything.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// A requested part that a recording does not have, or in which nothing happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// `--until` is not after `--since`.
    #[error("--since {since} is not before --until {until}: {} covers {extent}", .path.display())]
    Reversed {
        /// The file, or one of them.
        path: PathBuf,
        /// As resolved from `--since`.
        since: Timestamp,
        until: Timestamp,
        extent: Extent,
    },
    /// The recording began after the window, or ended before it.
    #[error(
        "{} has nothing of that time{}{}: it covers {extent}",
        .path.display(), Worded(" from", .since), Worded(" to", .until)
    )]
    Outside {
        /// The file, or one of them.
        path: PathBuf,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        extent: Extent,
    },
    /// During the window it was recorded, and nothing happened.
    #[error(
        "{}: nothing happened in that time{}{}; it covers {extent}",
        .path.display(), Worded(" from", .since), Worded(" to", .until)
    )]
    Quiet {
        /// The file, or one of them.
        path: PathBuf,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        extent: Extent,
    },
}

/// When a recording began, and the latest moment that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub began: Timestamp,
    pub ended: Timestamp,
    /// Whether there is more that was not read.
    pub is_cut: bool,
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.began, self.ended)?;
        if self.is_cut {
            f.write_str(" or later")?;
        }
        Ok(())
    }
}

/// A bound with a word before it; empty if there is no bound.
struct Worded<'a>(&'a str, &'a Option<Timestamp>);

impl fmt::Display for Worded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(word, Some(at)) => write!(f, "{word} {at}"),
            Self(_, None) => Ok(()),
        }
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
            ("03:00Z", "2026-11-25T03:00:00.000000000Z"),
            ("2026-11-25 03:00", "2026-11-25T03:00:00.000000000Z"),
            ("2026-11-25 03:00:01Z", "2026-11-25T03:00:01.000000000Z"),
            ("2026-11-25T03:00+02:00", "2026-11-25T01:00:00.000000000Z"),
            (
                "2026-11-25T03:00:00.5-00:30",
                "2026-11-25T03:30:00.500000000Z",
            ),
        ] {
            assert_eq!(resolved(bound, start), at, "{bound}");
        }
    }

    #[test]
    fn so_long_ago_is_from_now() {
        let now: Timestamp = jiff::Timestamp::now().try_into().unwrap();
        let Ok(Bound::At(at)) = "2h 30m".parse() else {
            panic!("no time");
        };
        let ago_s = (now.0 - at.0) / SECOND_NS;
        assert!((8_999..=9_001).contains(&ago_s), "{ago_s}");
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
            "2026-11-25 ",
            "2026-11-25T03:00+2:00",
            "2026-11-25T03:00+02:60",
            "2026-11-25T03:00+0200",
            "2026-11-25T03:00+24:00",
            "03:00+02:00",
            "99999999999y",
            "2026-11-25T03:00:00\u{e9}\u{e9}\u{e9}",
        ] {
            assert_eq!(text.parse::<Bound>(), Err(BoundError), "{text}");
        }
    }
}
