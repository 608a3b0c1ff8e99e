//! Columns about ephemeral ports.

use super::super::text::Text;

/// Each heading with its explanation.
pub const COLUMNS: &[(&str, Text)] = &[
    (
        "RANGE",
        Text::new(
            "Range of local ports of the pool",
            "net.ipv4.ip_local_port_range, or the sockets' own; `less N`: reserved, or taken by bind().",
        ),
    ),
    (
        "LIVE",
        Text::new(
            "Ports that open connections hold",
            "Sockets that are not in TIME_WAIT, at the end.",
        ),
    ),
    (
        "LIVE BY",
        Text::new(
            "Process with most of the pool's open sockets",
            "At the end, if open sockets hold at least a quarter of the range; and how many others are known, up to four.",
        ),
    ),
    (
        "FREE",
        Text::new(
            "Ports that connect() can take now",
            "Including those of TIME_WAITs that can be reused.",
        ),
    ),
    (
        "USED",
        Text::new(
            "Part of the port pool that is not free",
            "At 100 % the next connection fails with EADDRNOTAVAIL. See budget_full.",
        ),
    ),
    (
        "NEW/S",
        Text::new(
            "Ports taken per second",
            "New TIME_WAITs and the growth of open connections, over the whole time that was measured.",
        ),
    ),
    (
        "EXPIRED/S",
        Text::new(
            "Ports released per second",
            "TIME_WAITs of the pool that ended.",
        ),
    ),
    (
        "NO PORT/S",
        Text::new(
            "Port allocations that failed per second",
            "With --diff: the earlier rate → the later one. See EADDRNOTAVAIL and EADDRINUSE.",
        ),
    ),
    (
        "FAILED",
        Text::new(
            "Port allocations that failed",
            "connect() with EADDRNOTAVAIL or bind() with EADDRINUSE, in most cases.",
        ),
    ),
    (
        "NO PORT",
        Text::new(
            "Calls that failed for lack of a port",
            "connect() with EADDRNOTAVAIL, and bind() with EADDRINUSE.",
        ),
    ),
    (
        "FULL IN",
        Text::new(
            "Time until the pool is full at this rate",
            "`now`: it is full. Empty: it will not be. `fast half full`: connect() first tries the ports of one parity, and \
             all of these are taken. Port allocation is slower from then on.",
        ),
    ),
    (
        "HELD BY",
        Text::new(
            "Commands that hold the pool's ports",
            "`(live)`: the process with most of the open sockets. Else those that created the TIME_WAITs: the one with the largest share, and how many others there are. `198 older`: at least 198 ports are held by TIME_WAITs from before tracing, whose process is not known; `(before tracing)`: all of them.",
        ),
    ),
    (
        "OPERATION",
        Text::new(
            "System call that allocated the port",
            "bind(), listen() or connect(). `≤`: the times are upper bounds, of the whole call.",
        ),
    ),
    (
        "P50",
        Text::new("Median", "Half of the values are at most this large."),
    ),
    (
        "P99",
        Text::new(
            "99th percentile",
            "99 of 100 values are at most this large.",
        ),
    ),
    ("MAX", Text::new("Maximum", "The largest value.")),
];
