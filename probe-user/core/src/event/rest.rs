//! The rest of a line, in exactly the form that twtrace writes: fields in their order, no spaces, no escapes except in
//! names of processes. For any other form the result is `None`, and the line is parsed by the general parser; it may
//! still be valid.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Timestamp;
use super::timestamp::SECOND_NS;
use super::words::Word;

/// `2026-11-25T`
const DATE: usize = 11;
/// `2026-11-25T16:31:01.123456789Z`
const TIMESTAMP: usize = 30;

/// The day of the last timestamp: in most cases also that of the next.
#[derive(Debug, Default)]
pub struct Day {
    date: [u8; DATE],
    /// Start of the day.
    start_ns: u64,
}

impl Day {
    pub(super) fn timestamp(&mut self, text: &[u8; TIMESTAMP]) -> Option<Timestamp> {
        let (date, time) = text.split_first_chunk::<DATE>()?;
        let of_day_ns = time_of_day_ns(time.first_chunk()?)?;
        if *date != self.date {
            let at: Timestamp = str::from_utf8(text).ok()?.parse().ok()?;
            *self = Self {
                date: *date,
                start_ns: at.0.checked_sub(of_day_ns)?,
            };
        }
        Some(Timestamp(self.start_ns.checked_add(of_day_ns)?))
    }
}

/// `16:31:01.123456789Z`. Not by jiff, which would read the whole text again and takes 120 ns.
fn time_of_day_ns(text: &[u8; TIMESTAMP - DATE]) -> Option<u64> {
    let pair = |at: usize| Some(digit(text[at])? * 10 + digit(text[at + 1])?);
    let (hour, minute, second) = (pair(0)?, pair(3)?, pair(6)?);
    let is_time = text[2] == b':' && text[5] == b':' && text[8] == b'.' && text[18] == b'Z';
    if !(is_time && hour < 24 && minute < 60 && second < 60) {
        return None;
    }
    let mut ns = 0;
    for byte in &text[9..18] {
        ns = ns * 10 + digit(*byte)?;
    }
    Some((hour * 3_600 + minute * 60 + second) * SECOND_NS + ns)
}

fn digit(byte: u8) -> Option<u64> {
    byte.is_ascii_digit().then(|| u64::from(byte - b'0'))
}

/// The rest of a line.
pub struct Rest<'a>(pub(super) &'a [u8]);

impl<'a> Rest<'a> {
    /// With a length known to the compiler: it then compares a few words, without a function call.
    #[inline]
    pub(super) fn expect<const N: usize>(&mut self, text: &[u8; N]) -> Option<()> {
        let (begin, rest) = self.0.split_first_chunk::<N>()?;
        if begin != text {
            return None;
        }
        self.0 = rest;
        Some(())
    }

    #[inline]
    pub(super) fn is_next<const N: usize>(&mut self, text: &[u8; N]) -> bool {
        self.expect(text).is_some()
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = digit(*self.0.first()?)?;
        let mut length = 1;
        while let Some(more) = self.0.get(length).and_then(|byte| digit(*byte)) {
            // JSON has no leading zeros.
            if number == 0 {
                return None;
            }
            number = number.checked_mul(10)?.checked_add(more)?;
            length += 1;
        }
        self.0 = &self.0[length..];
        Some(number)
    }

    pub(super) fn truth(&mut self) -> Option<bool> {
        if self.is_next(b"true") {
            return Some(true);
        }
        self.expect(b"false").map(|()| false)
    }

    /// The raw text between two quotes, which may contain escapes.
    fn quoted(&mut self) -> Option<&'a [u8]> {
        let inner = self.0.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| *byte == b'"')?;
        let (quoted, rest) = inner.split_at(end);
        self.0 = &rest[1..];
        Some(quoted)
    }

    /// Text of printable ASCII without escapes.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let text = self.quoted()?;
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
        if text.iter().all(is_plain) {
            str::from_utf8(text).ok()
        } else {
            None
        }
    }

    pub(super) fn word<T: Word>(&mut self) -> Option<T> {
        let quoted = self.quoted()?;
        let mut members = T::MEMBERS.iter().copied();
        members.find(|member| member.word().as_bytes() == quoted)
    }

    pub(super) fn address(&mut self) -> Option<SocketAddr> {
        let quoted = self.quoted()?;
        ipv4(quoted).or_else(|| str::from_utf8(quoted).ok()?.parse().ok())
    }

    /// The text of an object without nested objects.
    pub(super) fn object(&mut self) -> Option<&'a str> {
        let mut length = 1;
        if self.0.first() != Some(&b'{') {
            return None;
        }
        loop {
            length += 1 + memchr::memchr2(b'"', b'}', self.0.get(length..)?)?;
            if self.0[length - 1] == b'}' {
                break;
            }
            // To the end of the string that begins here.
            loop {
                length += 1 + memchr::memchr2(b'"', b'\\', self.0.get(length..)?)?;
                if self.0[length - 1] == b'"' {
                    break;
                }
                length += 1;
            }
        }
        let (object, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(object).ok()
    }
}

/// `10.0.0.1:80`
fn ipv4(text: &[u8]) -> Option<SocketAddr> {
    let mut rest = Rest(text);
    let mut octets = [0; 4];
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            rest.expect(b".")?;
        }
        *octet = u8::try_from(rest.number()?).ok()?;
    }
    rest.expect(b":")?;
    let port = u16::try_from(rest.number()?).ok()?;
    let address = IpAddr::V4(Ipv4Addr::from(octets));
    rest.0.is_empty().then(|| SocketAddr::new(address, port))
}
