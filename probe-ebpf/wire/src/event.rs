//! Records of the ring buffer.

use crate::COMM_LEN;

/// The value of an unknown `u64` measure.
pub const UNKNOWN: u64 = u64::MAX;

/// Bit of a cgroup's id that marks the id of a v1 hierarchy: each hierarchy has ids of its own.
pub const CGROUP_V1: u64 = 1 << 63;

/// Identity of a process, unique while the host is up: thread-group id in the initial pid namespace and the leader's
/// start time on CLOCK_BOOTTIME. A `tgid` of 0 means no process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Thread-group id, or 0 for no process.
    pub tgid: u32,
    /// If `tgid` is 0, the reason: a code of [`crate::Unattributed`]. Otherwise 0.
    pub unattributed: u32,
    /// Start time of the group leader, nanoseconds of CLOCK_BOOTTIME.
    pub start_boot_ns: u64,
}

/// A process at the time when it acted on the socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Identity; names may change without it (exec, prctl).
    pub key: ProcessKey,
    /// How many times it and its ancestors had called exec() (the lower half of `task_struct.self_exec_id`): identifies
    /// the program it ran.
    pub execs: u32,
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// Id of its cgroup (the inode number of its directory), or 0: with [`CGROUP_V1`] in a v1 hierarchy, otherwise in
    /// v2.
    pub cgroup_id: u64,
    /// The group leader's comm, NUL-padded, any bytes.
    pub comm: [u8; COMM_LEN],
    /// The acting thread's comm; all zero if it is the leader or not known.
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

/// Both ends of a connection and its network namespace. Aligned so that the kernel side clears it word by word.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Local address in network order; IPv4 in the first four bytes, the rest zero.
    pub local: [u8; 16],
    /// Remote address in network order, in the same form.
    pub remote: [u8; 16],
    /// Local port, host order.
    pub local_port: u16,
    /// Remote port, host order.
    pub remote_port: u16,
    /// 4 or 6: the version of the addresses.
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

/// Creation or refusal of a TIME_WAIT, RST, abort.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionEvent {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub mono_ns: u64,
    /// [`crate::EventKind`].
    pub kind: u8,
    /// [`crate::Side`].
    pub side: u8,
    /// [`crate::TcpState`]. Birth: `TimeWait` or `FinWait2`, the first state of the mini-socket. Reset and abort: the
    /// state before it.
    pub state: u8,
    /// Birth: the last [`crate::TcpState`] of the full socket. Reset: its [`crate::ResetDirection`].
    pub from: u8,
    /// [`crate::ResetReason`] or [`crate::AbortReason`].
    pub reason: u8,
    /// `enum sk_rst_reason` of the running kernel, or [`crate::NO_KERNEL_REASON`].
    pub kernel_reason: u8,
    /// Bits of [`crate::flags`].
    pub flags: u16,
    /// The connection.
    pub tuple: Tuple,
    /// Identifies the socket among consecutive events; never shown.
    pub socket: u64,
    /// Time since ESTABLISHED, nanoseconds, or [`UNKNOWN`].
    pub connection_ns: u64,
    /// Time since data was last sent or received, nanoseconds, or [`UNKNOWN`]. In steps of the kernel's tick.
    pub idle_ns: u64,
    /// Time since any segment of the peer except a RST arrived, nanoseconds, or [`UNKNOWN`]. In steps of the kernel's
    /// tick.
    pub peer_silent_ns: u64,
    /// Time since this end last sent data, or completed the handshake, nanoseconds, or [`UNKNOWN`]. In steps of the
    /// kernel's tick.
    pub send_idle_ns: u64,
    /// Reset for data after close: time since the close, nanoseconds, or [`UNKNOWN`].
    pub after_close_ns: u64,
    /// Reset for unread data: payload bytes that were received and not read; reset for data after close: payload bytes of the
    /// segment that came too late. Otherwise [`UNKNOWN`].
    pub unread_bytes: u64,
    /// Payload bytes sent, each counted once, or [`UNKNOWN`].
    pub bytes_sent: u64,
    /// Payload bytes received in order, or [`UNKNOWN`].
    pub bytes_received: u64,
    /// The responsible process: the closer, or the opener if a reset or abort found no closer.
    pub process: Process,
    /// The process that connected or accepted; `key.tgid` 0 if not known.
    pub opener: Process,
}

/// A mini-socket ended.
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
    /// In `CANCELLED`: 1 for an end from before counting began. Otherwise zero.
    pub before_start: u8,
    /// Bits of [`crate::flags`].
    pub flags: u16,
    /// Zero.
    pub reserved2: u16,
    /// The connection.
    pub tuple: Tuple,
    /// Time since the mini-socket was created, nanoseconds, or [`UNKNOWN`].
    pub age_ns: u64,
    /// Its age when the peer's FIN changed it from FIN_WAIT2 to TIME_WAIT, nanoseconds, or [`UNKNOWN`].
    pub promoted_ns: u64,
    /// The process that created it: the closer.
    pub process: Process,
    /// The process that had connected or accepted.
    pub opener: Process,
    /// The process that reused its tuple; `key.tgid` 0 if none did.
    pub by: Process,
}

/// What a full socket, its mini-socket and a socket that replaces them have in common. Key of the map `CANCELLED`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TupleKey {
    /// Address of the `struct net`.
    pub net: u64,
    /// `skc_hash`
    pub hash: u32,
    /// Local port, host order.
    pub local_port: u16,
    /// Remote port, host order.
    pub remote_port: u16,
}

/// Value of the map `CANCELLED`: a mini-socket whose timer was stopped. Either it has ended, or its timer is restarted
/// at once; what stays in the map has ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// Its address; 0 until the rest is written.
    pub mini: u64,
    /// The record to send for its end.
    pub event: EndEvent,
}

/// An ephemeral port allocation, or a call that failed before one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortEvent {
    /// CLOCK_MONOTONIC at the end of the allocation, nanoseconds.
    pub mono_ns: u64,
    /// [`crate::EventKind::PortAlloc`] or [`crate::EventKind::NoAddress`].
    pub kind: u8,
    /// [`crate::PortOp`].
    pub op: u8,
    /// The requested port; 0 for any.
    pub requested: u16,
    /// 0, or the positive errno.
    pub errno: u16,
    /// Bits of [`crate::flags`].
    pub flags: u16,
    /// The address that was requested or allocated, and connect()'s target.
    pub tuple: Tuple,
    /// Duration of the allocation, nanoseconds.
    pub latency_ns: u64,
    /// TIME_WAITs that it found and whose tuple it could not reuse, by [`crate::ReuseRefusal`].
    pub refused: [u32; crate::ReuseRefusal::COUNT],
    /// The lowest port of the socket's own range (IP_LOCAL_PORT_RANGE), or 0.
    pub range_low: u16,
    /// The highest one, or 0. If both are 0 there is no such range.
    pub range_high: u16,
    /// The calling process.
    pub process: Process,
}

const _: () = assert!(size_of::<ProcessKey>() == 16);
const _: () = assert!(size_of::<Process>() == 64);
const _: () = assert!(size_of::<Tuple>() == 48);
const _: () = assert!(size_of::<ConnectionEvent>() == 16 + 48 + 9 * 8 + 128);
const _: () = assert!(size_of::<EndEvent>() == 16 + 48 + 16 + 192);
const _: () = assert!(size_of::<TupleKey>() == 16);
const _: () = assert!(size_of::<Cancelled>() == 8 + size_of::<EndEvent>());
const _: () =
    assert!(size_of::<PortEvent>() == 16 + 48 + 8 + 4 * (crate::ReuseRefusal::COUNT + 1) + 64);
