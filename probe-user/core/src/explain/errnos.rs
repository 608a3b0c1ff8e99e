//! Errors of system calls that programs log.

use super::text::Text;

/// Each error with its explanation.
pub const ERRNOS: &[(&str, Text)] = &[
    (
        "EADDRNOTAVAIL",
        Text::new(
            "Cannot assign requested address",
            "connect(): no local port is free towards this destination, or the port that was bound is in use with it. \
             bind(): the address is not one of this host; that is no lack of ports.",
        )
        .why("For connect(), mostly TIME_WAITs hold the ports: see budget_full.")
        .to_do(
            "`twtrace doctor` shows which pool is full, and who fills it. If no allocation failed, it is the address: \
             `ip address`, `ip route get ADDRESS`.",
        ),
    ),
    (
        "EADDRINUSE",
        Text::new(
            "Address already in use",
            "bind() or listen(): another socket has the port. bind() to port 0: no port is free.",
        )
        .why(
            "Another process listens there. Or a server restarts without SO_REUSEADDR while a TIME_WAIT or an open \
             connection has the port. For port 0: see bind_before_connect.",
        )
        .to_do(
            "`twtrace doctor` names the holder (port_taken). By hand: `ss -tanp sport = :PORT`. Set SO_REUSEADDR before \
             bind() in servers.",
        )
        .do_not("wait for TIME_WAITs to end, and do not set tcp_tw_reuse: it does not apply to bind()."),
    ),
    (
        "ECONNRESET",
        Text::new(
            "Connection reset by peer",
            "A RST arrived for the connection. Data that was not read or not acknowledged may be lost.",
        )
        .why("The peer closed by RST: see `twtrace explain peer` for what may cause it.")
        .to_do("`twtrace trace --event reset` here shows which connections; the same on the peer shows the reason."),
    ),
    (
        "ECONNREFUSED",
        Text::new(
            "Connection refused",
            "connect() was answered with RST: the host is there, but nothing listens on that port, or a firewall rejects.",
        )
        .to_do("Check the service, its address and port. twtrace reports it as a RST received, reason `refused`."),
    ),
    (
        "EPIPE",
        Text::new(
            "Broken pipe",
            "A write to a connection that can no longer send: it was reset before, or this process has shut it down for \
             writing. Without MSG_NOSIGNAL the process also gets SIGPIPE.",
        )
        .why("Mostly the peer had closed: the first write provokes its RST, the second one fails with EPIPE.")
        .to_do("Handle it as ECONNRESET. Check for the end of the stream before a keep-alive connection is used again."),
    ),
    (
        "ETIMEDOUT",
        Text::new(
            "Connection timed out",
            "The peer did not answer: a SYN, data or keepalive probes were repeated in vain, or TCP_USER_TIMEOUT is over.",
        )
        .why(
            "The peer is down, a firewall drops packets, a listener's queue is full, or SNAT has no port \
             (nat_ports_exhausted).",
        )
        .to_do("See `twtrace trace --event abort` for the connections, and `twtrace doctor` for queues and conntrack."),
    ),
];
