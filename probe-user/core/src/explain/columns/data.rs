//! Columns about stacks, data quality, `probes` and `trace`.

use super::super::text::Text;

/// Each heading with its explanation.
pub const COLUMNS: &[(&str, Text)] = &[
    (
        "WHAT",
        Text::new(
            "What the stack is counted for",
            "A TIME_WAIT, a RST that was sent, or a port allocation that failed or was slow.",
        ),
    ),
    (
        "STACK",
        Text::new(
            "User stack, innermost function first",
            "Where the program called close(), bind() or connect().",
        ),
    ),
    (
        "COUNTED",
        Text::new(
            "What both twtrace and the kernel count",
            "The kernel's counters are those of /proc/net/netstat, snmp and sockstat.",
        ),
    ),
    (
        "SEEN",
        Text::new(
            "What twtrace counted",
            "Since tracing began, in that namespace.",
        ),
    ),
    (
        "KERNEL",
        Text::new(
            "What the kernel counted",
            "Growth of its own counter over the same time.",
        ),
    ),
    (
        "DIFFERENCE",
        Text::new(
            "Difference to the kernel",
            "What twtrace counted less what the kernel counted. If it exceeds what happened while both were read, the report begins with COUNTERS DIFFER.",
        ),
    ),
    (
        "PROBE",
        Text::new(
            "Which part of twtrace lost events",
            "A ring buffer or a map that was full: raise --ring-mb, --max-sockets or --max-processes. Or a program that the kernel skipped.",
        ),
    ),
    (
        "CAPABILITY",
        Text::new(
            "What twtrace can know by hooks",
            "One capability, such as `time_wait`: `twtrace explain time_wait`.",
        ),
    ),
    (
        "TIER",
        Text::new(
            "Which hooks provide it",
            "The best ones that this kernel allows. Lines below name what degraded hooks miss.",
        ),
    ),
    (
        "HOOKS",
        Text::new(
            "Kernel functions and tracepoints in use",
            "Where twtrace has attached its programs.",
        ),
    ),
    (
        "TIME (UTC)",
        Text::new(
            "When it happened",
            "Time of day in UTC, to the microsecond. --json has the date and nanoseconds.",
        ),
    ),
    (
        "EVENT",
        Text::new(
            "Kind of the event",
            "Each has a text, such as `twtrace explain time_wait_end`.",
        ),
    ),
    (
        "LOCAL",
        Text::new(
            "Address and port of this host",
            "Its end of the connection.",
        ),
    ),
    (
        "REMOTE",
        Text::new(
            "Address and port of the peer",
            "The other end of the connection.",
        ),
    ),
    (
        "DETAILS",
        Text::new(
            "What else is known of the event",
            "Reason, state, ages, bytes: what --json has as fields of the event's kind.",
        ),
    ),
];
