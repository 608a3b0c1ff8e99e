//! Words of the output that are neither ids nor columns.

use super::text::Text;

/// Each word with its explanation.
pub const TERMS: &[(&str, Text)] = &[
    (
        "after close",
        Text::new(
            "Time from the close to the segment that came too late",
            "In `trace`, of data_after_close: how long after close() the peer's data arrived.",
        ),
    ),
    (
        "age",
        Text::new(
            "How old the connection or the TIME_WAIT was",
            "In `trace`: of time_wait_end, time since the TIME_WAIT was created; of other events, time since the connection was \
             established.",
        ),
    ),
    (
        "any port",
        Text::new(
            "The call left the choice of the port to the kernel",
            "In `trace`, of port_alloc: port 0, or no bind() at all. Else the port that was asked for is shown.",
        ),
    ),
    (
        "audit",
        Text::new(
            "Comparison with the kernel's own counters",
            "What twtrace counted in each network namespace, beside /proc/net/netstat, snmp and sockstat. See the columns SEEN, KERNEL \
             and DIFFERENCE of --details.",
        ),
    ),
    (
        "before tracing",
        Text::new(
            "It existed when tracing began",
            "TIME_WAITs that were there when twtrace started. The kernel keeps no process of a TIME_WAIT, so that theirs can't be \
             found any more. They hold ports, and are part of all figures of port pools.",
        )
        .to_do("Wait: after 60 s none of them is left, and the holders are known."),
    ),
    (
        "client",
        Text::new(
            "The end that connected",
            "Its TIME_WAITs hold local ports. The other end, which accepted, is the `server`.",
        ),
    ),
    (
        "CLOSE_WAIT",
        Text::new(
            "The peer has closed, the process has not",
            "A connection stays so until the process calls close(), however long that takes: it holds a descriptor and memory.",
        )
        .to_do("See who holds them: `twtrace doctor` (close_wait_leak) and `twtrace report --details`."),
    ),
    (
        "critical",
        Text::new(
            "Severity: connections fail now, or the next one will",
            "Findings are critical, a warning (it costs something, or will) or a notice (worth knowing).",
        ),
    ),
    (
        "data quality",
        Text::new(
            "How far the figures can be trusted",
            "Events that were lost, whether figures match the kernel's counters, hooks that replace better ones, and filters.",
        )
        .to_do("See details: `twtrace report --details` and `twtrace probes`."),
    ),
    (
        "degraded",
        Text::new(
            "A hook that replaces a better one",
            "This kernel, or its configuration, refuses the best hook for a capability. Another one is used, and some figures are \
             less exact, or are missing.",
        )
        .to_do("See which, and what they miss: `twtrace probes`."),
    ),
    (
        "exist",
        Text::new(
            "TIME_WAITs that the kernel has now",
            "By the kernel's own count (/proc/net/sockstat), of the network namespaces that are shown. Other filters do not apply. \
             `before`: when tracing began.",
        ),
    ),
    (
        "fast half",
        Text::new(
            "The ports that connect() tries first",
            "connect() first tries ports of one parity: those that are even if the range begins with an even number. Once these \
             are used up, each connect() tries all of them before it finds one of the others, which costs CPU time.",
        )
        .to_do("Widen net.ipv4.ip_local_port_range, or keep connections open."),
    ),
    (
        "filtered",
        Text::new(
            "Only what passes the filter is counted",
            "A filter such as --netns or --comm was given, here or to the recording.",
        ),
    ),
    (
        "finding",
        Text::new(
            "What a check of doctor found",
            "It has an id, a severity, evidence and remedies. `twtrace explain` lists all ids.",
        ),
    ),
    (
        "hook",
        Text::new(
            "Where an eBPF program is attached",
            "A tracepoint, fentry, or a kprobe. `twtrace probes` lists those of this kernel.",
        ),
    ),
    (
        "idle",
        Text::new(
            "Time since this end last sent data",
            "In `trace`, of RSTs and aborted connections: before the write that the peer answered by a RST. `peer silent` is the time since \
             any segment came from the peer.",
        ),
    ),
    (
        "last sent",
        Text::new(
            "Time since this end last sent data",
            "In `trace`, of RSTs and aborted connections: before the write that the peer answered by a RST.",
        ),
    ),
    (
        "lower bound",
        Text::new(
            "At least so many: figures with ≥",
            "Events were lost, or had no room in a table: the true figure may be higher. The last lines of the report say why.",
        )
        .to_do("Raise the option that the table `Lost` of --details names, such as --ring-mb."),
    ),
    (
        "matches the kernel",
        Text::new(
            "The comparison found no difference",
            "In every namespace that was compared, twtrace counted what the kernel did, within the uncertainty of reading both.",
        ),
    ),
    (
        "memory only",
        Text::new(
            "These TIME_WAITs hold no local port",
            "Those of a server: each takes about 250 bytes, and does not stop new connections.",
        ),
    ),
    (
        "mini-socket",
        Text::new(
            "What the kernel keeps of a TIME_WAIT",
            "About 250 bytes without buffers and without a process, also of a connection in FIN_WAIT2 whose process has closed \
             it. In the kernel: `struct inet_timewait_sock`.",
        ),
    ),
    (
        "notice",
        Text::new(
            "Severity: worth knowing",
            "Nothing fails because of it. Findings are critical, a warning or a notice.",
        ),
    ),
    (
        "older",
        Text::new(
            "Ports that TIME_WAITs from before tracing hold",
            "`198 older`: at least so many. Their processes are not known: see `twtrace explain before_tracing`.",
        ),
    ),
    (
        "opener",
        Text::new(
            "The process that connected or accepted",
            "The closer may be another one, such as a worker that took the connection over.",
        ),
    ),
    (
        "peer silent",
        Text::new(
            "Time since the peer sent any segment",
            "In `trace`, of RSTs and aborted connections. The same length again and again is a timeout of the peer, or of something between.",
        ),
    ),
    (
        "pool",
        Text::new(
            "The local ports from one source to one destination",
            "See `twtrace explain port_pool`.",
        ),
    ),
    (
        "port pool",
        Text::new(
            "The local ports from one source to one destination",
            "Each destination address and port has all ports of net.ipv4.ip_local_port_range for itself, from each source \
             address. Sockets that call bind() without a port before connect() share one pool for all destinations.",
        )
        .to_do("See the fullest: `twtrace report --by budget`."),
    ),
    (
        "server",
        Text::new(
            "The end that accepted",
            "Its TIME_WAITs take memory, and no local port. The other end is the `client`.",
        ),
    ),
    (
        "TIME_WAIT",
        Text::new(
            "A connection that this end closed first",
            "The connection is over, and the kernel keeps its addresses and ports for 60 s, so that late segments do not reach a \
             new connection (RFC 9293). It has no process. A client's holds its local port towards that destination; a server's \
             costs memory only.",
        )
        .why("The end that closes first keeps it. Short connections create many.")
        .to_do("Nothing, while ports and memory suffice: `twtrace doctor` judges that. Else keep connections open.")
        .do_not("count TIME_WAITs of servers as a problem, or shorten tcp_fin_timeout: that is not their time."),
    ),
    (
        "warning",
        Text::new(
            "Severity: it costs something, or will",
            "Findings are critical (connections fail now, or the next one will), a warning or a notice.",
        ),
    ),
];
