//! Events as JSON, byte for byte as serde writes them, and several times as fast: an event's process is written once,
//! and copied as long as it comes again.

use std::io::Write as _;
use std::net::SocketAddr;

use super::json;
use crate::event::timestamp::SECOND_NS;
use crate::event::words::Word;
use crate::event::{Event, Facts, Flow, PortResult, Process, Timestamp};

/// Processes whose text is kept, each in a place by its pid.
const KEPT: usize = 64;
/// `2026-11-25T`
const DATE: usize = 11;
const DAY_NS: u64 = 86_400 * SECOND_NS;

/// Writes events.
#[derive(Debug)]
pub struct EventJson {
    processes: Vec<Option<(Process, Box<[u8]>)>>,
    /// The day of the last timestamp, in days since 1970, and how it is written.
    day: (u64, [u8; DATE]),
}

impl Default for EventJson {
    fn default() -> Self {
        Self {
            processes: vec![None; KEPT],
            // No such day.
            day: (u64::MAX, [0; DATE]),
        }
    }
}

impl EventJson {
    /// Appends an event and the end of its line.
    ///
    /// # Errors
    /// When a value has no JSON form.
    pub fn append(&mut self, text: &mut Vec<u8>, event: &Event) -> serde_json::Result<()> {
        if event.netns_nth != 0 || is_rare(&event.facts) {
            return json::append(text, event);
        }
        text.extend(b"{\"ts\":\"");
        self.timestamp(text, event.ts);
        text.extend(b"\",\"mono_ns\":");
        number(text, event.mono_ns);
        text.extend(b",\"event\":");
        word(text, event.event);
        text.extend(b",\"netns\":");
        number_or_null(text, event.netns.map(u64::from));
        text.extend(b",\"local\":");
        address(text, event.local);
        text.extend(b",\"remote\":");
        address(text, event.remote);
        text.extend(b",\"mapped\":");
        truth(text, event.mapped);
        text.extend(b",\"side\":");
        word(text, event.side);
        text.extend(b",\"process\":");
        self.process(text, event.process.as_ref())?;
        text.extend(b",\"unattributed\":");
        word_or_null(text, event.unattributed);
        text.extend(b",\"opener\":");
        self.process(text, event.opener.as_ref())?;
        self.facts(text, &event.facts)?;
        text.extend(b"}\n");
        Ok(())
    }

    fn facts(&mut self, text: &mut Vec<u8>, facts: &Facts) -> serde_json::Result<()> {
        match facts {
            Facts::TimeWait(facts) => {
                text.extend(b",\"state\":");
                word_or_null(text, facts.state);
                text.extend(b",\"from\":");
                word_or_null(text, facts.from);
                flow(text, &facts.flow);
                text.extend(b",\"inferred\":");
                truth(text, facts.inferred);
            }
            Facts::TimeWaitEnd(facts) => {
                text.extend(b",\"cause\":");
                word(text, facts.cause);
                text.extend(b",\"age_ns\":");
                number_or_null(text, facts.age_ns);
                text.extend(b",\"promoted_ns\":");
                number_or_null(text, facts.promoted_ns);
                text.extend(b",\"by\":");
                self.process(text, facts.by.as_ref())?;
                text.extend(b",\"inferred\":");
                truth(text, facts.inferred);
            }
            Facts::Reset(facts) => {
                text.extend(b",\"direction\":");
                word(text, facts.direction);
                text.extend(b",\"reason\":");
                word(text, facts.reason);
                text.extend(b",\"kernel_reason\":");
                serde_json::to_writer(&mut *text, &facts.kernel_reason)?;
                text.extend(b",\"state\":");
                word_or_null(text, facts.state);
                flow(text, &facts.flow);
                text.extend(b",\"after_close_ns\":");
                number_or_null(text, facts.after_close_ns);
            }
            Facts::Abort(facts) => {
                text.extend(b",\"reason\":");
                word(text, facts.reason);
                text.extend(b",\"state\":");
                word_or_null(text, facts.state);
                flow(text, &facts.flow);
            }
            Facts::PortAlloc(facts) => {
                text.extend(b",\"op\":");
                word(text, facts.op);
                text.extend(b",\"requested\":");
                number(text, facts.requested.into());
                text.extend(b",\"result\":\"ok\",\"latency_ns\":");
                number_or_null(text, facts.latency_ns);
                text.extend(b",\"exact\":");
                truth(text, facts.exact);
                text.extend(b",\"refused_reuse\":");
                text.extend(match facts.refused_reuse {
                    Some(_) => &b"{}"[..],
                    None => b"null",
                });
                text.extend(b",\"socket_range\":null");
            }
        }
        Ok(())
    }

    fn process(&mut self, text: &mut Vec<u8>, process: Option<&Process>) -> serde_json::Result<()> {
        let Some(process) = process else {
            text.extend(b"null");
            return Ok(());
        };
        let place = &mut self.processes[process.key.tgid as usize % KEPT];
        match place {
            Some((known, written)) if known.is_as(process) => text.extend(&written[..]),
            _ => {
                let written = serde_json::to_vec(process)?.into_boxed_slice();
                text.extend(&written[..]);
                *place = Some((process.clone(), written));
            }
        }
        Ok(())
    }

    fn timestamp(&mut self, text: &mut Vec<u8>, ts: Timestamp) {
        let day = ts.0 / DAY_NS;
        if self.day.0 != day {
            let whole = ts.to_string();
            match whole.as_bytes().first_chunk() {
                Some(date) => self.day = (day, *date),
                None => {
                    text.extend(whole.as_bytes());
                    return;
                }
            }
        }
        text.extend(&self.day.1);
        let seconds = ts.0 / SECOND_NS % 86_400;
        digits::<2>(text, seconds / 3_600);
        text.push(b':');
        digits::<2>(text, seconds / 60 % 60);
        text.push(b':');
        digits::<2>(text, seconds % 60);
        text.push(b'.');
        digits::<9>(text, ts.0 % SECOND_NS);
        text.push(b'Z');
    }
}

/// What is left to serde: it is seldom, or has more in it.
fn is_rare(facts: &Facts) -> bool {
    match facts {
        Facts::PortAlloc(facts) => {
            facts.result != PortResult::Ok
                || facts.socket_range.is_some()
                || facts
                    .refused_reuse
                    .is_some_and(|met| met.counted().next().is_some())
        }
        _ => false,
    }
}

/// So many digits, with zeros in front.
fn digits<const N: usize>(text: &mut Vec<u8>, mut number: u64) {
    let mut all = [0; N];
    for digit in all.iter_mut().rev() {
        // Below ten.
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text.extend(&all);
}

fn number(text: &mut Vec<u8>, mut number: u64) {
    /// Of `u64::MAX`.
    const MOST: usize = 20;
    let mut all = [0; MOST];
    let mut begin = MOST;
    loop {
        begin -= 1;
        // Below ten.
        all[begin] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend(&all[begin..]);
}

fn number_or_null(text: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => number(text, value),
        None => text.extend(b"null"),
    }
}

fn truth(text: &mut Vec<u8>, value: bool) {
    text.extend(match value {
        true => &b"true"[..],
        false => b"false",
    });
}

fn word(text: &mut Vec<u8>, member: impl Word) {
    text.push(b'"');
    text.extend(member.word().as_bytes());
    text.push(b'"');
}

fn word_or_null(text: &mut Vec<u8>, member: Option<impl Word>) {
    match member {
        Some(member) => word(text, member),
        None => text.extend(b"null"),
    }
}

fn address(text: &mut Vec<u8>, address: Option<SocketAddr>) {
    match address {
        None => text.extend(b"null"),
        Some(SocketAddr::V4(address)) => {
            text.push(b'"');
            for (index, octet) in address.ip().octets().into_iter().enumerate() {
                if index > 0 {
                    text.push(b'.');
                }
                number(text, octet.into());
            }
            text.push(b':');
            number(text, address.port().into());
            text.push(b'"');
        }
        // Writing to memory does not fail.
        Some(address) => {
            let _ = write!(text, "\"{address}\"");
        }
    }
}

fn flow(text: &mut Vec<u8>, flow: &Flow) {
    text.extend(b",\"connection_ns\":");
    number_or_null(text, flow.connection_ns);
    text.extend(b",\"idle_ns\":");
    number_or_null(text, flow.idle_ns);
    text.extend(b",\"peer_silent_ns\":");
    number_or_null(text, flow.peer_silent_ns);
    text.extend(b",\"send_idle_ns\":");
    number_or_null(text, flow.send_idle_ns);
    text.extend(b",\"bytes_sent\":");
    number_or_null(text, flow.bytes_sent);
    text.extend(b",\"bytes_received\":");
    number_or_null(text, flow.bytes_received);
}
