//! Who is answerable, as keys of tables.

use twtrace_wire::{ProcessKey, Unattributed};

use crate::event::Event;

/// Who is answerable for an event; where there is no process, the reason.
pub fn key_of(event: &Event) -> ProcessKey {
    match (&event.process, event.unattributed) {
        (Some(process), _) => process.key,
        (None, Some(reason)) => without_process(reason),
        (None, None) => without_process(Unattributed::Unknown),
    }
}

/// Stands for facts that have no process, by reason.
pub fn without_process(reason: Unattributed) -> ProcessKey {
    ProcessKey {
        tgid: 0,
        unattributed: reason as u32,
        start_boot_ns: 0,
    }
}
