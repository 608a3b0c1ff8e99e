//! Words of the output that are neither ids nor columns.

use super::text::Text;

/// Each word with its explanation.
pub const TERMS: &[(&str, Text)] = &[
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
        "degraded",
        Text::new(
            "A hook that replaces a better one",
            "This kernel, or its configuration, refuses the best hook for a capability. Another one is used, and some figures are \
             less exact, or are missing.",
        )
        .to_do("See which, and what they miss: `twtrace probes`."),
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
        "hook",
        Text::new(
            "Where an eBPF program is attached",
            "A tracepoint, fentry, or a kprobe. `twtrace probes` lists those of this kernel.",
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
        "mini-socket",
        Text::new(
            "What the kernel keeps of a TIME_WAIT",
            "About 250 bytes without buffers and without a process, also of a connection in FIN_WAIT2 whose process has closed \
             it. In the kernel: `struct inet_timewait_sock`.",
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
];
