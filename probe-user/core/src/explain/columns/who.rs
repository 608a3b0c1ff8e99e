//! Columns about who acted, and where.

use super::super::text::Text;

/// Each heading with its explanation.
pub const COLUMNS: &[(&str, Text)] = &[
    (
        "COMMAND",
        Text::new(
            "Name of the processes of a row (comm)",
            "All processes of this name, towards one destination. A name in parentheses is the reason why no process is \
             known: see `twtrace explain` with it.",
        ),
    ),
    (
        "PROCS",
        Text::new(
            "Number of processes in the row",
            "How many different processes the figures of this row are from. A table by destination counts those that acted there, so that \
             its rows have fewer than --by name. Empty if none is known.",
        ),
    ),
    (
        "PROCESS",
        Text::new(
            "Name and pid of the process",
            "The process that closed the connection; if none did, the one that opened it. The pid is that of the initial \
             pid namespace. A name in parentheses is the reason why none is known.",
        ),
    ),
    (
        "CREATED BY",
        Text::new(
            "Process that created the TIME_WAIT",
            "The process that closed the connection first.",
        ),
    ),
    (
        "NETNS",
        Text::new(
            "Network namespace",
            "Its name, or its inode number. The column is left out if all rows are of one namespace.",
        ),
    ),
    (
        "NAME",
        Text::new(
            "Name of the network namespace",
            "From `ip netns`, a container, a unit or a process in it.",
        ),
    ),
    (
        "UNIT/CONTAINER",
        Text::new(
            "systemd unit or container of the process",
            "From its cgroup at the time when it acted.",
        ),
    ),
    (
        "UNIT",
        Text::new(
            "systemd service or scope",
            "All processes of this unit, from their cgroup.",
        ),
    ),
    (
        "CONTAINER",
        Text::new(
            "Container",
            "All processes of this container, from their cgroup.",
        ),
    ),
    (
        "POD",
        Text::new(
            "Kubernetes pod, by its UID",
            "All processes of this pod, from their cgroup.",
        ),
    ),
    (
        "ROLE",
        Text::new(
            "Which end this host is: client or server",
            "`client` connected, `server` accepted. `unknown`: the connection was open before tracing began.",
        ),
    ),
    (
        "SIDE",
        Text::new(
            "Which end this host is: client or server",
            "The same as ROLE: `client` connected, `server` accepted.",
        ),
    ),
    (
        "PEER/PORT",
        Text::new(
            "Remote address of clients, local port of servers",
            "For a client the remote address and port. For a server its local port, such as :443: its clients are many.",
        ),
    ),
    (
        "DESTINATION",
        Text::new(
            "Remote address of clients, local port of servers",
            "The same as PEER/PORT; of a port pool the remote address and port.",
        ),
    ),
    (
        "SOURCE",
        Text::new(
            "Local address of a port pool",
            "The source address of the connections.",
        ),
    ),
    (
        "SOURCE → DESTINATION",
        Text::new(
            "Source and destination of a port pool",
            "Ports run out for each pair of source address and destination separately. `any` destination: a pool of \
             bind(), see bind_before_connect.",
        ),
    ),
];
