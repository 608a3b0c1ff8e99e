//! The maps. Userspace finds them by name.

pub mod atomic;
pub mod counting;
pub mod lost;

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, StackTrace},
};
use twtrace_wire::{
    BoundPorts, Cancelled, Existing, ExistingKey, NetnsKey, NetnsTotals, PortKey, PortTotals,
    Probe, ProcessKey, ProcessNames, ProcessNow, ProcessTotals, Site, SiteCount, TupleKey,
};

use crate::records::{
    Actor, Arguments, Birth, Call, CallSlot, Conn, ConnSlot, Listener, MiniConn, Named, Recent,
    Search, Unaccepted,
};

/// Events to userspace. Resized by `--ring-mb`.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 12, 0);

/// How far the start has come: `ATTACHING`, `FOLLOWING`, or when counting began. Userspace writes it.
#[map]
pub static STARTED: Array<u64> = Array::with_max_entries(1, 0);

/// What is known of each open socket, in a slot that is found by its address.
#[map]
pub static CONN_SLOTS: Array<ConnSlot> = Array::with_max_entries(1, 0);

/// The same of those that have no slot, by address; deleted at `tcp_destroy_sock`. Preallocated:
/// these programs run where memory must not be allocated.
#[map]
pub static CONNS: HashMap<u64, Conn> = HashMap::with_max_entries(1, 0);

/// The socket that softirq destroyed last on this CPU, where a RST of its may follow: see `slots::recent`.
#[map]
pub static RECENT: PerCpuArray<Recent> = PerCpuArray::with_max_entries(1, 0);

/// The same of threads that destroyed a socket while they worked off its backlog, by thread.
#[map]
pub static RECENT_OF_THREADS: LruHashMap<u64, Recent> = LruHashMap::with_max_entries(512, 0);

/// RSTs that came before accept(), by the address of their socket. An entry is taken out by accept(), and removed when the
/// socket is destroyed, so that none speaks for another socket; one that made room for others leaves its RST as it was.
#[map]
pub static UNACCEPTED: LruHashMap<u64, Unaccepted> = LruHashMap::with_max_entries(4096, 0);

/// What stays known of a closed connection, by the address of its mini-socket.
#[map]
pub static MINIS: LruHashMap<u64, MiniConn> = LruHashMap::with_max_entries(1, 0);

/// Sockets between FIN_WAIT1 and the birth of their mini-socket, by some bits of their hash: where the birth is seen at
/// the mini-socket's timer, this is the way back to the socket.
#[map]
pub static CLOSING_SLOTS: Array<u64> = Array::with_max_entries(1, 0);

/// Those that found their slot taken, by tuple. LRU: an end that was missed leaves its entry behind.
#[map]
pub static CLOSING: LruHashMap<TupleKey, u64> = LruHashMap::with_max_entries(1, 0);

/// Not 0 once a connection state found [`CONNS`] full: what is not known then may have been lost.
#[map]
pub static CONNS_WERE_FULL: Array<u64> = Array::with_max_entries(1, 0);

/// Sockets that were there before tracing began. Userspace fills it once, when the programs are attached.
#[map]
pub static EXISTING: HashMap<ExistingKey, Existing> = HashMap::with_max_entries(1, 0);

/// The answer of the program `process_now`; all zero for none.
#[map]
pub static PROCESS_NOW: Array<ProcessNow> = Array::with_max_entries(1, 0);

/// The answer of the program `netns_identity`.
#[map]
pub static NETNS_IDENTITY: Array<NetnsKey> = Array::with_max_entries(1, 0);

/// The answer of the program `bound_ports`.
#[map]
pub static BOUND_PORTS: Array<BoundPorts> = Array::with_max_entries(1, 0);

/// Calls of `inet_twsk_alloc` under way, by thread (kprobe tier only).
#[map]
pub static ALLOCATING: LruHashMap<u64, Birth> = LruHashMap::with_max_entries(1024, 0);

/// The mini-socket whose timer runs out on this CPU.
#[map]
pub static EXPIRING: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Who is taking the tuple of a mini-socket, by its address; until it goes, in the same call.
#[map]
pub static REUSERS: LruHashMap<u64, Actor> = LruHashMap::with_max_entries(1024, 0);

/// Mini-sockets that met a SYN (CLOCK_MONOTONIC): gone in the same call chain if a listener takes it.
#[map]
pub static REOPENING: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1024, 0);

/// Arguments of a kprobed function under way, by thread and function (kprobe tier only).
#[map]
pub static ARGUMENTS: LruHashMap<u64, Arguments> = LruHashMap::with_max_entries(1024, 0);

/// Mini-sockets whose timer was stopped, by tuple (timer tier only). Userspace takes what stays.
#[map]
pub static CANCELLED: HashMap<TupleKey, Cancelled> = HashMap::with_max_entries(1, 0);

/// Which of two epochs counts now, 0 or 1. Userspace turns it, and takes what the other one counted.
#[map]
pub static EPOCH: Array<u32> = Array::with_max_entries(1, 0);

/// Names of processes that acted, the latest: totals may be taken away under a process that lives on. What a process was called
/// before an exec() or in another cgroup is kept beside them, under its generation.
#[map]
pub static NAMES: LruHashMap<ProcessKey, ProcessNames> = LruHashMap::with_max_entries(1, 0);

/// Whose names this CPU wrote last.
#[map]
pub static NAMED: PerCpuArray<Named> = PerCpuArray::with_max_entries(1, 0);

/// Totals by process, by epoch.
#[map]
pub static PROCESSES: HashMap<ProcessKey, ProcessTotals> = HashMap::with_max_entries(1, 0);

/// Processes of the command that is followed, dead or alive: it and its descendants. Nothing is taken out at
/// an exit: the sockets of an exiting process are closed after the tracepoint, and userspace asks later still.
#[map]
pub static DESCENDANTS: HashMap<ProcessKey, u8> = HashMap::with_max_entries(1, 0);

/// Totals by network namespace. Userspace takes out those of namespaces that are gone; what is left of one says nothing of
/// another one with its number, whose mark is another.
#[map]
pub static NETNS: HashMap<NetnsKey, NetnsTotals> = HashMap::with_max_entries(8192, 0);

/// Port searches by process and operation, by epoch.
#[map]
pub static PORTS: HashMap<PortKey, PortTotals> = HashMap::with_max_entries(1, 0);

/// Port searches under way, by thread.
#[map]
pub static SEARCHES: LruHashMap<u64, Search> = LruHashMap::with_max_entries(4096, 0);

/// bind(), listen() and connect() calls under way, in a slot that is found by the thread's id (system-call tier only).
#[map]
pub static CALL_SLOTS: Array<CallSlot> = Array::with_max_entries(CALL_SLOT_COUNT, 0);

/// How many: a power of two. Thread ids follow each other.
pub const CALL_SLOT_COUNT: u32 = 8192;

/// The same of threads that have no slot.
#[map]
pub static CALLS: LruHashMap<u64, Call> = LruHashMap::with_max_entries(4096, 0);

/// Closer (and opener) of MPTCP sockets, by their address: their subflows are closed by a kworker. connect() and the copy of a
/// listener, with which each MPTCP socket begins, end what another one at that address has left.
#[map]
pub static MPTCP: LruHashMap<u64, Conn> = LruHashMap::with_max_entries(4096, 0);

/// Who has reported a RST that answers a segment and that no full socket sends, by the segment's address: bits of
/// [`RST_SENT_TURNS`](crate::records::RST_SENT_TURNS). The other program takes the entry back within the same call of the
/// tracepoint. An entry that stays, because the kernel skipped one of them, keeps the other one of a later segment at that
/// address silent, which the first one has then reported.
#[map]
pub static SEGMENT_TURNS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(1024, 0);

/// Whose listeners are, by their address: see `slots::listener`. Removed when a listener is closed; should that have been skipped, the
/// next one at that address overwrites it in listen(), and one of another namespace or port is told apart.
#[map]
pub static LISTENERS: LruHashMap<u64, Listener> = LruHashMap::with_max_entries(4096, 0);

/// Listeners that are being closed, by thread: connections in their queues are closed by that thread. An entry is removed
/// when that listener is destroyed.
#[map]
pub static LISTENER_CLOSERS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(256, 0);

/// User stacks by frame pointers (`--stacks`; else tiny, as the three that follow).
#[map]
pub static STACKS: StackTrace = StackTrace::with_max_entries(1, 0);

/// Those whose slot in [`STACKS`] was taken by another: slots go by hash.
#[map]
pub static STACKS_MORE: StackTrace = StackTrace::with_max_entries(1, 0);

/// Places in processes' code, by hash.
#[map]
pub static SITES: HashMap<u64, Site> = HashMap::with_max_entries(1, 0);

/// What followed from each place.
#[map]
pub static SITE_COUNTS: HashMap<SiteCount, u64> = HashMap::with_max_entries(1, 0);

/// What was lost, by [`Probe`].
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(Probe::COUNT as u32, 0);

/// First losses on this CPU that the user's log has not been told of: bits by [`Probe`].
#[map]
pub static UNTOLD: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
