//! What is kept of a connection after it has a mini-socket: until that ends, or the entry is needed for another one.

use twtrace_wire::UNKNOWN;

use super::place;
use crate::{
    constants::offset,
    records::{CLOSED_BY_OTHER, Conn, MiniConn},
    sockets::{
        read::{now_ns, read},
        sock::Sock,
        state,
        traffic::{Traffic, moment},
    },
};

/// Keeps for a mini-socket what is known of its full socket. Not inlined: its callers have little stack left.
#[inline(never)]
pub fn keep(sock: u64, conn: &Conn, substate: u8, mini: u64, traffic: &Traffic) -> u32 {
    let sock = Sock(sock);
    let Some(place) = place::take(mini) else {
        return 1;
    };
    let kept = place.value();
    // SAFETY: a slot that nobody else writes; or an LRU entry, which may be recycled at any time. What is written then
    // is never read as another connection's, because `hash` and ports are compared.
    unsafe {
        (*kept).closer = conn.closer;
        (*kept).opener = conn.opener;
        (*kept).hash = sock.hash();
        (*kept).local_port = sock.source_port();
        (*kept).remote_port = sock.remote_port();
        (*kept).side = conn.side;
        (*kept).substate = substate;
        (*kept).is_closed_by_other = (conn.flags & CLOSED_BY_OTHER != 0) as u8;
        (*kept).born_ns = traffic.at_ns;
        (*kept).promoted_ns = UNKNOWN;
        (*kept).established_ns = conn.established_ns;
        (*kept).site = conn.site;
        (*kept).closed_ns = conn.closed_ns;
        (*kept).last_data_ns = moment(traffic.at_ns, traffic.idle_ns);
        (*kept).last_sent_ns = moment(traffic.at_ns, traffic.send_idle_ns);
        (*kept).bytes_sent = traffic.bytes_sent;
        (*kept).bytes_received = traffic.bytes_received;
    }
    place.finish(mini);
    0
}

/// The connection state behind a mini-socket, if the entry belongs to this connection.
#[inline(always)]
pub fn mini_conn(mini: Sock) -> Option<&'static MiniConn> {
    let kept = place::find(mini.0)?;
    // SAFETY: entries may be given to other mini-sockets at any time; a copy of integers can be stale, not invalid.
    let kept = unsafe { &*kept };
    place::is_of(kept, mini).then_some(kept)
}

/// Removes the entry of a mini-socket that ends.
#[inline(always)]
pub fn forget(mini: Sock) {
    place::release(mini.0);
}

/// Records the time at which the peer's FIN changed a mini-socket that began in FIN_WAIT2 to TIME_WAIT, if that has
/// just happened.
#[inline(always)]
pub fn promoted(mini: Sock) {
    let Some(kept) = place::find(mini.0) else {
        return;
    };
    // SAFETY: as above; integers that may be stale, not invalid.
    unsafe {
        if place::is_of(&*kept, mini)
            && (*kept).substate == state::FIN_WAIT2
            && (*kept).promoted_ns == UNKNOWN
            && read::<u8>(mini.0, offset!(tw_substate)) == state::TIME_WAIT
        {
            (*kept).promoted_ns = now_ns().wrapping_sub((*kept).born_ns);
        }
    }
}
