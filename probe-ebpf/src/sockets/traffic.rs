//! Traffic of a connection, and how long it has been idle.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use twtrace_wire::{
    ABSENT, AbortReason, EventKind, ResetDirection, ResetReason, UNKNOWN, flags::AWAITS_ANSWER,
};

use crate::{
    constants::{config, offset},
    records::{BEGUN, Conn, Fact},
    sockets::{
        read::{now_ns, read},
        sock::Sock,
    },
};

/// Marks a duration as the whole time since ESTABLISHED, whenever that was. Below [`UNKNOWN`], above all real
/// durations.
pub const SINCE_HANDSHAKE: u64 = UNKNOWN - 1;

/// Which data counts as sent by this end, when the time since its last data is computed.
#[derive(Clone, Copy)]
pub enum Counted {
    /// All data.
    Sent,
    /// Data that the peer has acknowledged. A write that met a RST or silence is what ended the connection, so that
    /// only data before it counts. Retransmissions do not count either.
    Acknowledged,
}

/// Traffic of a connection. Durations are [`UNKNOWN`] if the kernel does not keep them.
#[derive(Clone, Copy)]
pub struct Traffic {
    /// When it was measured. What is reported of this measurement has this time, so that the clock is read once.
    pub at_ns: u64,
    /// Time since data last passed in either direction.
    pub idle_ns: u64,
    /// Time since the peer was last heard.
    pub peer_silent_ns: u64,
    /// Time since this end last sent data, or [`SINCE_HANDSHAKE`].
    pub send_idle_ns: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

impl Traffic {
    /// Only the time is known.
    #[inline(always)]
    pub fn unmeasured(at_ns: u64) -> Self {
        Self {
            at_ns,
            idle_ns: UNKNOWN,
            peer_silent_ns: UNKNOWN,
            send_idle_ns: UNKNOWN,
            bytes_sent: UNKNOWN,
            bytes_received: UNKNOWN,
        }
    }
}

impl Sock {
    /// Payload bytes sent (each counted once) and received, and how long neither end was heard, for a connection with
    /// this connection state.
    #[inline(always)]
    pub fn traffic(self, counted: Counted, conn: &Conn) -> Traffic {
        let sent: u64 = read(self.0, offset!(tcp_bytes_sent));
        let again: u64 = read(self.0, offset!(tcp_bytes_retrans));
        // bytes_received counts the peer's FIN as one (tcp_rcv_nxt_update counts up to end_seq).
        let received: u64 = read(self.0, offset!(tcp_bytes_received));
        let at_ns = now_ns();
        let send_idle_ns = send_idle(self.0, at_ns, counted as u64);
        let within = |measured| {
            let begun = (conn.flags & BEGUN) as u64;
            within(at_ns, conn.established_ns, begun, measured)
        };
        Traffic {
            at_ns,
            idle_ns: within(idle(self.0, send_idle_ns)),
            peer_silent_ns: within(peer_silent(self.0)),
            send_idle_ns: within(send_idle_ns),
            bytes_sent: sent.wrapping_sub(again),
            bytes_received: received.wrapping_sub((self.peer_fin_seen() && received > 0) as u64),
        }
    }

    /// Sequence numbers that the peer has not acknowledged. `packets_out` is cleared before some connections end
    /// (tcp_write_queue_purge()); these numbers are not.
    #[inline(always)]
    pub fn in_flight(self) -> u32 {
        let next: u32 = read(self.0, offset!(tcp_snd_nxt));
        next.wrapping_sub(read(self.0, offset!(tcp_snd_una)))
    }

    /// Time since the latest acknowledged data was sent (tcp_rack_advance(), with SACK only). A client's SYN counts; a
    /// server that has had nothing acknowledged has no such time.
    #[inline(always)]
    fn since_acknowledged_sent(self, at_ns: u64, nothing_before: bool) -> u64 {
        let at = offset!(tcp_rack_mstamp);
        let sent_us: u64 = if at == ABSENT { 0 } else { read(self.0, at) };
        if sent_us != 0 {
            // Paced segments may carry a time in the future.
            at_ns.saturating_sub(sent_us.wrapping_mul(1000))
        } else if nothing_before {
            SINCE_HANDSHAKE
        } else {
            UNKNOWN
        }
    }
}

/// Time since the peer was last heard. A global function, see [`count_search`](crate::totals::ports::count_search).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn peer_silent(sock: u64) -> u64 {
    let received = since(read(sock, offset!(icsk_lrcvtime)));
    // Set by tcp_ack(), for segments that acknowledge what they may.
    let acknowledged = since(read(sock, offset!(tcp_rcv_tstamp)));
    let silent_ns = min(received, acknowledged);
    let refused = offset!(tcp_last_oow_ack_time);
    if refused == ABSENT {
        return silent_ns;
    }
    // Set by __tcp_oow_rate_limited(), above all for keepalive probes.
    min(silent_ns, since(read(sock, refused)))
}

/// Time since this end last sent data of the kind that [counts](Counted). A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_idle(sock: u64, at_ns: u64, counted: u64) -> u64 {
    let sock = Sock(sock);
    if counted == Counted::Acknowledged as u64 {
        let in_flight = sock.in_flight();
        if in_flight != 0 {
            let sent: u64 = read(sock.0, offset!(tcp_bytes_sent));
            let again: u64 = read(sock.0, offset!(tcp_bytes_retrans));
            let nothing_before = sent.wrapping_sub(again) <= in_flight as u64;
            return sock.since_acknowledged_sent(at_ns, nothing_before);
        }
    }
    since(read(sock.0, offset!(tcp_lsndtime)))
}

/// Time since data last passed in either direction. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn idle(sock: u64, send_idle_ns: u64) -> u64 {
    if send_idle_ns == UNKNOWN {
        return UNKNOWN;
    }
    min(send_idle_ns, since(read(sock, offset!(icsk_lrcvtime))))
}

/// [`AWAITS_ANSWER`] if no data of the peer has come since this end sent some, or 0. Both times have the tick's resolution:
/// within one tick nothing shows which came first.
#[inline(always)]
pub fn awaits_answer(sock: Sock, traffic: &Traffic) -> u16 {
    let has_sent = !matches!(traffic.bytes_sent, 0 | UNKNOWN);
    if has_sent && (traffic.bytes_received == 0 || sent_last(sock.0) != 0) {
        AWAITS_ANSWER
    } else {
        0
    }
}

/// Whether this end has sent data after the tick in which the peer's last data came. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sent_last(sock: u64) -> u64 {
    let sent: u32 = read(sock, offset!(tcp_lsndtime));
    let received: u32 = read(sock, offset!(icsk_lrcvtime));
    (sent.wrapping_sub(received) as i32 > 0) as u64
}

/// Time since a moment in ticks (`tcp_jiffies32`), in nanoseconds; [`UNKNOWN`] if it never came.
#[inline(always)]
fn since(ticks: u32) -> u64 {
    /// How far ahead, in ticks, a moment may be that another CPU has set since `now` was read.
    const AHEAD: u32 = 1 << 16;
    if ticks == 0 {
        return UNKNOWN;
    }
    // SAFETY: the helper takes no arguments and has no side effects.
    let now = unsafe { bpf_jiffies64() } as u32;
    let passed = now.wrapping_sub(ticks);
    if passed > u32::MAX - AHEAD {
        return 0;
    }
    passed as u64 * config!(tick_ns)
}

#[inline(always)]
fn min(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

/// Which data counts as sent: all of it if this end ended the connection itself.
#[inline(always)]
pub fn counted(fact: &Fact) -> Counted {
    let is_ended_by_peer = match fact.kind {
        EventKind::Reset => {
            fact.from == ResetDirection::Received as u8 || fact.reason == ResetReason::Timeout as u8
        }
        EventKind::Abort => fact.reason != AbortReason::Destroyed as u8,
        _ => false,
    };
    if is_ended_by_peer {
        Counted::Acknowledged
    } else {
        Counted::Sent
    }
}

/// Bounds a duration of a connection that is open, or was: ticks are coarse, and none may be longer than the connection
/// has been established. `begun`: 0 if its beginning was not seen. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn within(at_ns: u64, established_ns: u64, begun: u64, measured: u64) -> u64 {
    // Never established: the kernel has not set any time yet.
    let is_open = established_ns != 0 || begun == 0;
    if !is_open || measured == UNKNOWN {
        return UNKNOWN;
    }
    if established_ns != 0 {
        return min(at_ns.wrapping_sub(established_ns), measured);
    }
    if measured == SINCE_HANDSHAKE {
        // It was established before tracing.
        return UNKNOWN;
    }
    measured
}

/// Time from the close to the data that a RST answers, if the RST is for data after close.
#[inline(always)]
pub fn after_close(fact: &Fact, now_ns: u64, closed_ns: u64) -> u64 {
    let is_late = matches!(fact.kind, EventKind::Reset)
        && fact.from == ResetDirection::Sent as u8
        && fact.reason == ResetReason::DataAfterClose as u8;
    if is_late {
        elapsed(now_ns, closed_ns)
    } else {
        UNKNOWN
    }
}

/// Time since a moment; [`UNKNOWN`] if the moment never came or is not known (0).
#[inline(always)]
pub fn elapsed(now_ns: u64, since_ns: u64) -> u64 {
    if since_ns == 0 {
        UNKNOWN
    } else {
        now_ns.wrapping_sub(since_ns)
    }
}

/// The inverse of [`elapsed`]: the moment `ago_ns` before now, or 0.
#[inline(always)]
pub fn moment(now_ns: u64, ago_ns: u64) -> u64 {
    if ago_ns == UNKNOWN {
        0
    } else {
        now_ns.wrapping_sub(ago_ns)
    }
}
