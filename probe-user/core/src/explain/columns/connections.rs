//! Columns about TIME_WAITs, RSTs and CLOSE_WAIT.

use super::super::text::Text;

/// Each heading with its explanation.
pub const COLUMNS: &[(&str, Text)] = &[
    (
        "CREATED",
        Text::new(
            "TIME_WAITs created",
            "Number of TIME_WAITs that the row's processes created by closing first.",
        ),
    ),
    (
        "/S",
        Text::new(
            "The same per second",
            "Mean rate over the whole time that was measured.",
        ),
    ),
    (
        "CREATED/S",
        Text::new(
            "TIME_WAITs created per second",
            "With --diff: the earlier rate → the later one.",
        ),
    ),
    (
        "RST SENT/S",
        Text::new(
            "RSTs sent per second",
            "With --diff: the earlier rate → the later one.",
        ),
    ),
    (
        "RST RECEIVED/S",
        Text::new(
            "RSTs received per second",
            "With --diff: the earlier rate → the later one.",
        ),
    ),
    (
        "HOLDS LOCAL PORT",
        Text::new(
            "Whether these TIME_WAITs take local ports",
            "A client's TIME_WAIT holds a local port for 60 s; the percentage is how much of the fullest pool towards \
             that destination is used. A server's costs memory only: `no (memory only)`.",
        ),
    ),
    (
        "TW CLIENT",
        Text::new(
            "TIME_WAITs created as a client",
            "Each holds a local port towards one destination.",
        ),
    ),
    (
        "TW SERVER",
        Text::new("TIME_WAITs created as a server", "They cost memory only."),
    ),
    (
        "TW UNKNOWN",
        Text::new(
            "TIME_WAITs created, role not known",
            "The connection was open before tracing began, and its role could not be found.",
        ),
    ),
    (
        "TIME_WAIT",
        Text::new(
            "TIME_WAITs: created, or ports that they hold",
            "By destination: how many were created. Of a port pool: ports that TIME_WAITs hold at the end, and how many of \
             them connect() can reuse.",
        ),
    ),
    (
        "FIN_WAIT2",
        Text::new(
            "TIME_WAITs that began in FIN_WAIT2",
            "How many of the TIME_WAITs were created before the peer's FIN came. This is the usual case: the FIN follows \
             after a round trip. `ss` shows them as FIN-WAIT-2 until then.",
        ),
    ),
    (
        "REFUSED",
        Text::new(
            "TIME_WAITs that the kernel did not create",
            "There were as many as net.ipv4.tcp_max_tw_buckets allows: see tw_buckets_overflow. The kernel counts them in \
             TCPTimeWaitOverflow.",
        ),
    ),
    (
        "EXPIRED",
        Text::new(
            "TIME_WAITs whose time was over",
            "See the end cause `expired`.",
        ),
    ),
    (
        "REUSED",
        Text::new(
            "TIME_WAITs that a connect() took",
            "See the end cause `reused_by_connect`; in the table of reuse, by the process that connects.",
        ),
    ),
    (
        "REOPENED",
        Text::new(
            "TIME_WAITs that a SYN of the peer reopened",
            "See the end cause `reopened_by_syn`.",
        ),
    ),
    (
        "KILLED",
        Text::new("TIME_WAITs that ended early", "See the end cause `killed`."),
    ),
    (
        "PURGED",
        Text::new(
            "TIME_WAITs that ended with their namespace",
            "See the end cause `purged`.",
        ),
    ),
    (
        "AGE P50",
        Text::new(
            "Median age of TIME_WAITs when they ended",
            "Half of them lived for at most this long.",
        ),
    ),
    (
        "CONNECTS REFUSED REUSE",
        Text::new(
            "Connects that met TIME_WAITs they could not reuse",
            "Such a connect tries the next port, and may still succeed. `?`: no hook sees it here.",
        ),
    ),
    (
        "WHY",
        Text::new(
            "Reasons of refused reuse, with their numbers",
            "TIME_WAITs by reason, such as `too_young 12`: `twtrace explain too_young`.",
        ),
    ),
    (
        "TIME_WAIT NOW",
        Text::new(
            "TIME_WAITs of the process that exist now",
            "Created since tracing began, and still there.",
        ),
    ),
    (
        "MEMORY",
        Text::new(
            "Memory of these TIME_WAITs",
            "Their number times the size of one in the kernel.",
        ),
    ),
    (
        "SHARE",
        Text::new(
            "Part of the memory of all TIME_WAITs",
            "Of all TIME_WAITs of the host, in percent.",
        ),
    ),
    (
        "RST",
        Text::new(
            "Direction of the RST",
            "`sent`, `received`, or `none` for a connection that ended without RST, such as by a timeout.",
        ),
    ),
    (
        "REASON",
        Text::new(
            "Why the RST was sent or received",
            "Each reason has a text: `twtrace explain linger_zero`.",
        ),
    ),
    (
        "RST SENT",
        Text::new(
            "RSTs sent, by reason",
            "Such as `linger_zero 20`: `twtrace explain linger_zero`.",
        ),
    ),
    (
        "RST RECEIVED",
        Text::new(
            "RSTs received, by reason",
            "Such as `refused 3`: `twtrace explain refused`.",
        ),
    ),
    (
        "ABORTS",
        Text::new(
            "Connections that ended without RST, by reason",
            "Such as `timeout 2`: `twtrace explain timeout`.",
        ),
    ),
    (
        "COUNT",
        Text::new(
            "How many",
            "Connections, calls, RSTs or stacks of the row. `≥`: a lower bound, as events were lost.",
        ),
    ),
    (
        "SHARED",
        Text::new(
            "Connections that other processes hold too",
            "Such as children that inherited the descriptor: all of them have to close it.",
        ),
    ),
    (
        "OLDEST",
        Text::new(
            "Age of the oldest CLOSE_WAIT, at least",
            "The kernel does not record it; this is a lower bound.",
        ),
    ),
];
