//! Events as lines of JSON. The text of a process is formatted once, and copied while the same process repeats.

use std::io::Write as _;
use std::net::SocketAddr;

use serde::Serialize;

use super::timestamp::SECOND_NS;
use super::words::Word;
use super::{Event, Process, Timestamp};

/// Number of processes whose text is cached, each in a slot by its pid.
const KEPT: usize = 64;
/// Length of `2026-11-25T`.
const DATE: usize = 11;
const DAY_NS: u64 = 86_400 * SECOND_NS;

/// Writes events.
#[derive(Debug)]
pub struct EventJson {
    processes: Vec<Option<(Process, Box<[u8]>)>>,
    /// The day of the last timestamp, in days since 1970, and its text.
    day: (u64, [u8; DATE]),
}

impl Default for EventJson {
    fn default() -> Self {
        Self {
            processes: vec![None; KEPT],
            // A day that does not exist.
            day: (u64::MAX, [0; DATE]),
        }
    }
}

impl EventJson {
    /// Appends an event and the end of its line.
    ///
    /// # Errors
    /// If a value has no JSON form.
    pub fn append(&mut self, text: &mut Vec<u8>, event: &Event) -> serde_json::Result<()> {
        let mut line = JsonLine {
            text,
            known: self,
            failed: None,
        };
        event.write(&mut line);
        line.failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
impl EventJson {
    /// Appends a value.
    pub(super) fn value(&mut self, value: &impl super::value::Value) -> String {
        let mut text = Vec::new();
        let known = self;
        value.write(&mut JsonLine {
            text: &mut text,
            known,
            failed: None,
        });
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// A line that is being written.
#[derive(Debug)]
pub struct JsonLine<'a> {
    text: &'a mut Vec<u8>,
    known: &'a mut EventJson,
    /// The last error of a value that has no JSON form.
    failed: Option<serde_json::Error>,
}

impl JsonLine<'_> {
    #[inline(always)]
    pub(super) fn raw(&mut self, json: &[u8]) {
        self.text.extend_from_slice(json);
    }

    /// For rare or more complex values.
    pub(super) fn json(&mut self, value: &impl Serialize) {
        if let Err(error) = serde_json::to_writer(&mut *self.text, value) {
            self.failed = Some(error);
        }
    }

    pub(super) fn word(&mut self, member: impl Word) {
        self.raw(b"\"");
        self.raw(member.word().as_bytes());
        self.raw(b"\"");
    }

    pub(super) fn number(&mut self, mut number: u64) {
        /// Digits of `u64::MAX`.
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
        self.raw(&all[begin..]);
    }

    /// Appends this many digits, with leading zeros.
    fn digits<const N: usize>(&mut self, mut number: u64) {
        let mut all = [0; N];
        for digit in all.iter_mut().rev() {
            // Below ten.
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.raw(&all);
    }

    pub(super) fn address(&mut self, address: SocketAddr) {
        self.raw(b"\"");
        match address {
            SocketAddr::V4(address) => {
                for (index, octet) in address.ip().octets().into_iter().enumerate() {
                    if index > 0 {
                        self.raw(b".");
                    }
                    self.number(octet.into());
                }
                self.raw(b":");
                self.number(address.port().into());
            }
            // Writing to memory does not fail.
            SocketAddr::V6(address) => {
                let _ = write!(self.text, "{address}");
            }
        }
        self.raw(b"\"");
    }

    pub(super) fn process(&mut self, process: &Process) {
        let place = &mut self.known.processes[process.key.tgid as usize % KEPT];
        if let Some((known, written)) = place
            && known.is_as(process)
        {
            self.text.extend_from_slice(written);
            return;
        }
        let begin = self.text.len();
        self.json(process);
        let written = self.text[begin..].into();
        self.known.processes[process.key.tgid as usize % KEPT] = Some((process.clone(), written));
    }

    /// Not by jiff, which takes 70 ns for each: nearly all events are of the same day.
    pub(super) fn timestamp(&mut self, ts: Timestamp) {
        let day = ts.0 / DAY_NS;
        if self.known.day.0 != day {
            let whole = ts.to_string();
            match whole.as_bytes().first_chunk() {
                Some(date) => self.known.day = (day, *date),
                None => return self.raw(whole.as_bytes()),
            }
        }
        self.text.extend_from_slice(&self.known.day.1);
        let seconds = ts.0 / SECOND_NS % 86_400;
        self.digits::<2>(seconds / 3_600);
        self.raw(b":");
        self.digits::<2>(seconds / 60 % 60);
        self.raw(b":");
        self.digits::<2>(seconds % 60);
        self.raw(b".");
        self.digits::<9>(ts.0 % SECOND_NS);
        self.raw(b"Z");
    }
}
