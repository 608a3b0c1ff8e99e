//! How TIME_WAITs end, and why a connect() can't reuse one.

use twtrace_wire::{EndCause, ReuseRefusal};

use super::text::Text;

/// How a TIME_WAIT ended.
pub const fn ended(cause: EndCause) -> Text {
    match cause {
        EndCause::Expired => Text::new(
            "Its time was over",
            "The timer of the TIME_WAIT expired: the normal end. That is 60 s after the last FIN; a late segment may \
             restart it. If the peer's FIN never comes, net.ipv4.tcp_fin_timeout is over instead. Its local port is \
             free again.",
        ),
        EndCause::ReusedByConnect => Text::new(
            "A connect() took its addresses and ports",
            "A connect() of this host took the TIME_WAIT for a new connection, as net.ipv4.tcp_tw_reuse allows. `by` is \
             the process that connects. The kernel counts it in TWRecycled.",
        )
        .why("The port was needed, and TCP timestamps distinguish late segments from new ones.")
        .to_do("Nothing: this is safe."),
        EndCause::ReopenedBySyn => Text::new(
            "The peer connected again from the same port",
            "A SYN for the same addresses and ports arrived, and a listener took it. The TIME_WAIT ended, and a new \
             connection began.",
        )
        .why("The client returned to the same local port within 60 s: it has few ports, or chooses them itself.")
        .to_do("Nothing for the server. For the client check the port pools there."),
        EndCause::Killed => Text::new(
            "Ended early by a RST, data, or `ss -K`",
            "A RST arrived for the TIME_WAIT, data arrived while it still waited for the peer's FIN, or `ss -K` \
             destroyed it.",
        )
        .why("Mostly the peer resets after this host has closed. With net.ipv4.tcp_rfc1337=0, the default, a RST ends it.")
        .to_do("See the RSTs of the same addresses: `twtrace trace --event reset,time_wait_end`."),
        EndCause::Purged => Text::new(
            "Its network namespace was removed",
            "The network namespace ended, and the kernel removed all its TIME_WAITs.",
        )
        .why("A container or pod was stopped."),
    }
}

/// Why a connect() could not reuse the TIME_WAIT.
pub const fn refused(reason: ReuseRefusal) -> Text {
    match reason {
        ReuseRefusal::BoundPort => Text::new(
            "The socket was bound to the port before",
            "The program called bind() with a port before connect(). Then only TCP timestamps make reuse safe, and this \
             TIME_WAIT has none. net.ipv4.tcp_tw_reuse and the age do not matter.",
        )
        .to_do("Leave the port to the kernel, or switch TCP timestamps on at both ends."),
        ReuseRefusal::Disabled => Text::new(
            "net.ipv4.tcp_tw_reuse is 0",
            "Reuse is switched off, so the TIME_WAIT holds its port until it ends.",
        )
        .to_do("Set net.ipv4.tcp_tw_reuse to 1 if ports are scarce. It is safe for outbound connections."),
        ReuseRefusal::NotLoopback => Text::new(
            "tcp_tw_reuse is 2, and the peer is not local",
            "The default of net.ipv4.tcp_tw_reuse, 2, allows reuse between loopback addresses only.",
        )
        .to_do("Set net.ipv4.tcp_tw_reuse to 1 if ports are scarce. It is safe for outbound connections."),
        ReuseRefusal::TimestampsOff => Text::new(
            "TCP timestamps are off on this host",
            "The connection had no TCP timestamps, and net.ipv4.tcp_timestamps is 0 in this namespace. Without them late \
             segments can't be distinguished from new ones.",
        )
        .to_do("Set net.ipv4.tcp_timestamps to 1, the default. It applies to connections that begin later."),
        ReuseRefusal::PeerWithoutTimestamps => Text::new(
            "The peer does not use TCP timestamps",
            "Timestamps are on here, but the connection had none: the peer or a device in between did not agree to them.",
        )
        .to_do("Switch timestamps on at the peer, or let the device in between keep the option.")
        .do_not("change sysctls of this host for it."),
        ReuseRefusal::FinWait2 => Text::new(
            "It still waits for the peer's FIN",
            "The peer has not closed its end: the mini-socket is in FIN_WAIT2, and such a one is not reused.",
        )
        .why("The peer closes late. net.ipv4.tcp_fin_timeout limits this state.")
        .to_do("Let the peer close when it reads the end of the stream."),
        ReuseRefusal::TooYoung => Text::new(
            "Younger than a second",
            "Less than a second has passed since its last timestamp (up to 6.15, counted in whole seconds), or less than \
             net.ipv4.tcp_tw_reuse_delay since it began (from 6.16 on).",
        )
        .why("The range is used up within a second: more connects per second than there are ports.")
        .to_do("Keep connections alive, widen net.ipv4.ip_local_port_range, or add addresses."),
    }
}
