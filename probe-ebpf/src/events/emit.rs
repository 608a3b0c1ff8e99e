//! Turns a fact into totals and a record in the ring buffer.

use twtrace_wire::{ConnectionEvent, EventKind, NO_SITE, Probe, Side, UNKNOWN, Unattributed};

use crate::{
    events::wakeup,
    maps::{EVENTS, counting, lost::count_lost},
    processes::names,
    records::{Actor, Conn, Fact, MiniConn, NO_BYTES, NOBODY},
    slots::{existing, listener},
    sockets::{
        read::now_ns,
        segment,
        sock::Sock,
        traffic::{Traffic, after_close, awaits_answer, counted, elapsed},
        tuple::set_netns,
    },
    totals::{count, count_sent, sites},
};

/// A fact about a full socket: counts it under its process, and reports it if the ring buffer has room.
#[inline(always)]
pub fn of_socket(fact: &Fact, sock: u64, conn: &Conn, charged: &Actor) -> u32 {
    if !counting::has_begun() {
        return 0;
    }
    count_sent(fact, Sock(sock).net());
    let traffic = Sock(sock).traffic(counted(fact), conn);
    of_socket_with(fact, sock, conn, charged, &traffic)
}

/// The same, after counting [has begun](counting) and with traffic that is already measured. Not for sent RSTs, which
/// [`of_socket`] counts in their namespace: one more call from here is too much for the stack of the callers. The
/// record is written in place, since a program's stack has 512 bytes.
#[inline(never)]
pub fn of_socket_with(
    fact: &Fact,
    sock: u64,
    conn: &Conn,
    charged: &Actor,
    traffic: &Traffic,
) -> u32 {
    let sock = Sock(sock);
    count(fact, conn.side, &charged.key, 1);
    sites::count_fact(fact, conn.site, 1);
    let Some(mut entry) = EVENTS.reserve::<ConnectionEvent>(0) else {
        lost(fact);
        return 1;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: `event` is the reserved record; with `begin` every field of it is written before it is submitted.
    unsafe {
        let more = sock.fill_tuple(&mut (*event).tuple, sock.source_port());
        let more = more | awaits_answer(sock, traffic);
        begin(
            event,
            traffic.at_ns,
            fact,
            more,
            conn.side,
            conn.established_ns,
        );
        (*event).socket = sock.0;
        (*event).idle_ns = traffic.idle_ns;
        (*event).peer_silent_ns = traffic.peer_silent_ns;
        (*event).send_idle_ns = traffic.send_idle_ns;
        (*event).after_close_ns = after_close(fact, traffic.at_ns, conn.closed_ns);
        (*event).bytes_sent = traffic.bytes_sent;
        (*event).bytes_received = traffic.bytes_received;
        names::fill(&mut (*event).process, charged);
        names::fill_beside(
            &mut (*event).opener,
            &conn.opener,
            &(*event).process,
            charged.generation,
        );
    }
    entry.submit(wakeup());
    0
}

/// A fact about a mini-socket whose connection state was kept: counts and reports it.
#[inline(never)]
pub fn of_mini(fact: &Fact, mini: u64, kept: &MiniConn) -> u32 {
    if !counting::has_begun() {
        return 0;
    }
    let mini = Sock(mini);
    let (charged, site) = if kept.is_closed_by_other != 0 {
        (&NOBODY, NO_SITE)
    } else {
        (&kept.closer, kept.site)
    };
    count(fact, kept.side, &charged.key, 1);
    count_sent(fact, mini.net());
    sites::count_fact(fact, site, 1);
    let Some(mut entry) = EVENTS.reserve::<ConnectionEvent>(0) else {
        lost(fact);
        return 1;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: as in `of_socket`.
    unsafe {
        let more = mini.fill_tuple(&mut (*event).tuple, mini.local_port());
        begin(event, now_ns(), fact, more, kept.side, kept.established_ns);
        (*event).socket = mini.0;
        (*event).idle_ns = elapsed((*event).mono_ns, kept.last_data_ns);
        // It answers a segment of the peer.
        (*event).peer_silent_ns = 0;
        (*event).send_idle_ns = elapsed((*event).mono_ns, kept.last_sent_ns);
        (*event).after_close_ns = after_close(fact, (*event).mono_ns, kept.closed_ns);
        (*event).bytes_sent = kept.bytes_sent;
        (*event).bytes_received = kept.bytes_received;
        names::fill(&mut (*event).process, charged);
        names::fill(&mut (*event).opener, &kept.opener);
    }
    entry.submit(wakeup());
    0
}

/// Source of the addresses of a fact without a connection state.
#[derive(Clone, Copy)]
pub enum Addresses {
    /// A mini-socket.
    Sock(u64),
    /// The segment (an sk_buff) that met no connection, and the listener or request socket that it met, or 0.
    Segment { skb: u64, sock: u64 },
}

impl Addresses {
    /// The `struct net` in which the kernel counts: that of the socket, if there is one.
    #[inline(always)]
    fn net(self) -> u64 {
        match self {
            Self::Sock(sock) => Sock(sock).net(),
            Self::Segment { skb, sock: 0 } => segment::net(skb),
            Self::Segment { sock, .. } => Sock(sock).net(),
        }
    }
}

/// A fact for which no connection state names a process. The owner of a listener may be known; otherwise no process is
/// named.
#[inline(always)]
pub fn of_nobody(fact: &Fact, addresses: Addresses, side: Side, why: Unattributed) {
    if !counting::has_begun() {
        return;
    }
    // Counted here: one more call in the function below is too much for its stack.
    count_sent(fact, addresses.net());
    of_nobody_uncounted(fact, addresses, side, why);
}

#[inline(never)]
fn of_nobody_uncounted(fact: &Fact, addresses: Addresses, side: Side, why: Unattributed) -> u32 {
    let mut actor = Actor::nobody(why);
    let mut opener = Actor::nobody(Unattributed::Unknown);
    let mut known_side = Side::Unknown as u8;
    match addresses {
        // A socket that the start-up scan may know.
        Addresses::Sock(sock) => {
            let (side, known) = existing::of(Sock(sock));
            known_side = side;
            opener = known;
        }
        Addresses::Segment { sock: 0, .. } => {}
        Addresses::Segment { sock, .. } => listener::name_owner(Sock(sock), &mut actor),
    }
    let side = if matches!(side, Side::Unknown) {
        known_side
    } else {
        side as u8
    };
    count(fact, side, &actor.key, 1);
    let Some(mut entry) = EVENTS.reserve::<ConnectionEvent>(0) else {
        lost(fact);
        return 1;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: as in `of_socket`.
    unsafe {
        (*event).idle_ns = UNKNOWN;
        (*event).peer_silent_ns = UNKNOWN;
        (*event).send_idle_ns = UNKNOWN;
        (*event).after_close_ns = UNKNOWN;
        (*event).bytes_sent = UNKNOWN;
        (*event).bytes_received = UNKNOWN;
        let (more, socket) = match addresses {
            Addresses::Sock(sock) => {
                let sock = Sock(sock);
                (
                    sock.fill_tuple(&mut (*event).tuple, sock.local_port()),
                    sock.0,
                )
            }
            Addresses::Segment { skb, sock } => {
                let more = segment::fill_tuple(&mut (*event).tuple, skb);
                if sock != 0 {
                    set_netns(&mut (*event).tuple, Sock(sock).net());
                }
                (more, sock)
            }
        };
        begin(event, now_ns(), fact, more, side, 0);
        (*event).socket = socket;
        names::fill(&mut (*event).process, &actor);
        names::fill(&mut (*event).opener, &opener);
    }
    entry.submit(wakeup());
    0
}

/// Writes the fields that all records have in common.
///
/// # Safety
/// `event` is a reserved record.
#[inline(always)]
unsafe fn begin(
    event: *mut ConnectionEvent,
    now_ns: u64,
    fact: &Fact,
    more: u16,
    side: u8,
    established_ns: u64,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        (*event).mono_ns = now_ns;
        (*event).kind = fact.kind as u8;
        (*event).side = side;
        (*event).state = fact.state;
        (*event).from = fact.from;
        (*event).reason = fact.reason;
        (*event).kernel_reason = fact.kernel_reason;
        (*event).flags = fact.flags | more;
        (*event).connection_ns = elapsed(now_ns, established_ns);
        (*event).unread_bytes = match fact.unread_bytes {
            NO_BYTES => UNKNOWN,
            bytes => bytes as u64,
        };
    }
}

#[inline(always)]
fn lost(fact: &Fact) {
    count_lost(match fact.kind {
        EventKind::Reset => Probe::Reset,
        EventKind::Abort => Probe::Abort,
        _ => Probe::TimeWait,
    });
}
