//! Who is answerable: a process, or the reason why there is none. JSON has a field for each, and so have rows; as keys of tables
//! the two are one.

use twtrace_wire::{ProcessKey, Unattributed};

use super::{Event, Process};

/// Who is answerable for an event, or for what a row sums up.
#[derive(Clone, Copy, Debug)]
pub enum Answerable<'a, R = Unattributed> {
    /// This process.
    Process(&'a Process),
    /// No process is known, for this reason.
    Nobody(R),
    /// No process is known, and no reason: what is known by its key alone, and what an earlier version recorded.
    Unknown,
}

impl<'a, R> Answerable<'a, R> {
    /// Of the two fields.
    pub fn of(process: Option<&'a Process>, why: Option<R>) -> Self {
        match (process, why) {
            (Some(process), _) => Self::Process(process),
            (None, Some(why)) => Self::Nobody(why),
            (None, None) => Self::Unknown,
        }
    }
}

impl Answerable<'_> {
    /// As a key of tables.
    pub fn key(self) -> ProcessKey {
        match self {
            Self::Process(process) => process.key,
            Self::Nobody(reason) => without_process(reason),
            Self::Unknown => without_process(Unattributed::Unknown),
        }
    }
}

impl Event {
    /// Who is answerable for it.
    pub fn answerable(&self) -> Answerable<'_> {
        Answerable::of(self.process.as_ref(), self.unattributed)
    }
}

/// The key for events without a process, by reason.
pub fn without_process(reason: Unattributed) -> ProcessKey {
    ProcessKey {
        tgid: 0,
        unattributed: reason as u32,
        start_boot_ns: 0,
    }
}

/// Why a key has no process; `None` if it has one.
pub fn unattributed(key: ProcessKey) -> Option<Unattributed> {
    if key.tgid != 0 {
        return None;
    }
    let reason = u8::try_from(key.unattributed)
        .ok()
        .and_then(Unattributed::from_code);
    Some(reason.unwrap_or(Unattributed::Unknown))
}
