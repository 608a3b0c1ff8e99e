//! The quick way back, for lines as twtrace writes them: fields in their order, no spaces, no escapes but in names of
//! processes. Any other line has to be read the long way; it may still be of the contract.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use twtrace_wire::{EventKind, Side};

use super::parse::{LATEST, Parser, ProcessText};
use super::words::Word;
use super::{
    Abort, Event, Facts, Flow, PortAlloc, PortResult, Process, Reset, TimeWait, TimeWaitEnd,
    Timestamp,
};
use crate::event::timestamp::SECOND_NS;

/// `2026-11-25T`
const DATE: usize = 11;
/// `2026-11-25T16:31:01.123456789Z`
const TIMESTAMP: usize = 30;

/// The day of the last timestamp: it is that of nearly all.
#[derive(Debug, Default)]
pub struct Day {
    date: [u8; DATE],
    /// When it begins.
    start_ns: u64,
}

impl Day {
    fn timestamp(&mut self, text: &[u8; TIMESTAMP]) -> Option<Timestamp> {
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

/// `16:31:01.123456789Z`
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

/// What is left of a line.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Of a length that the compiler knows: a few words are compared then, and no function is called.
    fn expect<const N: usize>(&mut self, text: &[u8; N]) -> Option<()> {
        let (begin, rest) = self.0.split_first_chunk::<N>()?;
        if begin != text {
            return None;
        }
        self.0 = rest;
        Some(())
    }

    fn is_next<const N: usize>(&mut self, text: &[u8; N]) -> bool {
        self.expect(text).is_some()
    }

    fn number(&mut self) -> Option<u64> {
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

    fn number_or_null(&mut self) -> Option<Option<u64>> {
        match self.is_next(b"null") {
            true => Some(None),
            false => self.number().map(Some),
        }
    }

    fn truth(&mut self) -> Option<bool> {
        if self.is_next(b"true") {
            return Some(true);
        }
        self.expect(b"false").map(|()| false)
    }

    /// What is between two quotes: not the text that it stands for, where it has escapes.
    fn quoted(&mut self) -> Option<&'a [u8]> {
        let inner = self.0.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| *byte == b'"')?;
        let (quoted, rest) = inner.split_at(end);
        self.0 = &rest[1..];
        Some(quoted)
    }

    /// Text of printable ASCII without escapes.
    fn text_or_null(&mut self) -> Option<Option<&'a str>> {
        if self.is_next(b"null") {
            return Some(None);
        }
        let text = self.quoted()?;
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
        match text.iter().all(is_plain) {
            true => str::from_utf8(text).ok().map(Some),
            false => None,
        }
    }

    fn word<T: Word>(&mut self) -> Option<T> {
        let quoted = self.quoted()?;
        let mut members = T::MEMBERS.iter().copied();
        members.find(|member| member.word().as_bytes() == quoted)
    }

    fn word_or_null<T: Word>(&mut self) -> Option<Option<T>> {
        match self.is_next(b"null") {
            true => Some(None),
            false => self.word().map(Some),
        }
    }

    fn address_or_null(&mut self) -> Option<Option<SocketAddr>> {
        if self.is_next(b"null") {
            return Some(None);
        }
        let quoted = self.quoted()?;
        let address = ipv4(quoted).or_else(|| str::from_utf8(quoted).ok()?.parse().ok());
        address.map(Some)
    }

    fn flow(&mut self) -> Option<Flow> {
        self.expect(b",\"connection_ns\":")?;
        let connection_ns = self.number_or_null()?;
        self.expect(b",\"idle_ns\":")?;
        let idle_ns = self.number_or_null()?;
        self.expect(b",\"peer_silent_ns\":")?;
        let peer_silent_ns = self.number_or_null()?;
        self.expect(b",\"send_idle_ns\":")?;
        let send_idle_ns = self.number_or_null()?;
        self.expect(b",\"bytes_sent\":")?;
        let bytes_sent = self.number_or_null()?;
        self.expect(b",\"bytes_received\":")?;
        Some(Flow {
            connection_ns,
            idle_ns,
            peer_silent_ns,
            send_idle_ns,
            bytes_sent,
            bytes_received: self.number_or_null()?,
        })
    }

    /// The text of an object that has none in it.
    fn object(&mut self) -> Option<&'a str> {
        let mut length = 1;
        if self.0.first() != Some(&b'{') {
            return None;
        }
        loop {
            length += 1 + memchr::memchr2(b'"', b'}', self.0.get(length..)?)?;
            if self.0[length - 1] == b'}' {
                break;
            }
            // To the end of the text that begins here.
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

impl Parser {
    /// The event of a line that is just as this version writes it; `None` for any other.
    pub(super) fn as_written(&mut self, line: &[u8]) -> Option<Event> {
        let mut rest = Rest(line);
        rest.expect(b"{\"ts\":\"")?;
        let (ts, after) = rest.0.split_first_chunk()?;
        let ts = self.day.timestamp(ts)?;
        rest.0 = after;
        rest.expect(b"\",\"mono_ns\":")?;
        let mono_ns = rest.number()?;
        rest.expect(b",\"event\":")?;
        let event: EventKind = rest.word()?;
        rest.expect(b",\"netns\":")?;
        let netns = match rest.number_or_null()? {
            Some(netns) => Some(u32::try_from(netns).ok()?),
            None => None,
        };
        rest.expect(b",\"local\":")?;
        let local = rest.address_or_null()?;
        rest.expect(b",\"remote\":")?;
        let remote = rest.address_or_null()?;
        rest.expect(b",\"mapped\":")?;
        let mapped = rest.truth()?;
        rest.expect(b",\"side\":")?;
        let side: Side = rest.word()?;
        rest.expect(b",\"process\":")?;
        let process = self.process_as_written(&mut rest)?;
        rest.expect(b",\"unattributed\":")?;
        let unattributed = rest.word_or_null()?;
        rest.expect(b",\"opener\":")?;
        let opener = self.process_as_written(&mut rest)?;
        let facts = self.facts_as_written(event, &mut rest)?;
        (rest.0 == b"}").then_some(Event {
            ts,
            mono_ns,
            event,
            netns,
            // The line would not be like this.
            netns_nth: 0,
            local,
            remote,
            mapped,
            side,
            process,
            unattributed,
            opener,
            facts,
        })
    }

    fn facts_as_written(&mut self, kind: EventKind, rest: &mut Rest) -> Option<Facts> {
        Some(match kind {
            EventKind::TimeWait | EventKind::TimeWaitOverflow => {
                rest.expect(b",\"state\":")?;
                let state = rest.word_or_null()?;
                rest.expect(b",\"from\":")?;
                let from = rest.word_or_null()?;
                let flow = rest.flow()?;
                rest.expect(b",\"inferred\":")?;
                Facts::TimeWait(TimeWait {
                    state,
                    from,
                    flow,
                    inferred: rest.truth()?,
                })
            }
            EventKind::TimeWaitEnd => {
                rest.expect(b",\"cause\":")?;
                let cause = rest.word()?;
                rest.expect(b",\"age_ns\":")?;
                let age_ns = rest.number_or_null()?;
                rest.expect(b",\"promoted_ns\":")?;
                let promoted_ns = rest.number_or_null()?;
                rest.expect(b",\"by\":")?;
                let by = self.process_as_written(rest)?;
                rest.expect(b",\"inferred\":")?;
                Facts::TimeWaitEnd(TimeWaitEnd {
                    cause,
                    age_ns,
                    promoted_ns,
                    by,
                    inferred: rest.truth()?,
                })
            }
            EventKind::Reset => {
                rest.expect(b",\"direction\":")?;
                let direction = rest.word()?;
                rest.expect(b",\"reason\":")?;
                let reason = rest.word()?;
                rest.expect(b",\"kernel_reason\":")?;
                let kernel_reason = rest.text_or_null()?;
                rest.expect(b",\"state\":")?;
                let state = rest.word_or_null()?;
                let flow = rest.flow()?;
                rest.expect(b",\"after_close_ns\":")?;
                Facts::Reset(Reset {
                    direction,
                    reason,
                    kernel_reason: kernel_reason.map(|reason| self.kernel_reason(reason)),
                    state,
                    flow,
                    after_close_ns: rest.number_or_null()?,
                })
            }
            EventKind::Abort => {
                rest.expect(b",\"reason\":")?;
                let reason = rest.word()?;
                rest.expect(b",\"state\":")?;
                let state = rest.word_or_null()?;
                Facts::Abort(Abort {
                    reason,
                    state,
                    flow: rest.flow()?,
                })
            }
            EventKind::PortAlloc => {
                rest.expect(b",\"op\":")?;
                let op = rest.word()?;
                rest.expect(b",\"requested\":")?;
                let requested = u16::try_from(rest.number()?).ok()?;
                // A failure, what was met and a range of a socket are rare enough for the long way.
                rest.expect(b",\"result\":\"ok\",\"latency_ns\":")?;
                let latency_ns = rest.number_or_null()?;
                rest.expect(b",\"exact\":")?;
                let exact = rest.truth()?;
                rest.expect(b",\"refused_reuse\":")?;
                let refused_reuse = match rest.is_next(b"null") {
                    true => None,
                    false => {
                        rest.expect(b"{}")?;
                        Some(Default::default())
                    }
                };
                rest.expect(b",\"socket_range\":null")?;
                Facts::PortAlloc(PortAlloc {
                    op,
                    requested,
                    result: PortResult::Ok,
                    latency_ns,
                    exact,
                    refused_reuse,
                    socket_range: None,
                })
            }
        })
    }

    fn process_as_written(&mut self, rest: &mut Rest) -> Option<Option<Process>> {
        if rest.is_next(b"null") {
            return Some(None);
        }
        let mut pid = Rest(rest.0.strip_prefix(b"{\"pid\":")?);
        let place = pid.number()? as usize % LATEST;
        // No object begins another one, so this needs no look for its end.
        if let Some(Some(ProcessText { text, process })) = self.latest.get(place)
            && let Some(after) = rest.0.strip_prefix(text.as_bytes())
        {
            rest.0 = after;
            return Some(Some(process.clone()));
        }
        let text = rest.object()?;
        self.process(text).ok().map(Some)
    }
}
