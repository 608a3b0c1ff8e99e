//! Hooks with two programs: which of the two has reported a fact.

/// Which of the two programs of a hook this is: see [`Turns`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Program {
    First,
    Second,
}

/// Which program has reported a fact that the other one has not met yet, as bits of
/// [`Conn::flags`](super::Conn::flags).
///
/// A hook whose program can be preempted has a second program, for what the kernel skips the first one for. Either may
/// run first: classic tracepoints run in the order in which their tracepoint was first used on this host, so that an
/// earlier tracer puts the second program before the first (seen on 7.3). The program that finds the fact already
/// reported clears the bit and reports nothing. If a program was skipped, the bit of the other one stays. Then the next
/// fact of that kind is also the other one's: it is reported once in any case.
#[derive(Clone, Copy)]
pub struct Turns {
    first: u32,
    second: u32,
}

/// Turns of a RST that was sent.
pub const RST_SENT_TURNS: Turns = Turns {
    first: 1 << 8,
    second: 1 << 9,
};
/// Turns of a RST that was received.
pub const RST_RECEIVED_TURNS: Turns = Turns {
    first: 1 << 10,
    second: 1 << 11,
};

impl Turns {
    /// Whether the other program has reported this fact; otherwise this program must report it.
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
