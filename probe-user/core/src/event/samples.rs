//! Events for tests.

use twtrace_wire::{
    AbortReason, EndCause, EventKind, PortOp, ProcessKey, ResetDirection, ResetReason, Side,
    TcpState,
};

use super::comm::Comm;
use super::counts_by::CountsBy;
use super::errno::Errno;
use super::*;

/// `curl`, pid 1234.
pub fn process(tgid: u32, comm: &str) -> Process {
    Process {
        key: ProcessKey {
            tgid,
            unattributed: 0,
            start_boot_ns: 77,
        },
        uid: Some(1000),
        cgroup_id: 0,
        execs: 0,
        comm: Comm::from_bytes(comm.as_bytes()),
        thread_comm: Comm::default(),
        details: None,
    }
}

fn event(kind: EventKind, facts: EventFacts) -> Event {
    Event {
        ts: Timestamp(1_700_000_000_000_000_007),
        mono_ns: 1000,
        event: kind,
        netns: Some(4_026_531_840),
        local: Some("10.0.0.1:40000".parse().unwrap()),
        remote: Some("[2001:db8::2]:80".parse().unwrap()),
        mapped: false,
        netns_nth: 0,
        side: Side::Client,
        process: Some(process(1234, "curl")),
        unattributed: None,
        opener: Some(process(1234, "curl")),
        facts,
    }
}

const FLOW: Flow = Flow {
    connection_ns: Some(5_000_000),
    idle_ns: None,
    peer_silent_ns: None,
    send_idle_ns: None,
    bytes_sent: Some(80),
    bytes_received: Some(612),
    awaits_answer: None,
};

/// One event of each kind.
pub fn all() -> Vec<Event> {
    let mut overflow = time_wait();
    overflow.event = EventKind::TimeWaitOverflow;
    let all = [
        time_wait(),
        overflow,
        reset(),
        abort(),
        port_alloc(),
        time_wait_end(),
        no_address(),
    ];
    assert_eq!(all.len(), EventKind::COUNT);
    all.into()
}

/// Creation of a mini-socket in FIN_WAIT2.
pub fn time_wait() -> Event {
    event(
        EventKind::TimeWait,
        EventFacts::TimeWait(TimeWait {
            state: Some(TcpState::FinWait2),
            from: Some(TcpState::FinWait1),
            flow: FLOW,
            inferred: false,
        }),
    )
}

/// A close with SO_LINGER 0.
pub fn reset() -> Event {
    event(
        EventKind::Reset,
        EventFacts::Reset(Reset {
            direction: ResetDirection::Sent,
            reason: ResetReason::LingerZero,
            kernel_reason: None,
            state: Some(TcpState::Established),
            flow: FLOW,
            after_close_ns: None,
            unread_bytes: None,
        }),
    )
}

/// A connection that timed out.
pub fn abort() -> Event {
    event(
        EventKind::Abort,
        EventFacts::Abort(Abort {
            reason: AbortReason::Timeout,
            state: Some(TcpState::Established),
            flow: FLOW,
        }),
    )
}

/// A TIME_WAIT that another process's connect() reused.
pub fn time_wait_end() -> Event {
    event(
        EventKind::TimeWaitEnd,
        EventFacts::TimeWaitEnd(TimeWaitEnd {
            cause: EndCause::ReusedByConnect,
            age_ns: Some(1_200_000_000),
            promoted_ns: Some(300_000),
            by: Some(process(77, "wget")),
            inferred: false,
        }),
    )
}

/// A bind() of an address that the host lacks.
pub fn no_address() -> Event {
    Event {
        remote: None,
        side: Side::Unknown,
        ..event(
            EventKind::NoAddress,
            EventFacts::NoAddress(NoAddress {
                op: PortOp::Bind,
                result: PortResult::Failed(Errno(99)),
            }),
        )
    }
}

/// A connect() that found no free port.
pub fn port_alloc() -> Event {
    event(
        EventKind::PortAlloc,
        EventFacts::PortAlloc(PortAlloc {
            op: PortOp::Connect,
            requested: 0,
            result: PortResult::Failed(Errno(99)),
            latency_ns: Some(1_500),
            exact: true,
            refused_reuse: Some(CountsBy::new([0, 3, 0, 0, 0, 0, 0])),
            socket_range: None,
        }),
    )
}
