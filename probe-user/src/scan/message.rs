//! Parses the kernel's answers to a dump of sockets into rows.

use std::time::Duration;

use twtrace_core::event::address;
use twtrace_core::model::socket::{AcceptQueue, SocketRow, Timer, Times};
use twtrace_wire::{TcpState, Tuple};

/// `struct nlmsghdr`.
pub const HEADER_BYTES: usize = 16;
/// `SOCK_DIAG_BY_FAMILY`: type of the request and of each row.
pub const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `INET_DIAG_INFO`: attribute with a `struct tcp_info`.
pub const INET_DIAG_INFO: u16 = 2;
/// `INET_DIAG_SKMEMINFO`: attribute with numbers, of which that at `SK_MEMINFO_DROPS` counts drops.
pub const INET_DIAG_SKMEMINFO: u16 = 7;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// `struct inet_diag_msg`; attributes follow.
const ROW_BYTES: usize = 72;
const INET_DIAG_SKV6ONLY: u16 = 11;
/// `SK_MEMINFO_DROPS`, in bytes.
const DROPS: usize = 8 * 4;
/// The upper two bits of an attribute's type are flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;
/// Offsets in `struct tcp_info`, which only ever grows at its end.
const TCPI_LAST_DATA_RECV: usize = 52;
const TCPI_LAST_ACK_RECV: usize = 56;
/// `TCP_BOUND_INACTIVE`, which only these dumps use: a socket that is bound, and nothing more.
const BOUND_INACTIVE: u8 = 13;

/// What a datagram reports besides its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpProgress {
    /// It was the last datagram.
    pub is_done: bool,
    /// The table changed in a way that may have left out rows.
    pub is_interrupted: bool,
}

/// A datagram that is not part of a valid answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The kernel refuses with this errno.
    #[error("the kernel refuses: {}", std::io::Error::from_raw_os_error(*.0))]
    Refused(i32),
    /// The datagram ends too early, or its lengths are wrong.
    #[error("a malformed netlink message")]
    Malformed,
}

/// Parses the rows of one datagram. Skips messages with another sequence number.
///
/// # Errors
/// If the kernel refuses, or the datagram is malformed.
pub fn parse(
    datagram: &[u8],
    sequence: u32,
    rows: &mut impl Extend<SocketRow>,
) -> Result<DumpProgress, MessageError> {
    let mut progress = DumpProgress::default();
    let mut rest = datagram;
    while !rest.is_empty() {
        let length = read_u32(rest, 0)? as usize;
        let kind = read_u16(rest, 4)?;
        let flags = read_u16(rest, 6)?;
        let message = rest.get(..length).ok_or(MessageError::Malformed)?;
        let payload = message.get(HEADER_BYTES..).ok_or(MessageError::Malformed)?;
        if read_u32(message, 8)? == sequence {
            progress.is_interrupted |= flags & NLM_F_DUMP_INTR != 0;
            match kind {
                NLMSG_DONE => {
                    refused(payload)?;
                    progress.is_done = true;
                }
                NLMSG_ERROR => {
                    refused(payload)?;
                    // An acknowledgement, which was not requested.
                    return Err(MessageError::Malformed);
                }
                SOCK_DIAG_BY_FAMILY => rows.extend([row(payload)?]),
                _ => {}
            }
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    Ok(progress)
}

/// The negative errno at the start of an ERROR and, since some kernel version, of a DONE.
fn refused(payload: &[u8]) -> Result<(), MessageError> {
    let code = read_u32(payload, 0).unwrap_or(0).cast_signed();
    if code < 0 {
        Err(MessageError::Refused(code.saturating_neg()))
    } else {
        Ok(())
    }
}

fn row(payload: &[u8]) -> Result<SocketRow, MessageError> {
    let fixed: &[u8; ROW_BYTES] = payload.first_chunk().ok_or(MessageError::Malformed)?;
    let [family, state, timer, retransmits, ..] = *fixed;
    let ip_version = match i32::from(family) {
        libc::AF_INET => 4,
        libc::AF_INET6 => 6,
        _ => return Err(MessageError::Malformed),
    };
    let address = |offset: usize| -> Result<[u8; 16], MessageError> {
        let bytes = fixed.get(offset..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or(MessageError::Malformed)
    };
    let ends = address::ends(&Tuple {
        local: address(8)?,
        remote: address(24)?,
        local_port: u16::from_be_bytes([fixed[4], fixed[5]]),
        remote_port: u16::from_be_bytes([fixed[6], fixed[7]]),
        ip_version,
        ..Tuple::default()
    });
    let (Some(local), Some(remote)) = (ends.local, ends.remote) else {
        return Err(MessageError::Malformed);
    };
    let timer = Timer::from_code(timer);
    // Overdue times are negative on some kernels.
    let left_ms = u64::try_from(read_u32(fixed, 52)?.cast_signed()).unwrap_or(0);
    let mut row = SocketRow {
        state: match state {
            BOUND_INACTIVE => TcpState::Close,
            _ => TcpState::from_code(state).unwrap_or(TcpState::Unknown),
        },
        local,
        remote,
        mapped: ends.mapped,
        v6only: None,
        uid: read_u32(fixed, 64)?,
        inode: read_u32(fixed, 68)?,
        cookie: u64::from(read_u32(fixed, 44)?) | u64::from(read_u32(fixed, 48)?) << 32,
        timer,
        retransmits,
        expires: (timer != Timer::Off).then(|| Duration::from_millis(left_ms)),
        times: None,
        queue: None,
    };
    if row.state == TcpState::Listen {
        row.queue = Some(AcceptQueue {
            length: read_u32(fixed, 56)?,
            backlog: read_u32(fixed, 60)?,
            drops: None,
        });
    }
    attributes(&payload[ROW_BYTES..], &mut row)?;
    Ok(row)
}

fn attributes(mut rest: &[u8], row: &mut SocketRow) -> Result<(), MessageError> {
    while rest.len() >= 4 {
        let length = usize::from(read_u16(rest, 0)?);
        let value = rest.get(4..length).ok_or(MessageError::Malformed)?;
        match read_u16(rest, 2)? & ATTRIBUTE_TYPE {
            INET_DIAG_INFO => row.times = times(value),
            INET_DIAG_SKMEMINFO => {
                if let Some(queue) = &mut row.queue {
                    queue.drops = read_u32(value, DROPS).ok();
                }
            }
            INET_DIAG_SKV6ONLY => row.v6only = value.first().map(|flag| *flag != 0),
            _ => {}
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    Ok(())
}

fn times(tcp_info: &[u8]) -> Option<Times> {
    let milliseconds = |offset| {
        let value = read_u32(tcp_info, offset).ok()?;
        Some(Duration::from_millis(value.into()))
    };
    Some(Times {
        since_data: milliseconds(TCPI_LAST_DATA_RECV)?,
        since_ack: milliseconds(TCPI_LAST_ACK_RECV)?,
    })
}

/// Messages and attributes begin at multiples of four bytes.
const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn read_u32(bytes: &[u8], offset: usize) -> Result<u32, MessageError> {
    let field = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    field
        .map(|field| u32::from_ne_bytes(*field))
        .ok_or(MessageError::Malformed)
}

fn read_u16(bytes: &[u8], offset: usize) -> Result<u16, MessageError> {
    let field = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    field
        .map(|field| u16::from_ne_bytes(*field))
        .ok_or(MessageError::Malformed)
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
