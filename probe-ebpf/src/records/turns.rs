//! Hooks that have two programs: which of them has reported a fact.

/// Which of the two programs of a hook this is: see [`Turns`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Program {
    First,
    Second,
}

/// Who has reported a fact that the other program has not come for yet, as bits of [`Conn::flags`](super::Conn::flags).
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
