//! Wall-clock time, and the clocks it is derived from.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds of a second.
pub const SECOND_NS: u64 = 1_000_000_000;
const DAY_S: u64 = 86_400;

/// Nanoseconds since 1970-01-01T00:00:00Z; written as RFC 3339 with nine digits of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Year, month (1 to 12) and day (1 to 31) of the proleptic Gregorian calendar.
    fn date(self) -> (u64, u64, u64) {
        // Days since 0000-03-01: years then end with the leap day, and months need no table.
        let days = self.0 / SECOND_NS / DAY_S + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        (year, month, day)
    }

    /// Hour, minute and second of the day, UTC.
    fn time_of_day(self) -> (u64, u64, u64) {
        let seconds = self.0 / SECOND_NS % DAY_S;
        (seconds / 3_600, seconds / 60 % 60, seconds % 60)
    }

    /// `12:34:56.123456`, UTC.
    pub fn time_of_day_us(self) -> String {
        let (hour, minute, second) = self.time_of_day();
        let us = self.0 % SECOND_NS / 1_000;
        format!("{hour:02}:{minute:02}:{second:02}.{us:06}")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.time_of_day();
        let ns = self.0 % SECOND_NS;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ns:09}Z"
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that is no time of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time such as 2026-11-25T16:31:01.123456789Z")]
pub struct TimestampError;

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// RFC 3339 in UTC (`Z`), from 1970 on, with up to nine digits of a second, without leap seconds.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        Self::parse(text.as_bytes()).ok_or(TimestampError)
    }
}

impl Timestamp {
    fn parse(text: &[u8]) -> Option<Self> {
        let (date_time, rest) = text.split_at_checked(19)?;
        let number = |from: usize, to: usize| {
            date_time[from..to].iter().try_fold(0_u64, |number, byte| {
                byte.is_ascii_digit()
                    .then(|| number * 10 + u64::from(byte - b'0'))
            })
        };
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if separators.iter().any(|(at, byte)| date_time[*at] != *byte) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let is_valid = year >= 1970
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            // The kernel's clock has no leap seconds.
            && second < 60;
        if !is_valid {
            return None;
        }
        let ns = match rest {
            [b'Z'] => 0,
            [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => {
                let padded = digits.iter().copied().chain(std::iter::repeat(b'0'));
                padded.take(9).try_fold(0_u64, |ns, digit| {
                    digit
                        .is_ascii_digit()
                        .then(|| ns * 10 + u64::from(digit - b'0'))
                })?
            }
            _ => return None,
        };
        let seconds =
            days_since_1970(year, month, day) * DAY_S + hour * 3_600 + minute * 60 + second;
        let time = Self(seconds.checked_mul(SECOND_NS)?.checked_add(ns)?);
        // 31 February would be 3 March.
        (time.date() == (year, month, day)).then_some(time)
    }
}

/// The way back from [`Timestamp::date`]. `year` is 1970 or later.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let era = year / 400;
    let year_of_era = year % 400;
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// One moment on two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Wall clock.
    pub ts: Timestamp,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub mono_ns: u64,
}

/// Turns the kernel's clocks into wall-clock time.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// CLOCK_REALTIME − CLOCK_MONOTONIC, nanoseconds.
    pub realtime_minus_monotonic_ns: i64,
    /// CLOCK_REALTIME − CLOCK_BOOTTIME, nanoseconds; measured once, so that a process keeps one start time.
    pub realtime_minus_boottime_ns: i64,
}

impl Clocks {
    /// Fixed offsets, nanoseconds.
    #[cfg(any(test, feature = "samples"))]
    pub const fn fixed(realtime_minus_monotonic_ns: i64, realtime_minus_boottime_ns: i64) -> Self {
        Self {
            realtime_minus_monotonic_ns,
            realtime_minus_boottime_ns,
        }
    }

    /// Wall-clock time of a CLOCK_MONOTONIC reading.
    pub fn of_monotonic(&self, mono_ns: u64) -> Timestamp {
        Timestamp(mono_ns.saturating_add_signed(self.realtime_minus_monotonic_ns))
    }

    /// Wall-clock time of a CLOCK_BOOTTIME reading.
    pub fn of_boottime(&self, boot_ns: u64) -> Timestamp {
        Timestamp(boot_ns.saturating_add_signed(self.realtime_minus_boottime_ns))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (951_868_799, "2000-02-29T23:59:59.000000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000000Z"),
            (1_700_000_000, "2023-11-14T22:13:20.000000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(Timestamp(seconds * SECOND_NS).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp(seconds * SECOND_NS)));
        }
        assert_eq!(
            Timestamp(1_700_000_000_123_456_789).to_string(),
            "2023-11-14T22:13:20.123456789Z"
        );
        assert_eq!(
            Timestamp(1_700_000_000_123_456_789).time_of_day_us(),
            "22:13:20.123456"
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-11-25",
            "2026-11-25T16:31:01",
            "2026-11-25T16:31:01+01:00",
            "2026-13-25T16:31:01Z",
            "2026-02-31T16:31:01Z",
            "2026-02-29T16:31:01Z",
            "2100-02-29T16:31:01Z",
            "2026-11-00T16:31:01Z",
            "2026-11-31T16:31:01Z",
            "2026-11-25T16:31:60Z",
            "2026-11-25T24:31:01Z",
            "2026-11-25T16:31:01.Z",
            "2026-11-25T16:31:01.1234567890Z",
            "1969-11-25T16:31:01Z",
            "9999-12-31T23:59:59Z",
            "2026-11-25T16:31:0\u{e9}Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
        assert_eq!(
            "1970-01-01T00:00:01.5Z".parse(),
            Ok(Timestamp(1_500_000_000))
        );
    }

    proptest! {
        #[test]
        fn every_time_is_read_as_it_was_written(ns in any::<u64>()) {
            prop_assert_eq!(Timestamp(ns).to_string().parse(), Ok(Timestamp(ns)));
        }

        #[test]
        fn what_is_read_is_written_as_it_was(
            (year, month, day) in (1970_u64..2600, 0_u64..14, 0_u64..33),
            (hour, minute, second) in (0_u64..26, 0_u64..62, 0_u64..62),
            ns in 0..SECOND_NS,
        ) {
            let text = format!(
                "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ns:09}Z"
            );
            if let Ok(time) = text.parse::<Timestamp>() {
                prop_assert_eq!(time.to_string(), text);
            }
        }
    }

    #[test]
    fn offsets_are_applied_with_their_sign() {
        let clocks = Clocks::fixed(-5, 7);
        assert_eq!(clocks.of_monotonic(12), Timestamp(7));
        assert_eq!(clocks.of_boottime(12), Timestamp(19));
        assert_eq!(clocks.of_monotonic(1), Timestamp(0));
    }
}
