//! Records of the ring buffer.

use crate::COMM_LEN;

/// Written where a `u64` measure is not known.
pub const UNKNOWN: u64 = u64::MAX;

/// Bit of a cgroup's id that says that it is one of a v1 hierarchy: each hierarchy counts for itself.
pub const CGROUP_V1: u64 = 1 << 63;

/// Who a process is, for as long as the host is up: thread-group id in the initial pid namespace and the
/// leader's start time on CLOCK_BOOTTIME. A `tgid` of 0 stands for no process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Thread-group id, or 0 where no process is named.
    pub tgid: u32,
    /// Where `tgid` is 0, why: a code of [`crate::Unattributed`]. Else 0.
    pub unattributed: u32,
    /// Start time of the group leader, nanoseconds of CLOCK_BOOTTIME.
    pub start_boot_ns: u64,
}

/// A process as it was when it acted on the socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Identity; names may change under it (exec, prctl).
    pub key: ProcessKey,
    /// How often it and its ancestors had called exec() (the lower half of `task_struct.self_exec_id`): the program it ran.
    pub execs: u32,
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// Id of its cgroup (the inode number of its directory), or 0: in a v1 hierarchy with [`CGROUP_V1`], else in v2.
    pub cgroup_id: u64,
    /// The group leader's comm, NUL-padded, any bytes.
    pub comm: [u8; COMM_LEN],
    /// The acting thread's comm; all zero where it is the leader or not known.
    pub thread_comm: [u8; COMM_LEN],
}

impl Process {
    /// All zero.
    pub const NONE: Self = Self {
        key: ProcessKey {
            tgid: 0,
            unattributed: 0,
            start_boot_ns: 0,
        },
        execs: 0,
        uid: 0,
        cgroup_id: 0,
        comm: [0; COMM_LEN],
        thread_comm: [0; COMM_LEN],
    };
}

/// Both ends of a connection and the network namespace they are in. Aligned so that the kernel side
/// clears it word by word.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Local address in network order; IPv4 in the first four bytes, the rest zero.
    pub local: [u8; 16],
    /// Remote address, likewise.
    pub remote: [u8; 16],
    /// Local port, host order.
    pub local_port: u16,
    /// Remote port, host order.
    pub remote_port: u16,
    /// 4 or 6: how the addresses are to be read.
    pub ip_version: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Inode number of the network namespace.
    pub netns: u32,
    /// [`crate::NetnsKey::mark`]
    pub netns_mark: u32,
}

impl Tuple {
    /// All zero.
    pub const NONE: Self = Self {
        local: [0; 16],
        remote: [0; 16],
        local_port: 0,
        remote_port: 0,
        ip_version: 0,
        reserved: [0; 3],
        netns: 0,
        netns_mark: 0,
    };
}

/// TIME_WAIT birth or refusal, RST, abort.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionEvent {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub mono_ns: u64,
    /// [`crate::EventKind`].
    pub kind: u8,
    /// [`crate::Side`].
    pub side: u8,
    /// [`crate::TcpState`]. Birth: `TimeWait` or `FinWait2`, as the mini-socket began. Reset and abort:
    /// the state before it.
    pub state: u8,
    /// Birth: the [`crate::TcpState`] the full socket left. Reset: its [`crate::ResetDirection`].
    pub from: u8,
    /// [`crate::ResetReason`] or [`crate::AbortReason`].
    pub reason: u8,
    /// `enum sk_rst_reason` of the running kernel, or [`crate::NO_KERNEL_REASON`].
    pub kernel_reason: u8,
    /// Bits of [`crate::flags`].
    pub flags: u16,
    /// The connection.
    pub tuple: Tuple,
    /// Names the socket among events that follow each other at once; never shown.
    pub socket: u64,
    /// Time since ESTABLISHED, or [`UNKNOWN`].
    pub connection_ns: u64,
    /// Time since data last went either way, or [`UNKNOWN`]. In steps of the kernel's tick.
    pub idle_ns: u64,
    /// Time since any segment of the peer's but a RST came, or [`UNKNOWN`]. In steps of the kernel's tick.
    pub peer_silent_ns: u64,
    /// Time since this end last sent data, or shook hands, or [`UNKNOWN`]. In steps of the kernel's tick.
    pub send_idle_ns: u64,
    /// Reset for data after close: time since the close, or [`UNKNOWN`].
    pub after_close_ns: u64,
    /// Payload bytes sent, each counted once, or [`UNKNOWN`].
    pub bytes_sent: u64,
    /// Payload bytes received in order, or [`UNKNOWN`].
    pub bytes_received: u64,
    /// Who is answerable: the closer, or the opener where a reset or abort found no closer.
    pub process: Process,
    /// Who connected or accepted it; `key.tgid` 0 where not known.
    pub opener: Process,
}

/// A mini-socket went.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndEvent {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub mono_ns: u64,
    /// [`crate::EventKind::TimeWaitEnd`].
    pub kind: u8,
    /// [`crate::Side`].
    pub side: u8,
    /// [`crate::EndCause`].
    pub cause: u8,
    /// In `CANCELLED`: 1 for an end from before counting began. Else zero.
    pub before_start: u8,
    /// Bits of [`crate::flags`].
    pub flags: u16,
    /// Zero.
    pub reserved2: u16,
    /// The connection.
    pub tuple: Tuple,
    /// Time since the mini-socket was made, or [`UNKNOWN`].
    pub age_ns: u64,
    /// Its age when the peer's FIN made a TIME_WAIT of it that had begun in FIN_WAIT2, or [`UNKNOWN`].
    pub promoted_ns: u64,
    /// Who made it: the closer.
    pub process: Process,
    /// Who had connected or accepted it.
    pub opener: Process,
    /// Who reused its tuple; `key.tgid` 0 where nobody did.
    pub by: Process,
}

/// What a full socket, its mini-socket and a socket that takes their place have in common. Key of the map
/// `CANCELLED`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TupleKey {
    /// Address of the `struct net`.
    pub net: u64,
    /// `skc_hash`
    pub hash: u32,
    /// Host order.
    pub local_port: u16,
    /// Host order.
    pub remote_port: u16,
}

/// Value of the map `CANCELLED`: a mini-socket whose timer was stopped. Either it is gone, or its timer will
/// be started again at once; what stays in the map is gone.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// Its address; 0 until the rest is written.
    pub mini: u64,
    /// What is to be told of its end.
    pub event: EndEvent,
}

/// A search for a local port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortEvent {
    /// CLOCK_MONOTONIC at the end of the search, nanoseconds.
    pub mono_ns: u64,
    /// [`crate::EventKind::PortAlloc`].
    pub kind: u8,
    /// [`crate::PortOp`].
    pub op: u8,
    /// The port that was asked for; 0 for any.
    pub requested: u16,
    /// 0, or the positive errno.
    pub errno: u16,
    /// Bits of [`crate::flags`].
    pub flags: u16,
    /// What was asked for or got, and connect()'s target.
    pub tuple: Tuple,
    /// Duration of the search, nanoseconds.
    pub latency_ns: u64,
    /// TIME_WAITs that it met and whose tuple it could not take, by [`crate::ReuseRefusal`].
    pub refused: [u32; crate::ReuseRefusal::COUNT],
    /// The lowest port of the socket's own range (IP_LOCAL_PORT_RANGE), or 0.
    pub range_low: u16,
    /// The highest one, or 0. Where both are 0 there is none.
    pub range_high: u16,
    /// Who asked.
    pub process: Process,
}

const _: () = assert!(size_of::<ProcessKey>() == 16);
const _: () = assert!(size_of::<Process>() == 64);
const _: () = assert!(size_of::<Tuple>() == 48);
const _: () = assert!(size_of::<ConnectionEvent>() == 16 + 48 + 8 * 8 + 128);
const _: () = assert!(size_of::<EndEvent>() == 16 + 48 + 16 + 192);
const _: () = assert!(size_of::<TupleKey>() == 16);
const _: () = assert!(size_of::<Cancelled>() == 8 + size_of::<EndEvent>());
const _: () =
    assert!(size_of::<PortEvent>() == 16 + 48 + 8 + 4 * (crate::ReuseRefusal::COUNT + 1) + 64);
