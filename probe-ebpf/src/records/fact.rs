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
    /// See [`twtrace_wire::ConnectionEvent::unread_bytes`]; [`NO_BYTES`] if there is no such number.
    pub unread_bytes: u32,
}

/// No number of bytes that were not read.
pub const NO_BYTES: u32 = u32::MAX;
