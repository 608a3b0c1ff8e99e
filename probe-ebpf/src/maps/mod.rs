//! The maps. Userspace finds them by name.

pub mod atomic;
pub mod counting;
pub mod lost;
pub mod slot;

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, StackTrace},
};
use twtrace_wire::{
    BoundPorts, Cancelled, Existing, ExistingKey, NetnsKey, NetnsTotals, PortKey, PortTotals,
    Probe, ProcessKey, ProcessNames, ProcessNow, ProcessTotals, Site, SiteCount, TupleKey,
};

use crate::records::{
    Accepting, Actor, Arguments, Call, Conn, Expiring, Listener, MiniConn, Named, Recent, Search,
    Slot, Unaccepted,
};

/// Events for userspace. Resized by `--ring-mb`.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 12, 0);

/// Phase of the start: `ATTACHING`, `FOLLOWING`, or the time at which counting began. Userspace writes it.
#[map]
pub static STARTED: Array<u64> = Array::with_max_entries(1, 0);

/// The connection state of each open socket, in a slot whose index is computed from the socket's address.
#[map]
pub static CONN_SLOTS: Array<Slot<Conn>> = Array::with_max_entries(1, 0);

/// Connection states of sockets without a slot, by address; removed at `tcp_destroy_sock`. Preallocated: these programs
/// run where memory must not be allocated.
#[map]
pub static CONNS: HashMap<u64, Conn> = HashMap::with_max_entries(1, 0);

/// The socket that softirq destroyed last on this CPU, if a RST for it may follow: see `slots::recent`.
#[map]
pub static RECENT: PerCpuArray<Recent> = PerCpuArray::with_max_entries(1, 0);

/// The same for threads that destroyed a socket while they worked off its backlog, by thread.
#[map]
pub static RECENT_OF_THREADS: LruHashMap<u64, Recent> = LruHashMap::with_max_entries(512, 0);

/// RSTs that came before accept(), by the address of their socket. accept() takes the entry out; otherwise it is
/// removed when the socket is destroyed, so that it is never used for another socket. If the LRU map evicts an entry,
/// its RST is not corrected.
#[map]
pub static UNACCEPTED: LruHashMap<u64, Unaccepted> = LruHashMap::with_max_entries(4096, 0);

/// What is kept of a closed connection, in a slot whose index is computed from the address of its mini-socket. Hash and
/// ports are compared with those of the mini-socket that has the address now: see `mini_sockets::place`.
#[map]
pub static MINI_SLOTS: Array<Slot<MiniConn>> = Array::with_max_entries(1, 0);

/// The same without a slot, by the address of the mini-socket.
#[map]
pub static MINIS: LruHashMap<u64, MiniConn> = LruHashMap::with_max_entries(1, 0);

/// Sockets between FIN_WAIT1 and the creation of their mini-socket, by some bits of their hash. Where the creation is
/// seen at the mini-socket's timer, this leads back to the full socket.
#[map]
pub static CLOSING_SLOTS: Array<u64> = Array::with_max_entries(1, 0);

/// Sockets whose slot above was taken, by tuple. LRU: an end that was missed leaves its entry behind.
#[map]
pub static CLOSING: LruHashMap<TupleKey, u64> = LruHashMap::with_max_entries(1, 0);

/// Not 0 once a connection state found [`CONNS`] full: what is unknown after that may have been lost.
#[map]
pub static CONNS_WERE_FULL: Array<u64> = Array::with_max_entries(1, 0);

/// Sockets that existed before tracing began. Userspace fills it once, when the programs are attached.
#[map]
pub static EXISTING: HashMap<ExistingKey, Existing> = HashMap::with_max_entries(1, 0);

/// Result of the program `process_now`; all zero if there is no process.
#[map]
pub static PROCESS_NOW: Array<ProcessNow> = Array::with_max_entries(1, 0);

/// Result of the program `netns_identity`.
#[map]
pub static NETNS_IDENTITY: Array<NetnsKey> = Array::with_max_entries(1, 0);

/// Result of the program `bound_ports`.
#[map]
pub static BOUND_PORTS: Array<BoundPorts> = Array::with_max_entries(1, 0);

/// The mini-socket whose timer expired last on this CPU. `inet_twsk_kill` takes it out in the same call chain. If the
/// kernel skips that program, the entry stays; the next timer of the same mini-socket overwrites it, and the time at
/// which a timer expires tells two mini-sockets at one address apart.
#[map]
pub static EXPIRING: PerCpuArray<Expiring> = PerCpuArray::with_max_entries(1, 0);

/// The process that is taking the tuple of a mini-socket, by the mini-socket's address; until the mini-socket ends, in
/// the same call.
#[map]
pub static REUSERS: LruHashMap<u64, Actor> = LruHashMap::with_max_entries(1024, 0);

/// Mini-sockets that met a SYN, with the time (CLOCK_MONOTONIC, nanoseconds). If a listener takes the SYN, the
/// mini-socket ends in the same call chain.
#[map]
pub static REOPENING: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1024, 0);

/// Arguments of a kprobed function in progress, by thread and function (kprobe tier only).
#[map]
pub static ARGUMENTS: LruHashMap<u64, Arguments> = LruHashMap::with_max_entries(1024, 0);

/// Mini-sockets whose timer was stopped, by tuple (timer tier only). Userspace collects those that remain.
#[map]
pub static CANCELLED: HashMap<TupleKey, Cancelled> = HashMap::with_max_entries(1, 0);

/// The epoch that is counted now, 0 or 1. Userspace switches it, and collects what the other one counted.
#[map]
pub static EPOCH: Array<u32> = Array::with_max_entries(1, 0);

/// The latest names of processes that acted. They are kept apart from the totals, which may be removed while the
/// process lives on. The names that a process had before an exec() or in another cgroup are kept as well, under their
/// generation.
#[map]
pub static NAMES: LruHashMap<ProcessKey, ProcessNames> = LruHashMap::with_max_entries(1, 0);

/// The process whose names this CPU wrote last.
#[map]
pub static NAMED: PerCpuArray<Named> = PerCpuArray::with_max_entries(1, 0);

/// Totals by process and epoch.
#[map]
pub static PROCESSES: HashMap<ProcessKey, ProcessTotals> = HashMap::with_max_entries(1, 0);

/// Processes of the traced command, alive or exited: itself and its descendants. Nothing is removed at an exit: the
/// sockets of an exiting process are closed after the tracepoint, and userspace asks later still.
#[map]
pub static DESCENDANTS: HashMap<ProcessKey, u8> = HashMap::with_max_entries(1, 0);

/// Totals by network namespace. Userspace removes those of ended namespaces. An entry left behind is not mistaken for
/// another namespace with the same number, whose mark differs.
#[map]
pub static NETNS: HashMap<NetnsKey, NetnsTotals> = HashMap::with_max_entries(8192, 0);

/// Port searches by process, operation and epoch.
#[map]
pub static PORTS: HashMap<PortKey, PortTotals> = HashMap::with_max_entries(1, 0);

/// Port searches in progress, by thread.
#[map]
pub static SEARCHES: LruHashMap<u64, Search> = LruHashMap::with_max_entries(4096, 0);

/// bind(), listen() and connect() calls in progress, in a slot that the thread's id selects (system-call tier only).
#[map]
pub static CALL_SLOTS: Array<Slot<Call>> = Array::with_max_entries(CALL_SLOT_COUNT, 0);

/// Number of slots: a power of two. Thread ids are consecutive.
pub const CALL_SLOT_COUNT: u32 = 8192;

/// Calls in progress of threads without a slot.
#[map]
pub static CALLS: LruHashMap<u64, Call> = LruHashMap::with_max_entries(4096, 0);

/// Closer (and opener) of MPTCP sockets, by address: a kworker closes their subflows. connect() and the copy of a
/// listener, with which each MPTCP socket begins, clear what an earlier one has left at that address.
#[map]
pub static MPTCP: LruHashMap<u64, Conn> = LruHashMap::with_max_entries(4096, 0);

/// Which program has reported a RST that answers a segment and that no full socket sends, by the segment's address:
/// bits of [`RST_SENT_TURNS`](crate::records::RST_SENT_TURNS). The other program removes the entry within the same call
/// of the tracepoint. If the kernel skips that program, the entry stays. For a later segment at that address, it then
/// silences the skipped program, and the other one reports that segment.
#[map]
pub static SEGMENT_TURNS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(1024, 0);

/// Owners of listeners, by the listener's address: see `slots::listener`. Removed when a listener is closed. If that
/// was skipped, listen() overwrites the entry for the next listener at that address; a listener of another namespace or
/// port is recognised as different.
#[map]
pub static LISTENERS: LruHashMap<u64, Listener> = LruHashMap::with_max_entries(4096, 0);

/// How many entries of [`LISTENERS`] have come or gone.
#[map]
pub static LISTENER_CHANGES: Array<u64> = Array::with_max_entries(1, 0);

/// The accept() that this CPU saw last. It names nobody: it only saves looking up the listener again, as long as the file
/// is the same and [`LISTENER_CHANGES`] is what it was, so that the file is still that listener's.
#[map]
pub static ACCEPTING: PerCpuArray<Accepting> = PerCpuArray::with_max_entries(1, 0);

/// Listeners that are being closed, by thread: that thread closes the connections in their queues, too. An entry is
/// removed when its listener is destroyed. A listener that was only shut down leaves its entry: it counts only while the
/// listener is locked, and for connections of its port.
#[map]
pub static LISTENER_CLOSERS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(256, 0);

/// User stacks, walked by frame pointers. Tiny without `--stacks`, like the three maps that follow.
#[map]
pub static STACKS: StackTrace = StackTrace::with_max_entries(1, 0);

/// User stacks whose slot in [`STACKS`] was taken by another one: the hash selects the slot.
#[map]
pub static STACKS_MORE: StackTrace = StackTrace::with_max_entries(1, 0);

/// Places in processes' code, by hash.
#[map]
pub static SITES: HashMap<u64, Site> = HashMap::with_max_entries(1, 0);

/// Counters of each place.
#[map]
pub static SITE_COUNTS: HashMap<SiteCount, u64> = HashMap::with_max_entries(1, 0);

/// Number of losses, by [`Probe`].
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(Probe::COUNT as u32, 0);

/// First losses on this CPU that the user's log does not have yet: bits by [`Probe`].
#[map]
pub static UNTOLD: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
