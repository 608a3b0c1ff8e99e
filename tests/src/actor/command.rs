//! Commands of an actor, and its answers. One JSON message each way.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::sys::Errno;

/// A descriptor number inside an actor.
pub type Fd = i32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// IPPROTO_TCP
    Tcp,
    /// IPPROTO_MPTCP
    Mptcp,
    /// IPPROTO_SCTP, one-to-one style.
    Sctp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressFamily {
    /// AF_INET
    V4,
    /// AF_INET6; also accepts IPv4 as mapped addresses
    V6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketOption {
    /// SO_LINGER {on, 0}
    LingerZero,
    /// SO_REUSEADDR
    ReuseAddress,
    /// IP_BIND_ADDRESS_NO_PORT
    BindAddressNoPort,
    /// IP_LOCAL_PORT_RANGE: the lowest and the highest port
    LocalPortRange(u16, u16),
    /// TCP_USER_TIMEOUT, milliseconds
    UserTimeout(u32),
    /// SO_SNDTIMEO, milliseconds: connect() waits no longer
    SendTimeout(u32),
    /// SO_KEEPALIVE with TCP_KEEPIDLE 1 s, TCP_KEEPINTVL 1 s, TCP_KEEPCNT 1
    QuickKeepalive,
    /// IP_RECVERR and IPV6_RECVERR: the next call fails with the error of an ICMP message
    ReceiveErrors,
    /// TCP_REPAIR: close() then sends nothing
    Repair,
    /// TCP_LINGER2, seconds; below 0 there is no FIN_WAIT2
    Linger2(i32),
}

/// Which end closes first, in bulk commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FirstCloser {
    /// The end that called connect().
    Client,
    /// The end that called accept().
    Server,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// socket(). Answer: [`Answer::Descriptor`].
    Socket {
        /// Address family.
        family: AddressFamily,
        /// Protocol.
        protocol: Protocol,
    },
    /// setsockopt()
    Set {
        /// The socket.
        fd: Fd,
        /// What to set.
        option: SocketOption,
    },
    /// bind(). Answer: [`Answer::Address`], the bound address.
    Bind {
        /// The socket.
        fd: Fd,
        /// Port 0 for any.
        address: SocketAddr,
    },
    /// listen(). Answer: [`Answer::Address`], the listener's address.
    Listen {
        /// The socket.
        fd: Fd,
    },
    /// connect(). Answer: [`Answer::Connection`].
    Connect {
        /// The socket.
        fd: Fd,
        /// The target.
        address: SocketAddr,
    },
    /// connect() by io_uring. Answer: [`Answer::Connection`].
    ConnectByUring {
        /// The socket.
        fd: Fd,
        /// The target.
        address: SocketAddr,
    },
    /// sendto(MSG_FASTOPEN) with some bytes, which connects. Answer: [`Answer::Connection`].
    SendFastOpen {
        /// The socket.
        fd: Fd,
        /// The target.
        address: SocketAddr,
    },
    /// connect(AF_UNSPEC)
    Disconnect {
        /// The socket.
        fd: Fd,
    },
    /// accept(). Answer: [`Answer::Connection`].
    Accept {
        /// The listener.
        fd: Fd,
    },
    /// Sends this many bytes.
    Send {
        /// The socket.
        fd: Fd,
        /// How many.
        bytes: usize,
    },
    /// Receives exactly this many bytes.
    Receive {
        /// The socket.
        fd: Fd,
        /// How many.
        bytes: usize,
    },
    /// Receives until the stream ends. Answer: [`Answer::Done`] at the peer's FIN, else the errno.
    AwaitEnd {
        /// The socket.
        fd: Fd,
    },
    /// Waits until a RST has broken the connection, even if the peer's FIN arrived before.
    AwaitReset {
        /// The socket.
        fd: Fd,
    },
    /// shutdown(SHUT_WR)
    ShutdownWrite {
        /// The socket.
        fd: Fd,
    },
    /// shutdown(SHUT_RDWR).
    ShutdownBoth {
        /// The socket.
        fd: Fd,
    },
    /// close()
    Close {
        /// Any descriptor.
        fd: Fd,
    },
    /// close() by io_uring.
    CloseByUring {
        /// The socket.
        fd: Fd,
    },
    /// Passes the socket to a ring of io_uring, and closes the ring at once: a kernel worker then closes the socket.
    LeaveToUring {
        /// The socket.
        fd: Fd,
    },
    /// close() in a new thread with this name.
    CloseInThread {
        /// Any descriptor.
        fd: Fd,
        /// Comm of the thread.
        name: String,
    },
    /// Takes the descriptor sent with the message. Answer: [`Answer::Descriptor`].
    Adopt,
    /// Sends a copy of `fd` over the Unix socket `over`.
    Pass {
        /// An adopted end of a Unix socket pair.
        over: Fd,
        /// The descriptor to send.
        fd: Fd,
    },
    /// Receives a descriptor. Answer: [`Answer::Descriptor`].
    TakeOver {
        /// An adopted end of a Unix socket pair.
        over: Fd,
    },
    /// Forks; the child takes commands from the control socket sent with the message. Answer: [`Answer::Pid`].
    Fork {
        /// Comm of the child.
        name: String,
    },
    /// setuid() to a user without capabilities.
    DropPrivileges,
    /// _exit(0), with everything open. No answer.
    Exit,
    /// Connects `count` times, one after the other, and closes each. Answer: [`Answer::Count`].
    ConnectMany {
        /// The server.
        target: SocketAddr,
        /// How many connections.
        count: usize,
        /// `Server`: waits for the server's FIN before each close.
        first: FirstCloser,
    },
    /// Connects `count` times, one per `interval_us`, and closes each at once. Answer: [`Answer::Count`].
    ConnectPaced {
        /// The server.
        target: SocketAddr,
        /// How many connections.
        count: usize,
        /// Between two connections, microseconds.
        interval_us: u64,
    },
    /// Accepts `count` connections, one after the other, and closes each. Answer: [`Answer::Count`].
    AcceptMany {
        /// The listener.
        fd: Fd,
        /// How many connections.
        count: usize,
        /// `Client`: waits for the client's FIN before each close.
        first: FirstCloser,
    },
    /// Connects `count` times, one after the other, from consecutive ports, and resets each at once. Answer:
    /// [`Answer::Count`].
    ResetMany {
        /// The server.
        target: SocketAddr,
        /// The first local address.
        first: SocketAddr,
        /// How many connections.
        count: u16,
    },
    /// Polls accept() until `count` connections have arrived and no more arrive for a while, and waits for the end of
    /// each. Answer: [`Answer::Count`], the number that arrived.
    AcceptPolled {
        /// The listener.
        fd: Fd,
        /// How many connections.
        count: usize,
    },
    /// Uses a CPU until killed. No answer.
    Spin,
}

/// Result of a successful command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Done,
    /// A new descriptor.
    Descriptor(Fd),
    /// A socket's own address.
    Address(SocketAddr),
    /// An established connection.
    Connection(Connection),
    /// A new process.
    Pid(i32),
    /// The number of connections of a bulk command.
    Count(usize),
    /// Accepted connections, by their remote ports.
    AcceptedFrom(Vec<u16>),
}

/// An established connection, seen from one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The descriptor in the actor.
    pub fd: Fd,
    /// The actor's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

/// What an actor returns for a command.
pub type Reply = Result<Answer, Errno>;
