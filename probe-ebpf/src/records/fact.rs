//! What a record in the ring buffer reports, except the socket and the process.

use twtrace_wire::EventKind;

/// An event before it is bound to a socket and a process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Fact {
    pub kind: EventKind,
    pub state: u8,
    pub from: u8,
    pub reason: u8,
    pub kernel_reason: u8,
    pub flags: u16,
}
