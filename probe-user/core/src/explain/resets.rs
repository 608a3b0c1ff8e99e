//! Reasons of RSTs, and of connections that ended without one.

use twtrace_wire::{AbortReason, ResetReason};

use super::text::Text;

/// Of a RST that this host sent; `None` if it sends none for this reason.
pub const fn sent(reason: ResetReason) -> Option<Text> {
    Some(match reason {
        ResetReason::Other => Text::new(
            "Answer to a segment, for no other reason",
            "A listener, a half-open request or a socket that stays open answered a segment with RST. If the state is \
             `listen`, the segment belongs to no connection, or no longer does.",
        )
        .why(
            "The segment came late, after the socket's own RST. Or the accept queue is full and \
             net.ipv4.tcp_abort_on_overflow is set.",
        )
        .to_do("See the state and the kernel's own reason (from 6.10 on): `twtrace trace --event reset`."),
        ResetReason::LingerZero => Text::new(
            "close() with SO_LINGER 0",
            "The process set SO_LINGER to 0 s and closed. The kernel sends a RST instead of a FIN, drops data that is \
             not yet sent, and creates no TIME_WAIT. The peer gets ECONNRESET. The kernel's own reason is TCP_STATE.",
        )
        .why("Health checkers do so on purpose; other programs to avoid TIME_WAITs.")
        .to_do("Nothing for a health checker. Else close without SO_LINGER.")
        .do_not("use it where data was sent: the peer may lose what it has not read."),
        ResetReason::UnreadData => Text::new(
            "close() while received data was unread",
            "The process closed while data from the peer was still in its receive buffer. The kernel sends a RST: data \
             was lost. No TIME_WAIT is created.",
        )
        .why(
            "The program stops reading early: it closes after its own answer, rejects a request without reading the \
             body, or ends.",
        )
        .to_do("Read until read() returns 0 before close(), or call shutdown(SHUT_WR) first and then read the rest."),
        ResetReason::DataAfterClose => Text::new(
            "Data arrived after close()",
            "The process had closed the connection, or shut it down for reading, when data of the peer arrived. No \
             process can read it, so the kernel answers with RST.",
        )
        .why(
            "Both ends act at the same time: a server ends an idle keep-alive connection while the client sends its next \
             request. Or a client gives up before the answer comes. `after_close_ns` is the delay.",
        )
        .to_do("Let the client close idle connections before the server does: a shorter idle timeout in the client or proxy."),
        ResetReason::NoSocket => Text::new(
            "No socket for the segment",
            "A segment arrived for an address and port without a socket. No process is known for it.",
        )
        .why(
            "A client connects to a port that nothing listens on; the client sees `refused`. Or a segment belongs to a \
             connection that has ended, such as after a restart or a failover.",
        )
        .to_do("Check the local port: start the service, or correct the client's configuration."),
        ResetReason::TimeWait => Text::new(
            "A TIME_WAIT answered a segment",
            "A segment that is not data, such as a SYN, arrived for a mini-socket that still waits for the peer's FIN. \
             The mini-socket answered with RST.",
        )
        .why("The peer uses the same ports again before it has closed its end of the earlier connection.")
        .to_do("Find out why the peer lost the connection: a restart, a NAT device, or a firewall that dropped the FIN."),
        ResetReason::Timeout => Text::new(
            "A timer of the kernel ended the connection",
            "A timer expired (keepalive, FIN_WAIT2 or retransmission), and the kernel reset the connection.",
        )
        .why("The peer or the network no longer answers, or the peer never sends its FIN after this host has closed.")
        .to_do("See `peer_silent_ns` of the event for how long the peer was silent, then check the peer and the path to it."),
        ResetReason::Aborted => Text::new(
            "Ended here by other means",
            "connect() with AF_UNSPEC, `ss -K`, a listener that closes with connections in its queue, or TCP_LINGER2 \
             below 0 ended the connection.",
        )
        .why("At a restart the connections that a listener has not accepted yet are reset.")
        .to_do("At restarts, hand the listener over (SO_REUSEPORT, socket activation), or accept all before closing it."),
        // Only received.
        ResetReason::Refused | ResetReason::Peer => return None,
    })
}

/// Of a RST that this host received; `None` if none is reported for this reason.
pub const fn received(reason: ResetReason) -> Option<Text> {
    Some(match reason {
        ResetReason::Refused => Text::new(
            "A connect() was answered with RST",
            "The peer answered the SYN with RST. connect() fails with ECONNREFUSED.",
        )
        .why("Nothing listens on that address and port, or a firewall rejects it with a RST.")
        .to_do("Check that the service runs, listens on that address (not only on loopback), and that the port is right."),
        ResetReason::Peer => Text::new(
            "The peer reset the connection",
            "The peer sent a RST for a connection that was open, or closing. Calls return ECONNRESET, or EPIPE for later \
             writes. The process shown is the one here.",
        )
        .why(
            "The peer's process closed with SO_LINGER 0 or with unread data, had closed before this data came, or was \
             restarted. A firewall or load balancer that forgot an idle connection also answers with RST.",
        )
        .to_do(
            "Run twtrace on the peer: it shows the reason as a RST sent. See `send_idle_ns`: a long idle time points to \
             an idle timeout of the peer or of a device in between. Keep idle connections for a shorter time here.",
        ),
        ResetReason::Other
        | ResetReason::LingerZero
        | ResetReason::UnreadData
        | ResetReason::DataAfterClose
        | ResetReason::NoSocket
        | ResetReason::TimeWait
        | ResetReason::Timeout
        | ResetReason::Aborted => return None,
    })
}

/// Of a connection that ended without RST.
pub const fn aborted(reason: AbortReason) -> Text {
    match reason {
        AbortReason::Other => Text::new(
            "An error ended it, such as an ICMP message",
            "The connection ended by an error that is neither a timeout nor a request from outside, such as ICMP \
             \"unreachable\". The process gets that error, such as EHOSTUNREACH.",
        )
        .why("A router or host on the path reports that the peer can't be reached.")
        .to_do("Check routes, and firewalls that reject with ICMP."),
        AbortReason::Timeout => Text::new(
            "The peer did not answer in time (ETIMEDOUT)",
            "Retransmissions, keepalive probes or TCP_USER_TIMEOUT ended without an answer. The process gets ETIMEDOUT. \
             No RST was sent or received.",
        )
        .why("The peer is down, the network lost the path, or a firewall drops the packets.")
        .to_do(
            "See `peer_silent_ns` of the event. To notice sooner, use keepalive or TCP_USER_TIMEOUT in the program. \
             connect() waits for net.ipv4.tcp_syn_retries.",
        ),
        AbortReason::Destroyed => Text::new(
            "Destroyed from outside (ECONNABORTED)",
            "Another program ended the connection with `ss -K` or bpf_sock_destroy(). The process gets ECONNABORTED.",
        )
        .why("An administrator or a network agent closes connections, such as those to a backend that was removed.")
        .to_do("Find the tool that did it. The process shown is the one that had the connection."),
        AbortReason::Unanswered => Text::new(
            "The process gave up connecting",
            "The process closed the socket while connect() was unanswered: the SYN had been sent again, which the kernel does \
             after a second, and neither SYN-ACK nor RST had come.",
        )
        .why(
            "The peer is down, or a firewall drops the packets; and the program's connect timeout is shorter than the kernel's.",
        )
        .to_do("Check the address, routes and firewalls towards the peer: `ss -o state syn-sent` shows who waits now."),
    }
}
