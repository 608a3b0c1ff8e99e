//! Columns of `top` that no other view has.

use super::super::text::Text;

/// Each heading with its explanation.
pub const COLUMNS: &[(&str, Text)] = &[
    (
        "TW/s",
        Text::new(
            "TIME_WAITs created per second",
            "Since the sample before, or over the window that `t` chooses.",
        ),
    ),
    (
        "CLIENT",
        Text::new(
            "TIME_WAITs created as a client, per second",
            "Each holds a local port towards one destination.",
        ),
    ),
    (
        "SERVER",
        Text::new(
            "TIME_WAITs created as a server, per second",
            "They cost memory only.",
        ),
    ),
    (
        "ALIVE",
        Text::new(
            "TIME_WAITs that exist now",
            "Created since tracing began, and not ended.",
        ),
    ),
    (
        "RST>/s",
        Text::new(
            "RSTs sent per second; RST</s: received",
            "A connection between two processes of this host has both: one end sends, the other receives.",
        ),
    ),
    (
        "PORT/s",
        Text::new(
            "Ephemeral port allocations per second",
            "By connect(), bind() and listen().",
        ),
    ),
    (
        "FAIL",
        Text::new(
            "Port allocations that failed",
            "Since tracing began: connect() with EADDRNOTAVAIL, or bind() with EADDRINUSE.",
        ),
    ),
    (
        "TIME",
        Text::new("When it was reported", "Time of the day, UTC."),
    ),
    (
        "PORTS USED",
        Text::new(
            "How much of the port pool is used",
            "A bar, and the percentage beside it.",
        ),
    ),
];
