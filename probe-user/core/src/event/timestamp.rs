//! Wall-clock time, and the clocks it is derived from.

use std::fmt;
use std::str::FromStr;

use jiff::tz::Offset;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds per second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// Nanoseconds since 1970-01-01T00:00:00Z; written as RFC 3339 with nine digits of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// `12:34:56.123456`, UTC.
    pub fn time_of_day_us(self) -> String {
        format!("{:.6}", Offset::UTC.to_datetime(self.into()).time())
    }
}

impl From<Timestamp> for jiff::Timestamp {
    fn from(time: Timestamp) -> Self {
        // All are in range: the last one is in 2554.
        Self::from_nanosecond(time.0.into()).unwrap_or(Self::MAX)
    }
}

impl TryFrom<jiff::Timestamp> for Timestamp {
    type Error = TimestampError;

    fn try_from(time: jiff::Timestamp) -> Result<Self, TimestampError> {
        u64::try_from(time.as_nanosecond())
            .map(Self)
            .map_err(|_| TimestampError)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9}", jiff::Timestamp::from(*self))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that is not a valid time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time such as 2026-11-25T16:31:01.123456789Z")]
pub struct TimestampError;

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// RFC 3339 in UTC (`Z`), from 1970 on, with up to nine digits of a second, without leap seconds.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        // jiff reads more: other separators and zones, and leap seconds, which the kernel's clock does not have.
        if !is_of_contract(text.as_bytes()) {
            return Err(TimestampError);
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        time.try_into()
    }
}

/// Whether all digits and separators are in their places; they may still name 31 February.
fn is_of_contract(text: &[u8]) -> bool {
    const SHAPE: &[u8; 19] = b"0000-00-00T00:00:00";
    let text = text.strip_suffix(b"Z");
    let Some((date_time, fraction)) = text.and_then(<[u8]>::split_first_chunk::<19>) else {
        return false;
    };
    let is_in_place = |(byte, shape): (&u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        _ => byte == shape,
    };
    let is_fraction = match fraction {
        [] => true,
        [b'.', digits @ ..] => {
            (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    date_time.iter().zip(SHAPE).all(is_in_place) && date_time[17..] != *b"60" && is_fraction
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

/// Converts the kernel's clocks to wall-clock time.
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
