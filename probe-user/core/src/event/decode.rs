//! Wire records to events. Structs are read where they lie; nothing is copied but what an event keeps.

use std::cell::RefCell;
use std::rc::Rc;

use twtrace_wire::{
    AbortReason, ConnectionEvent, EndCause, EndEvent, EventKind, NetnsKey, PortEvent, PortOp,
    ResetDirection, ResetReason, Side, TcpState, Tuple, UNKNOWN, flags,
};

use super::address::{Ends, ends};
use super::answerable::unattributed;
use super::counts_by::CountsBy;
use super::errno::Errno;
use super::kernel_reason::KernelReasons;
use super::netns_order::NetnsOrder;
use super::timestamp::Clocks;
use super::{
    Abort, Event, EventFacts, Flow, NoAddress, PortAlloc, PortResult, Process, Reset, SocketRange,
    TimeWait, TimeWaitEnd,
};

/// Offset of the kind, in every record.
const KIND_OFFSET: usize = std::mem::offset_of!(ConnectionEvent, kind);
const _: () = assert!(KIND_OFFSET == std::mem::offset_of!(PortEvent, kind));
const _: () = assert!(KIND_OFFSET == std::mem::offset_of!(EndEvent, kind));

/// Why a record can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends before its kind.
    #[error("a record of {0} bytes")]
    Short(usize),
    /// A kind that this build does not know.
    #[error("unknown kind {0}")]
    UnknownKind(u8),
    /// Its length is not that of its kind.
    #[error("a record of kind {kind} has {found} bytes, not {expected}")]
    Length {
        /// The record's kind.
        kind: u8,
        /// Length found, bytes.
        found: usize,
        /// Length of this kind, bytes.
        expected: usize,
    },
    /// Its address does not have the alignment of its struct.
    #[error("misaligned record")]
    Misaligned,
    /// A code that this build does not know.
    #[error("unknown code {code} of {field}")]
    UnknownCode {
        /// The field.
        field: &'static str,
        /// The code.
        code: u8,
    },
}

/// An event, with what only [`super::reset_correlation::ResetCorrelation`] needs.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The event.
    pub event: Event,
    /// Identifies the socket among consecutive records.
    pub socket: u64,
    /// An event that a following reset of the same socket may replace.
    pub may_be_replaced: bool,
    /// A sent reset that replaces such an event.
    pub replaces: bool,
    /// It waits apart from other events, which it does not hold up: a reset whose process may still become known by
    /// accept(), or one that a process may replace only when it has a CPU again.
    pub waits_apart: bool,
    /// Not an event: names the process of the event that waits for it.
    pub is_acceptor: bool,
}

/// Decodes records.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// For `ts`.
    pub clocks: Clocks,
    /// For `kernel_reason`.
    pub kernel_reasons: KernelReasons,
    /// Whether hooks see why connects could not reuse TIME_WAITs.
    pub sees_refused_reuse: bool,
    /// Whether hooks see which process calls accept().
    pub sees_accept: bool,
    /// For `netns_nth`.
    pub netns_order: Rc<RefCell<NetnsOrder>>,
}

impl Decoder {
    /// Decodes one record.
    ///
    /// # Errors
    /// If this build does not know its kind or a code in it.
    pub fn decode(&self, record: &[u8]) -> Result<Decoded, DecodeError> {
        let kind_code = *record
            .get(KIND_OFFSET)
            .ok_or(DecodeError::Short(record.len()))?;
        let kind = EventKind::from_code(kind_code).ok_or(DecodeError::UnknownKind(kind_code))?;
        match kind {
            EventKind::TimeWait
            | EventKind::TimeWaitOverflow
            | EventKind::Reset
            | EventKind::Abort => self.connection(kind, view(record, kind)?),
            EventKind::PortAlloc => self.port(view(record, kind)?),
            EventKind::NoAddress => self.no_address(view(record, kind)?),
            EventKind::TimeWaitEnd => self.end(view(record, kind)?),
        }
    }

    fn connection(&self, kind: EventKind, wire: &ConnectionEvent) -> Result<Decoded, DecodeError> {
        let state = TcpState::from_code(wire.state).filter(|state| *state != TcpState::Unknown);
        let flow = Flow {
            connection_ns: known(wire.connection_ns),
            idle_ns: known(wire.idle_ns),
            peer_silent_ns: known(wire.peer_silent_ns),
            send_idle_ns: known(wire.send_idle_ns),
            bytes_sent: known(wire.bytes_sent),
            bytes_received: known(wire.bytes_received),
            awaits_answer: (wire.flags & flags::AWAITS_ANSWER != 0).then_some(true),
        };
        let facts = match kind {
            EventKind::Reset => EventFacts::Reset(Reset {
                direction: code("direction", wire.from, ResetDirection::from_code)?,
                reason: code("reason", wire.reason, ResetReason::from_code)?,
                kernel_reason: self.kernel_reasons.get(wire.kernel_reason),
                state,
                flow,
                after_close_ns: known(wire.after_close_ns),
                unread_bytes: known(wire.unread_bytes),
            }),
            EventKind::Abort => EventFacts::Abort(Abort {
                reason: code("reason", wire.reason, AbortReason::from_code)?,
                state,
                flow,
            }),
            EventKind::TimeWait
            | EventKind::TimeWaitOverflow
            | EventKind::PortAlloc
            | EventKind::TimeWaitEnd
            | EventKind::NoAddress => EventFacts::TimeWait(TimeWait {
                state,
                from: TcpState::from_code(wire.from).filter(|state| *state != TcpState::Unknown),
                flow,
                inferred: wire.flags & flags::INFERRED != 0,
            }),
        };
        let side = code("side", wire.side, Side::from_code)?;
        let opener = Process::from_wire(&wire.opener);
        let mut event = self.common(
            kind,
            wire.mono_ns,
            &wire.tuple,
            wire.flags,
            &wire.process,
            facts,
        );
        event.side = side;
        event.opener = opener;
        Ok(Decoded {
            event,
            socket: wire.socket,
            may_be_replaced: wire.flags & flags::MAY_BE_DATA != 0,
            replaces: wire.flags & flags::REPLACES != 0,
            waits_apart: (self.sees_accept && wire.flags & flags::AWAITS_ACCEPT != 0)
                || wire.flags & flags::IN_PROCESS != 0,
            is_acceptor: wire.flags & flags::ACCEPTED != 0,
        })
    }

    /// Decodes the end of a mini-socket.
    ///
    /// # Errors
    /// If it has a code that this build does not know.
    pub fn end(&self, wire: &EndEvent) -> Result<Decoded, DecodeError> {
        let facts = EventFacts::TimeWaitEnd(TimeWaitEnd {
            cause: code("cause", wire.cause, EndCause::from_code)?,
            age_ns: known(wire.age_ns),
            promoted_ns: known(wire.promoted_ns),
            by: Process::from_wire(&wire.by),
            inferred: false,
        });
        let mut event = self.common(
            EventKind::TimeWaitEnd,
            wire.mono_ns,
            &wire.tuple,
            wire.flags,
            &wire.process,
            facts,
        );
        event.side = code("side", wire.side, Side::from_code)?;
        event.opener = Process::from_wire(&wire.opener);
        Ok(Decoded {
            event,
            socket: 0,
            may_be_replaced: false,
            replaces: false,
            waits_apart: false,
            is_acceptor: false,
        })
    }

    fn port(&self, wire: &PortEvent) -> Result<Decoded, DecodeError> {
        let op = code("op", wire.op, PortOp::from_code)?;
        let facts = EventFacts::PortAlloc(PortAlloc {
            op,
            requested: wire.requested,
            result: match wire.errno {
                0 => PortResult::Ok,
                errno => PortResult::Failed(Errno(errno)),
            },
            latency_ns: (wire.flags & flags::UNTIMED == 0).then_some(wire.latency_ns),
            exact: wire.flags & flags::EXACT != 0,
            refused_reuse: (self.sees_refused_reuse && op == PortOp::Connect)
                .then(|| CountsBy::new(wire.refused.map(u64::from))),
            socket_range: (wire.range_low != 0 || wire.range_high != 0).then_some(SocketRange {
                low: wire.range_low,
                high: wire.range_high,
            }),
        });
        Ok(self.call(EventKind::PortAlloc, wire, op, facts))
    }

    fn no_address(&self, wire: &PortEvent) -> Result<Decoded, DecodeError> {
        let op = code("op", wire.op, PortOp::from_code)?;
        let result = PortResult::Failed(Errno(wire.errno));
        let facts = EventFacts::NoAddress(NoAddress { op, result });
        Ok(self.call(EventKind::NoAddress, wire, op, facts))
    }

    /// A call, with the ends that it names.
    fn call(&self, kind: EventKind, wire: &PortEvent, op: PortOp, facts: EventFacts) -> Decoded {
        let mut event = self.common(
            kind,
            wire.mono_ns,
            &wire.tuple,
            wire.flags,
            &wire.process,
            facts,
        );
        if kind == EventKind::NoAddress && op == PortOp::Connect {
            event.local = None;
        }
        match op {
            PortOp::Connect => event.side = Side::Client,
            PortOp::Listen => {
                event.side = Side::Server;
                event.remote = None;
            }
            // Clients also bind.
            PortOp::Bind => {
                event.side = Side::Unknown;
                event.remote = None;
            }
        }
        Decoded {
            event,
            socket: 0,
            may_be_replaced: false,
            replaces: false,
            waits_apart: false,
            is_acceptor: false,
        }
    }

    fn common(
        &self,
        kind: EventKind,
        mono_ns: u64,
        tuple: &Tuple,
        wire_flags: u16,
        process: &twtrace_wire::Process,
        facts: EventFacts,
    ) -> Event {
        let Ends {
            local,
            remote,
            mapped,
        } = ends(tuple);
        let unattributed = unattributed(process.key);
        Event {
            ts: self.clocks.of_monotonic(mono_ns),
            mono_ns,
            event: kind,
            netns: (tuple.netns != 0).then_some(tuple.netns),
            netns_nth: self.netns_order.borrow_mut().nth(NetnsKey {
                netns: tuple.netns,
                mark: tuple.netns_mark,
            }),
            local,
            remote,
            mapped: mapped || wire_flags & flags::MAPPED != 0,
            side: Side::Unknown,
            process: Process::from_wire(process),
            unattributed,
            opener: None,
            facts,
        }
    }
}

fn known(measure: u64) -> Option<u64> {
    (measure != UNKNOWN).then_some(measure)
}

fn code<T>(
    field: &'static str,
    code: u8,
    from_code: impl Fn(u8) -> Option<T>,
) -> Result<T, DecodeError> {
    from_code(code).ok_or(DecodeError::UnknownCode { field, code })
}

/// A struct for which all bytes of its length are a valid value.
///
/// # Safety
/// `repr(C)`, with integers or such structs only, without padding.
pub unsafe trait Wire: Copy {}

// SAFETY: the wire crate asserts its size to be the sum of its fields, which are integers and such structs.
unsafe impl Wire for ConnectionEvent {}
// SAFETY: as above.
unsafe impl Wire for PortEvent {}
// SAFETY: as above.
unsafe impl Wire for EndEvent {}

fn view<T: Wire>(record: &[u8], kind: EventKind) -> Result<&T, DecodeError> {
    if record.len() != size_of::<T>() {
        return Err(DecodeError::Length {
            kind: kind as u8,
            found: record.len(),
            expected: size_of::<T>(),
        });
    }
    let pointer = record.as_ptr().cast::<T>();
    if !pointer.is_aligned() {
        return Err(DecodeError::Misaligned);
    }
    // SAFETY: the slice has the length of `T` and its alignment, any bytes are a valid `T`, and the
    // reference lives no longer than the slice.
    Ok(unsafe { &*pointer })
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
