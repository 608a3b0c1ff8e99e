//! Small closed sets, each one byte in records, and a word in JSON, on the command line and in tables.

/// Declares an enum of consecutive `u8` codes with its conversion from a code, its list of members and their words.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $code:literal => $word:literal,)+ }) => {
        $(#[$meta])*
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant = $code,)+ }

        impl $name {
            /// Every member, in the order of its code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Number of members; codes range from 0 to `COUNT - 1`.
            pub const COUNT: usize = Self::ALL.len();

            /// The member with this code, or `None` for a code that this build does not know.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// Its word: lower case, with underscores.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

codes! {
    /// Kind of a record in the ring buffer. The first byte after the timestamp, in every record.
    EventKind {
        /// A mini-socket was created: [`crate::ConnectionEvent`].
        TimeWait = 0 => "time_wait",
        /// The kernel refused to create one: [`crate::ConnectionEvent`].
        TimeWaitOverflow = 1 => "time_wait_overflow",
        /// A RST was sent or received: [`crate::ConnectionEvent`].
        Reset = 2 => "reset",
        /// A connection ended without a RST: [`crate::ConnectionEvent`].
        Abort = 3 => "abort",
        /// A bind(), listen() or connect() allocated a local port: [`crate::PortEvent`].
        PortAlloc = 4 => "port_alloc",
        /// A mini-socket ended: [`crate::EndEvent`].
        TimeWaitEnd = 5 => "time_wait_end",
        /// A bind() or connect() failed before it allocated a port, as this host has no such address:
        /// [`crate::PortEvent`].
        NoAddress = 6 => "no_address",
    }
}

codes! {
    /// Which end of the connection this host's socket is.
    Side {
        /// Open before tracing began.
        Unknown = 0 => "unknown",
        /// It was in SYN_SENT.
        Client = 1 => "client",
        /// It was in SYN_RECV.
        Server = 2 => "server",
    }
}

codes! {
    /// States of `include/net/tcp_states.h`, with the kernel's own numbers.
    TcpState {
        /// Not seen: the kernel skipped the program that should have seen it.
        Unknown = 0 => "unknown",
        /// `TCP_ESTABLISHED`
        Established = 1 => "established",
        /// `TCP_SYN_SENT`
        SynSent = 2 => "syn_sent",
        /// `TCP_SYN_RECV`
        SynRecv = 3 => "syn_recv",
        /// `TCP_FIN_WAIT1`
        FinWait1 = 4 => "fin_wait1",
        /// `TCP_FIN_WAIT2`
        FinWait2 = 5 => "fin_wait2",
        /// `TCP_TIME_WAIT`: a mini-socket, never a full one.
        TimeWait = 6 => "time_wait",
        /// `TCP_CLOSE`
        Close = 7 => "close",
        /// `TCP_CLOSE_WAIT`
        CloseWait = 8 => "close_wait",
        /// `TCP_LAST_ACK`
        LastAck = 9 => "last_ack",
        /// `TCP_LISTEN`
        Listen = 10 => "listen",
        /// `TCP_CLOSING`
        Closing = 11 => "closing",
        /// `TCP_NEW_SYN_RECV`: a request socket.
        NewSynRecv = 12 => "new_syn_recv",
    }
}

codes! {
    /// Direction of a RST.
    ResetDirection {
        /// This host sent it.
        Sent = 0 => "sent",
        /// This host received it.
        Received = 1 => "received",
    }
}

codes! {
    /// Why a RST was sent or received, as determined by twtrace; the kernel's own reason is reported beside it.
    ResetReason {
        /// None of the others.
        Other = 0 => "other",
        /// close() with SO_LINGER {on, 0}.
        LingerZero = 1 => "linger_zero",
        /// close() while received data was unread (with or without SO_LINGER 0).
        UnreadData = 2 => "unread_data",
        /// Data arrived after the process had closed; also when the mini-socket answers.
        DataAfterClose = 3 => "data_after_close",
        /// A connect() was answered with RST.
        Refused = 4 => "refused",
        /// No socket for the segment.
        NoSocket = 5 => "no_socket",
        /// A TIME_WAIT mini-socket answered something that is not data.
        TimeWait = 6 => "time_wait",
        /// A timeout: keepalive, FIN_WAIT2 or retransmission.
        Timeout = 7 => "timeout",
        /// The connection was ended here by other means: connect(AF_UNSPEC), `ss -K`, a listener closed with
        /// connections in its queue, TCP_LINGER2 < 0.
        Aborted = 8 => "aborted",
        /// The peer sent it.
        Peer = 9 => "peer",
    }
}

codes! {
    /// Why a connection ended without a RST of either side.
    AbortReason {
        /// None of the others: an ICMP error, for example.
        Other = 0 => "other",
        /// A timeout: retransmission, TCP_USER_TIMEOUT or keepalive (ETIMEDOUT).
        Timeout = 1 => "timeout",
        /// Destroyed from outside: `ss -K`, `bpf_sock_destroy` (ECONNABORTED).
        Destroyed = 2 => "destroyed",
        /// Its process gave up connecting: it closed the socket after the SYN had been sent again, and no answer had come.
        Unanswered = 3 => "unanswered",
    }
}

codes! {
    /// How a mini-socket ended.
    EndCause {
        /// Its timer expired.
        Expired = 0 => "expired",
        /// A connect() reused its tuple (tcp_twsk_unique).
        ReusedByConnect = 1 => "reused_by_connect",
        /// A SYN of the peer arrived for it, and a listener took the connection (TCP_TW_SYN).
        ReopenedBySyn = 2 => "reopened_by_syn",
        /// A RST or, in FIN_WAIT2, data arrived for it; or it was destroyed from outside (`ss -K`).
        Killed = 3 => "killed",
        /// Its network namespace was removed.
        Purged = 4 => "purged",
    }
}

codes! {
    /// Why a connect() could not reuse the tuple of a TIME_WAIT that it found (tcp_twsk_unique). The first that is
    /// true, in the order of the codes.
    ReuseRefusal {
        /// The socket was bound to the port before: then only TCP timestamps make reuse safe, and the TIME_WAIT has
        /// none. Settings, age and substate do not matter.
        BoundPort = 0 => "bound_port",
        /// net.ipv4.tcp_tw_reuse is 0.
        Disabled = 1 => "disabled",
        /// It is 2, and neither end is a loopback address.
        NotLoopback = 2 => "not_loopback",
        /// The TIME_WAIT has no TCP timestamps: they are off in its namespace.
        TimestampsOff = 3 => "timestamps_off",
        /// The TIME_WAIT has no TCP timestamps: the peer did not offer them.
        PeerWithoutTimestamps = 4 => "peer_without_timestamps",
        /// The mini-socket still waits for the peer's FIN.
        FinWait2 = 5 => "fin_wait2",
        /// Younger than one second, or than net.ipv4.tcp_tw_reuse_delay (from 6.16 on).
        TooYoung = 6 => "too_young",
    }
}

codes! {
    /// Why an event has no process.
    Unattributed {
        /// No process acted, and the opener is not known. Zero, so that data which is not known yet needs no write.
        Unknown = 0 => "unknown",
        /// The socket had left ESTABLISHED before tracing began.
        ClosedBeforeTracing = 1 => "closed_before_tracing",
        /// A socket of the kernel itself.
        KernelSocket = 2 => "kernel_socket",
        /// There was no socket for the segment.
        NoSocket = 3 => "no_socket",
        /// The data about the socket was lost (a full map).
        Lost = 4 => "lost",
    }
}

codes! {
    /// Which system call allocated a local port.
    PortOp {
        /// bind()
        Bind = 0 => "bind",
        /// listen()
        Listen = 1 => "listen",
        /// connect()
        Connect = 2 => "connect",
    }
}

codes! {
    /// What lost something: the index into the `LOST` counters.
    Probe {
        /// TIME_WAIT births and overflows for which the ring buffer was full.
        TimeWait = 0 => "time_wait",
        /// RST events for which the ring buffer was full.
        Reset = 1 => "reset",
        /// Abort events for which the ring buffer was full.
        Abort = 2 => "abort",
        /// Port events for which the ring buffer was full.
        PortAlloc = 3 => "port_alloc",
        /// Sockets for whose connection state the map was full (`--max-sockets`).
        SocketMap = 4 => "socket_map",
        /// Processes for which the totals map was full (`--max-processes`).
        ProcessMap = 5 => "process_map",
        /// Port allocations for which the map was full.
        PortMap = 6 => "port_map",
        /// Network namespaces for which the map was full.
        NetnsMap = 7 => "netns_map",
        /// Ends of TIME_WAITs for which the ring buffer was full.
        TimeWaitEnd = 8 => "time_wait_end",
        /// New processes of a command for which the map of its descendants was full.
        DescendantMap = 9 => "descendant_map",
        /// Closes, connects and their consequences for whose user stack the map was full (`--max-stacks`).
        StackMap = 10 => "stack_map",
        /// Stacks whose two slots were both taken by others: only their innermost frames are known.
        StackSlot = 11 => "stack_slot",
        /// Calls without an address on this host for which the ring buffer was full.
        NoAddress = 12 => "no_address",
    }
}

codes! {
    /// What a user stack is counted for.
    StackWhat {
        /// The close() behind a TIME_WAIT.
        TimeWait = 0 => "time_wait",
        /// The close() behind one that the kernel refused to create.
        TimeWaitOverflow = 1 => "time_wait_overflow",
        /// The close() behind a RST that this host sent.
        ResetSent = 2 => "reset_sent",
        /// An ephemeral port allocation that failed.
        PortFailed = 3 => "port_failed",
        /// An allocation that took long (`--slow-port`).
        PortSlow = 4 => "port_slow",
    }
}

/// [`crate::ConnectionEvent::kernel_reason`] if the kernel gives none.
pub const NO_KERNEL_REASON: u8 = 255;

/// How long after a RST accept() may name its process, nanoseconds.
pub const ACCEPT_WAIT_NS: u64 = 1_000_000_000;

/// Bits of [`crate::ConnectionEvent::flags`] and [`crate::PortEvent::flags`].
pub mod flags {
    /// The mini-socket was inferred from the socket's last state; no hook saw its creation.
    pub const INFERRED: u16 = 1 << 0;
    /// It looks like what it says, but may be data after close: then a sent RST of the same socket follows at once, and
    /// only that one counts. A RST "received" in FIN_WAIT1 or FIN_WAIT2 after the receive side was shut down, as the
    /// kernel also runs `tcp_reset()` there for data; and an [`INFERRED`] mini-socket of an orphan, or of a socket in
    /// CLOSING that may be disconnected.
    pub const MAY_BE_DATA: u16 = 1 << 1;
    /// A sent RST that replaces the `MAY_BE_DATA` event just before it on the same socket.
    pub const REPLACES: u16 = 1 << 2;
    /// The latency is that of the port allocation itself, not an upper bound.
    pub const EXACT: u16 = 1 << 3;
    /// `latency_ns` was not measured (a blocking connect() seen only through its system call).
    pub const UNTIMED: u16 = 1 << 4;
    /// The address is an IPv4 one, used through an IPv6 socket.
    pub const MAPPED: u16 = 1 << 5;
    /// A RST that was received before the connection was accepted: an [`ACCEPTED`] record may follow.
    pub const AWAITS_ACCEPT: u16 = 1 << 6;
    /// Names the process of the `AWAITS_ACCEPT` event of the same socket and time; not an event of its own.
    pub const ACCEPTED: u16 = 1 << 7;
    /// Beside [`MAY_BE_DATA`]: a process works off its socket's backlog. It can be preempted before it sends the RST, for
    /// as long as it has to wait for a CPU.
    pub const IN_PROCESS: u16 = 1 << 8;
    /// This end has sent data, and no data of the peer has come since. Not set if both were in one tick of the kernel.
    pub const AWAITS_ANSWER: u16 = 1 << 9;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls a macro for each of the enums above; a test compares them with the declared ones.
    macro_rules! for_each_enum {
        ($each:ident) => {
            $each!(
                EventKind,
                Side,
                TcpState,
                ResetDirection,
                ResetReason,
                AbortReason,
                EndCause,
                ReuseRefusal,
                Unattributed,
                PortOp,
                Probe,
                StackWhat
            )
        };
    }

    #[test]
    fn codes_are_consecutive_and_go_there_and_back() {
        macro_rules! check {
            ($($name:ident),+) => {$(
                assert!($name::COUNT > 1, stringify!($name));
                for (index, member) in $name::ALL.iter().enumerate() {
                    assert_eq!(*member as usize, index, stringify!($name));
                    assert_eq!($name::from_code(index as u8), Some(*member));
                }
                for code in $name::COUNT..=usize::from(u8::MAX) {
                    assert_eq!($name::from_code(code as u8), None, stringify!($name));
                }
            )+};
        }
        for_each_enum!(check);
    }

    #[test]
    fn every_enum_is_tried() {
        macro_rules! names {
            ($($name:ident),+) => { [$(stringify!($name)),+] };
        }
        let mut declared = include_str!("kinds.rs")
            .split("\ncodes! {\n")
            .skip(1)
            .filter_map(|body| {
                let line = body.lines().find(|line| !line.trim().starts_with("///"))?;
                line.trim().strip_suffix(" {")
            });
        for name in for_each_enum!(names) {
            assert_eq!(declared.next(), Some(name));
        }
        assert_eq!(declared.next(), None);
    }
}
