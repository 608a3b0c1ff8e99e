//! Who made the calls of one row: processes of one name.

use twtrace_wire::{COMM_LEN, Unattributed};

use crate::event::{Event, Process};

/// The name of a process, or why there is none: part of the key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Processes of this name.
    Command([u8; COMM_LEN]),
    /// Calls without a process.
    Nobody(Option<Unattributed>),
}

impl Who {
    /// The least one.
    pub const FIRST: Self = Self::Command([0; COMM_LEN]);

    /// Of a call.
    pub fn of(event: &Event) -> Self {
        match &event.process {
            Some(process) => Self::Command(process.comm.padded()),
            None => Self::Nobody(event.unattributed),
        }
    }

    /// Why there is no process.
    pub fn unattributed(self) -> Option<Unattributed> {
        match self {
            Self::Nobody(why) => why,
            Self::Command(_) => None,
        }
    }
}

/// The processes of a row.
#[derive(Debug, Default)]
pub struct Callers {
    /// Of the latest call.
    pub latest: Option<Process>,
    /// Their number; one that comes again after another one counts again.
    pub count: u64,
}

impl Callers {
    /// Takes the process of a call.
    pub fn note(&mut self, event: &Event) {
        let Some(process) = &event.process else {
            return;
        };
        let is_known = |known: &Process| known.is(process);
        if !self.latest.as_ref().is_some_and(is_known) {
            self.count += 1;
            self.latest = Some(process.clone());
        }
    }
}
