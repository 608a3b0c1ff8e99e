//! What a record in the ring buffer says, but for the socket and who did it.

use twtrace_wire::EventKind;

/// What happened.
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
