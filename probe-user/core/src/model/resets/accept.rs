//! Servers that close right after accept().

use twtrace_wire::ResetReason;

use crate::event::Reset;

/// A server that refuses a connection closes it within this time after the handshake, nanoseconds.
const AT_ONCE_NS: u64 = 100_000_000;
/// It sends no more than a line that says why, bytes.
const REFUSAL_BYTES: u64 = 512;
/// Its client's first data, bytes: a command, or a head of HTTP.
const FIRST_BYTES: u64 = 1_024;

/// Whether a server that closed at once had answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It sent nothing, or sent a line before it had received anything.
    None,
    /// It sent a line, which may be the answer to what it had received.
    Possible,
}

/// For a RST of a server that closed at once after the handshake, with no more than a line sent, and the first data of its
/// client not read to its end: whether it had answered.
pub fn closed_at_once(reset: &Reset) -> Option<Answer> {
    let closes = matches!(
        reset.reason,
        ResetReason::UnreadData | ResetReason::DataAfterClose
    );
    let flow = &reset.flow;
    let lasted_ns = flow
        .connection_ns?
        .saturating_sub(reset.after_close_ns.unwrap_or(0));
    let (sent, received) = (flow.bytes_sent?, flow.bytes_received?);
    if !closes || lasted_ns > AT_ONCE_NS || sent > REFUSAL_BYTES || received > FIRST_BYTES {
        return None;
    }
    // Bytes count as received also if they were read, and the order of the first data of both ends is not known.
    Some(match sent == 0 || received == 0 {
        true => Answer::None,
        false => Answer::Possible,
    })
}
