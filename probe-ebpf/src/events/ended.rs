//! Records of the ends of mini-sockets in the ring buffer.

use twtrace_wire::{EndCause, EndEvent, EventKind, Probe, UNKNOWN};

use super::wakeup;
use crate::{
    maps::{EVENTS, lost::count_lost},
    mini_sockets::{age::stranger_reason, kept::mini_conn},
    processes::names,
    records::{Actor, MiniConn},
    slots::existing,
    sockets::{read::now_ns, sock::Sock},
};

/// Reports the end of a mini-socket.
#[inline(always)]
pub fn report(mini: Sock, cause: EndCause, by: &Actor) {
    let Some(mut entry) = EVENTS.reserve::<EndEvent>(0) else {
        return count_lost(Probe::TimeWaitEnd);
    };
    // SAFETY: the reserved record; every field of it is written before it is submitted.
    unsafe { fill(entry.as_mut_ptr(), mini, cause, by) };
    entry.submit(wakeup());
}

/// Reports an end that was filled in earlier.
#[inline(always)]
pub fn report_again(event: &EndEvent) {
    match EVENTS.reserve::<EndEvent>(0) {
        Some(mut entry) => {
            entry.write(*event);
            entry.submit(wakeup());
        }
        None => count_lost(Probe::TimeWaitEnd),
    }
}

/// Writes all fields of an end. `event` is a reserved record or part of a map value.
///
/// # Safety
/// `event` is valid for writes.
#[inline(always)]
pub unsafe fn fill(event: *mut EndEvent, mini: Sock, cause: EndCause, by: &Actor) {
    let now = now_ns();
    // SAFETY: guaranteed by the caller.
    unsafe {
        (*event).flags = mini.fill_tuple(&mut (*event).tuple, mini.local_port());
        (*event).mono_ns = now;
        (*event).kind = EventKind::TimeWaitEnd as u8;
        (*event).cause = cause as u8;
        (*event).before_start = 0;
        (*event).reserved2 = 0;
        match mini_conn(mini) {
            Some(kept) => fill_maker(event, kept, now),
            None => {
                let (side, opener) = existing::of(mini);
                (*event).side = side;
                (*event).age_ns = UNKNOWN;
                (*event).promoted_ns = UNKNOWN;
                let nobody = Actor::nobody(stranger_reason(mini));
                names::fill(&mut (*event).process, &nobody);
                names::fill(&mut (*event).opener, &opener);
            }
        }
        names::fill(&mut (*event).by, by);
    }
}

/// Writes what is known of the process that created the mini-socket.
///
/// # Safety
/// As for [`fill`].
#[inline(always)]
unsafe fn fill_maker(event: *mut EndEvent, kept: &MiniConn, now: u64) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        (*event).side = kept.side;
        (*event).age_ns = now.wrapping_sub(kept.born_ns);
        (*event).promoted_ns = kept.promoted_ns;
        names::fill(&mut (*event).process, &kept.closer);
        names::fill_beside(
            &mut (*event).opener,
            &kept.opener,
            &(*event).process,
            kept.closer.generation,
        );
    }
}
