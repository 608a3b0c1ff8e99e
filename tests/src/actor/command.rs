//! What an actor can be told to do, and what it answers. One JSON message each way.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::sys::Errno;

/// A descriptor's number inside an actor.
pub type Fd = i32;

/// Protocol of a new socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// IPPROTO_TCP
    Tcp,
    /// IPPROTO_MPTCP
    Mptcp,
    /// IPPROTO_SCTP, one-to-one style.
    Sctp,
}

/// Family of a new socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressFamily {
    /// AF_INET
    V4,
    /// AF_INET6; takes IPv4 as mapped addresses too.
    V6,
}

/// A socket option.
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
    /// TCP_REPAIR: close() then sends nothing
    Repair,
    /// TCP_LINGER2, seconds; below 0 there is no FIN_WAIT2
    Linger2(i32),
}

/// Which end closes first, in bulk work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FirstCloser {
    /// The end that connect()ed.
    Client,
    /// The end that accept()ed.
    Server,
}

/// One thing to do.
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
    /// bind(). Answer: [`Answer::Address`], the address got.
    Bind {
        /// The socket.
        fd: Fd,
        /// Port 0 for any.
        address: SocketAddr,
    },
    /// listen(). Answer: [`Answer::Address`], the address listened on.
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
    /// sendto(MSG_FASTOPEN) of some bytes, which connects. Answer: [`Answer::Connection`].
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
    /// Sends so many bytes.
    Send {
        /// The socket.
        fd: Fd,
        /// How many.
        bytes: usize,
    },
    /// Receives exactly so many bytes.
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
    /// Waits until a RST has broken the connection, also where the peer's FIN came before.
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
    /// Leaves it to a ring of io_uring, which is closed at once: a worker of the kernel then closes the socket.
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
    /// Takes the descriptor that comes with the message. Answer: [`Answer::Descriptor`].
    Adopt,
    /// Sends a copy of `fd` over the Unix socket `over`.
    Pass {
        /// An adopted end of a Unix socket pair.
        over: Fd,
        /// What to send.
        fd: Fd,
    },
    /// Receives a descriptor. Answer: [`Answer::Descriptor`].
    TakeOver {
        /// An adopted end of a Unix socket pair.
        over: Fd,
    },
    /// Forks; the child obeys the control socket that comes with the message. Answer: [`Answer::Pid`].
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
    /// Connects `count` times, one each `interval_us`, and closes each at once. Answer: [`Answer::Count`].
    ConnectPaced {
        /// The server.
        target: SocketAddr,
        /// How many connections.
        count: usize,
        /// From one to the next, microseconds.
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
    /// Connects `count` times, one after the other, from ports that follow each other, and resets each at once. Answer:
    /// [`Answer::Count`].
    ResetMany {
        /// The server.
        target: SocketAddr,
        /// The first local address.
        first: SocketAddr,
        /// How many connections.
        count: u16,
    },
    /// Polls accept() until `count` connections have come and none more comes for a while, and waits for the end of each.
    /// Answer: [`Answer::Count`], those that came.
    AcceptPolled {
        /// The listener.
        fd: Fd,
        /// How many connections.
        count: usize,
    },
    /// Burns CPU until killed. No answer.
    Spin,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Done.
    Done,
    /// A new descriptor.
    Descriptor(Fd),
    /// A socket's own address.
    Address(SocketAddr),
    /// An established connection.
    Connection(Connection),
    /// A new process.
    Pid(i32),
    /// Bulk work done.
    Count(usize),
    /// Connections were accepted, from these ports.
    AcceptedFrom(Vec<u16>),
}

/// An established connection, seen from one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its descriptor in the actor.
    pub fd: Fd,
    /// The actor's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

/// What an actor sends back.
pub type Reply = Result<Answer, Errno>;
