//! What the maps hold: keys and values of the kernel side's own.

use twtrace_wire::{
    COMM_LEN, NO_SITE, ProcessKey, ReuseRefusal, Side, TupleKey, UNKNOWN, Unattributed,
};

/// A comm as two words.
pub type Comm = [u64; COMM_LEN / 8];

/// A process (or why there is none) and the thread of it that acted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Actor {
    pub key: ProcessKey,
    /// Thread id, 0 where there is no process.
    pub tid: u32,
    /// Which program it ran, in which cgroup: which of its names are those of then. 0: the latest.
    pub generation: u32,
    /// The thread's own comm where it is not the leader, else zero.
    /// In words: byte arrays are cleared byte by byte.
    pub thread_comm: Comm,
}

impl Actor {
    #[inline(always)]
    pub const fn nobody(why: Unattributed) -> Self {
        Self {
            key: ProcessKey {
                tgid: 0,
                unattributed: why as u32,
                start_boot_ns: 0,
            },
            tid: 0,
            generation: 0,
            thread_comm: [0; 2],
        }
    }

    #[inline(always)]
    pub fn is_process(&self) -> bool {
        self.key.tgid != 0
    }
}

/// Its beginning was seen: it was not open before tracing.
pub const BEGUN: u32 = 1 << 0;
/// It went to FIN_WAIT1: its end is a TIME_WAIT, or something went wrong.
pub const ACTIVE_CLOSE: u32 = 1 << 1;
/// Its mini-socket was seen being made, or refused.
pub const BORN: u32 = 1 << 2;
/// ... by the socket's last state only: a RST that follows says that it was not (`flags::MAY_BE_DATA`).
pub const BORN_INFERRED: u32 = 1 << 12;
/// →CLOSE was seen.
pub const CLOSED: u32 = 1 << 3;
/// A RST was sent.
pub const RST_SENT: u32 = 1 << 4;
/// A RST was received.
pub const RST_RECEIVED: u32 = 1 << 5;
/// ... which may have been data after close (`flags::MAY_BE_DATA`).
pub const RST_MAY_BE_DATA: u32 = 1 << 6;
/// →CLOSE was reported by the second program, and the first one has not come yet.
pub const CLOSED_BY_SECOND: u32 = 1 << 7;

/// A RST was received before anybody had accepted it: see `unaccepted`.
pub const RST_UNACCEPTED: u32 = 1 << 13;

/// Its search for a port is counted, and what came of it is not known yet: see `port_uncalled`.
pub const SEARCHES_UNCALLED: u32 = 1 << 14;

/// What [`BORN_INFERRED`] or [`RST_MAY_BE_DATA`] stands for was before counting began: there is nothing to take back.
pub const UNCOUNTED: u32 = 1 << 15;

/// Which of the two programs of a hook this is: see [`Turns`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Program {
    First,
    Second,
}

/// Who has reported a fact that the other program has not come for yet, as bits of [`Story::flags`].
///
/// A hook whose program can be preempted has a second one, for what the kernel skips the first one for. Either may come
/// first: classic tracepoints run in the order in which their tracepoint was first used on this host, so that any tracer that
/// was there before puts the second program before the first (seen on 7.3). Whichever finds the fact reported by the other
/// takes the bit back and reports nothing. A program that was skipped leaves the bit of the other one behind. Then the next
/// fact of that kind is the other one's, too: it is reported once in any case.
#[derive(Clone, Copy)]
pub struct Turns {
    first: u32,
    second: u32,
}

/// Of a RST that was sent.
pub const RST_SENT_TURNS: Turns = Turns {
    first: 1 << 8,
    second: 1 << 9,
};
/// Of one that was received.
pub const RST_RECEIVED_TURNS: Turns = Turns {
    first: 1 << 10,
    second: 1 << 11,
};

impl Turns {
    /// Whether the other program has reported this fact; else this one is to.
    #[inline(always)]
    pub fn is_reported(self, flags: &mut u32, program: Program) -> bool {
        let (mine, other) = match program {
            Program::First => (self.first, self.second),
            Program::Second => (self.second, self.first),
        };
        if *flags & other != 0 {
            *flags &= !other;
            return true;
        }
        *flags |= mine;
        false
    }
}

/// The story of an open socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Story {
    /// Who connected or accepted it.
    pub opener: Actor,
    /// Who moved it out of ESTABLISHED first.
    pub closer: Actor,
    /// CLOCK_MONOTONIC at ESTABLISHED, or 0.
    pub established_ns: u64,
    /// CLOCK_MONOTONIC when no more data was to come: close(), or shutdown() both ways; or 0.
    pub closed_ns: u64,
    /// Where in its code the closer closed: a key of `SITES`, `NO_SITE` or `LOST_SITE`.
    pub site: u64,
    /// The constants above.
    pub flags: u32,
    /// The kernel's hash of its connection at ESTABLISHED.
    pub hash: u32,
    /// [`Side`].
    pub side: u8,
    /// State before →CLOSE.
    pub closed_from: u8,
    /// The port that it was bound to when it connected, where it [`SEARCHES_UNCALLED`].
    pub requested: u16,
    pub reserved: [u8; 4],
}

/// Where a socket's story usually is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct StorySlot {
    /// The socket's address; 0 for nobody's, and then the story is that of a socket of which nothing is known yet.
    pub sock: u64,
    /// Not 0 once another socket found this slot taken: stories of such are in `STORIES`.
    pub spilled: u64,
    pub story: Story,
}

impl Story {
    const fn new(closer: Unattributed) -> Self {
        Self {
            opener: Actor::nobody(Unattributed::Unknown),
            closer: Actor::nobody(closer),
            established_ns: 0,
            closed_ns: 0,
            site: NO_SITE,
            flags: 0,
            hash: 0,
            side: Side::Unknown as u8,
            closed_from: 0,
            requested: 0,
            reserved: [0; 4],
        }
    }
}

/// The story of a socket of which nothing is known yet: all zero, as slots are that nobody has used.
pub static NEW: Story = Story::new(Unattributed::Unknown);
const _: () =
    assert!(Unattributed::Unknown as u32 == 0 && NO_SITE == 0 && Side::Unknown as u8 == 0);

/// The story of a socket that had begun to close before tracing.
pub static STRANGER: Story = Story::new(Unattributed::ClosedBeforeTracing);

/// The story of a socket that found no room for its own.
pub static FORGOTTEN: Story = Story::new(Unattributed::Lost);

/// What a mini-socket's end or answer still needs of the story. The hash and ports tell a recycled
/// address apart: mini-sockets come from a SLAB_TYPESAFE_BY_RCU cache, and an address comes back within
/// milliseconds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MiniStory {
    pub closer: Actor,
    pub opener: Actor,
    pub hash: u32,
    pub local_port: u16,
    pub remote_port: u16,
    pub side: u8,
    /// FIN_WAIT2 or TIME_WAIT, as it began.
    pub substate: u8,
    pub reserved: [u8; 6],
    /// CLOCK_MONOTONIC when it was made.
    pub born_ns: u64,
    /// Its age when the peer's FIN came to one that began in FIN_WAIT2, or `UNKNOWN`.
    pub promoted_ns: u64,
    /// CLOCK_MONOTONIC, or 0.
    pub established_ns: u64,
    /// As in [`Story`].
    pub closed_ns: u64,
    /// As in [`Story`].
    pub site: u64,
    /// CLOCK_MONOTONIC when data last went either way, or 0.
    pub last_data_ns: u64,
    /// CLOCK_MONOTONIC when this end last sent data, or 0.
    pub last_sent_ns: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

/// Copied into the map before it is filled in place.
pub static NEW_MINI: MiniStory = MiniStory {
    closer: Actor::nobody(Unattributed::Unknown),
    opener: Actor::nobody(Unattributed::Unknown),
    hash: 0,
    local_port: 0,
    remote_port: 0,
    side: 0,
    substate: 0,
    reserved: [0; 6],
    born_ns: 0,
    promoted_ns: UNKNOWN,
    established_ns: 0,
    closed_ns: 0,
    site: NO_SITE,
    last_data_ns: 0,
    last_sent_ns: 0,
    bytes_sent: 0,
    bytes_received: 0,
};

/// A socket that was destroyed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Recent {
    /// Its address; 0 for none.
    pub sock: u64,
    /// Its connection.
    pub tuple: TupleKey,
    pub story: Story,
}

/// None: copied into the map, since it is too large for the stack.
pub static NO_RECENT: Recent = Recent {
    sock: 0,
    tuple: TupleKey {
        net: 0,
        hash: 0,
        local_port: 0,
        remote_port: 0,
    },
    story: Story::new(Unattributed::Unknown),
};

/// Whose a listener is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Listener {
    /// Who called listen().
    pub opener: Actor,
    /// Who was the first to accept from it.
    pub acceptor: Actor,
    /// Address of its `struct net`.
    pub net: u64,
    pub port: u32,
    /// 1 where others accept from it, too.
    pub is_shared: u32,
}

/// A RST that nobody could be named for yet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Unaccepted {
    /// CLOCK_MONOTONIC when it came.
    pub at_ns: u64,
    /// The state that it found.
    pub state: u64,
}

/// Arguments of an inet_twsk_alloc() under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Birth {
    pub sock: u64,
    pub substate: u64,
}

/// A search under way in a kernel function.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Search {
    pub sock: u64,
    pub began_ns: u64,
    pub op: u32,
    pub requested: u32,
    /// TIME_WAITs it met and could not take, by [`ReuseRefusal`].
    pub refused: [u32; ReuseRefusal::COUNT],
    pub reserved: u32,
}

/// The arguments of a kprobed function that its return needs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Arguments {
    pub mini: u64,
    /// Of tcp_twsk_unique(): `twp`, which is null for a socket that was bound.
    pub twp: u64,
}

/// What a process was when its names were last written on this CPU: as long as it is all that, they need not be written
/// again.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Named {
    pub start_boot_ns: u64,
    pub tgid: u32,
    /// How often it was found the same.
    pub times: u32,
    pub comm: Comm,
    /// [`Actor::generation`]
    pub generation: u64,
    /// `cred`, which changes with its user.
    pub cred: u64,
}

/// A system call under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    pub descriptor: u64,
    /// The user's `struct sockaddr`; 0 for listen().
    pub address: u64,
    /// When the search began: with bind() the call itself, with listen() LISTEN and with connect() SYN_SENT, and 0
    /// as long as that has not come.
    pub began_ns: u64,
    pub op: u32,
    /// Of listen() and connect(), once it began: bind() has it in `address`.
    pub requested: u32,
    /// The socket's own range of ports, where connect() looks through that.
    pub own_range: [u16; 2],
    pub reserved: u32,
}

/// Where a system call under way usually is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CallSlot {
    /// The thread (`bpf_get_current_pid_tgid`); 0 for nobody's.
    pub thread: u64,
    pub call: Call,
}
