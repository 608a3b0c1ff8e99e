//! The tier table: for each capability the hooks that can provide it, best first.

mod descendants;
mod no_address;
mod port;
mod recovery;
mod reset;
mod state_changes;
mod time_wait;

pub use recovery::missed;

use super::{Hook, Question, Tier};

/// How one program of the object is attached.
#[derive(Clone, Copy, Debug)]
pub enum Attach {
    /// Raw tracepoint of this name.
    RawTracepoint(&'static str),
    /// Classic tracepoint: category, name, and the fields whose offsets the program assumes.
    Tracepoint(&'static str, &'static str, &'static [(&'static str, u32)]),
    /// fentry of this function.
    Fentry(&'static str),
    /// fexit of this function.
    Fexit(&'static str),
    /// kprobe or kretprobe (as defined by the object's section) on this function.
    Kprobe(&'static str),
}

impl Attach {
    /// The kernel function to look up in BTF.
    pub fn function(&self) -> Option<&'static str> {
        match self {
            Self::Fentry(function) | Self::Fexit(function) => Some(function),
            Self::RawTracepoint(_) | Self::Tracepoint(..) | Self::Kprobe(_) => None,
        }
    }
}

/// One program and its hook. A program may appear several times with different hooks.
pub type Part = (&'static str, Attach);

/// A further program for hooks at which the kernel may have skipped others.
#[derive(Clone, Copy, Debug)]
pub struct SecondChance {
    /// Programs whose skipped runs it recovers.
    pub of: &'static [&'static str],
    /// The program and its hook.
    pub part: Part,
}

/// Condition for trying a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No condition.
    Always,
    /// The raw tracepoint `tcp_send_reset` passes this many arguments.
    SendResetArguments(usize),
    /// This function takes this many arguments.
    Arguments(&'static str, usize),
    /// BTF does not have this function.
    Without(&'static str),
    /// Births are seen through the timer of the mini-socket.
    BirthsByTimer,
    /// Port allocations are seen through their system calls.
    PortsBySyscall,
    /// kallsyms shows `tw_timer_handler`.
    TimerHandlerKnown,
    /// The tracepoint of this tier provides resets of full sockets, and also reports those without a full socket.
    ResetsReportedAnyway,
}

impl Condition {
    /// The kernel function that it looks up in BTF.
    pub fn function(self) -> Option<&'static str> {
        match self {
            Self::Arguments(function, _) | Self::Without(function) => Some(function),
            _ => None,
        }
    }
}

/// What a tier changes in programs that other capabilities share, through the programs' constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// No change.
    Same,
    /// Births are seen through the timer of the mini-socket.
    BirthsByTimer,
    /// Births are not seen, only inferred.
    BirthsInferred,
    /// Port allocations are seen through their system calls.
    PortsBySyscall,
}

/// One tier of a capability.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its name.
    pub tier: Tier,
    /// The option that disables it; `None` if there is none.
    pub hook: Option<Hook>,
    /// When to try.
    pub condition: Condition,
    /// What to load and attach: all of it, or the tier is refused.
    pub parts: &'static [Part],
    /// What to attach in addition if the kernel can preempt the programs above in favour of a task that then reaches
    /// the same hook: the kernel skips a program that is already running on that CPU. Each of these does what was
    /// missed, or finds it done; a refused one costs the chance, not the tier.
    pub second_chance: &'static [SecondChance],
    /// What it changes in other programs.
    pub behaviour: Behaviour,
    /// What it can't know.
    pub lost: Option<&'static str>,
}

/// A capability and its tiers.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The capability.
    pub question: Question,
    /// Best first.
    pub candidates: &'static [Candidate],
}

const SKADDR: (&str, u32) = ("skaddr", 8);

const fn again(of: &'static [&'static str], program: &'static str, attach: Attach) -> SecondChance {
    SecondChance {
        of,
        part: (program, attach),
    }
}

const fn nothing(lost: &'static str) -> Candidate {
    Candidate {
        tier: Tier::None,
        hook: None,
        condition: Condition::Always,
        parts: &[],
        second_chance: &[],
        behaviour: Behaviour::Same,
        lost: Some(lost),
    }
}

/// In the order of attaching. First those whose tier decides how other programs behave ([`Behaviour`]); births before
/// states, so that no end of a connection is taken for a missed birth.
pub const PLANS: &[Plan] = &[
    time_wait::TIME_WAIT,
    port::PORT,
    time_wait::TIME_WAIT_END,
    reset::RESET,
    reset::RESET_WITHOUT_SOCKET,
    state_changes::STATE,
    state_changes::ACCEPT,
    no_address::NO_ADDRESS,
    descendants::DESCENDANTS,
];

/// All candidates of all capabilities.
pub fn candidates() -> impl Iterator<Item = &'static Candidate> {
    PLANS.iter().flat_map(|plan| plan.candidates)
}

/// All programs of a candidate, with their hooks.
fn all_parts(candidate: &'static Candidate) -> impl Iterator<Item = &'static Part> {
    let again = candidate.second_chance.iter().map(|chance| &chance.part);
    candidate.parts.iter().chain(again)
}

/// The kernel functions that entry or return programs are attached to.
pub fn functions() -> Vec<&'static str> {
    let parts = candidates().flat_map(all_parts);
    let mut functions: Vec<&str> = parts.filter_map(|(_, attach)| attach.function()).collect();
    functions.sort_unstable();
    functions.dedup();
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If a raw tracepoint's program is preempted, the kernel skips it for other tasks during that time: a classic
    /// one's can't be preempted. (Kernels that pass two arguments to tcp_send_reset don't preempt either.)
    #[test]
    fn what_raw_tracepoints_miss_has_a_second_chance() {
        let raw = |part: &Part| match part.1 {
            Attach::RawTracepoint(name) => Some(name),
            _ => None,
        };
        let may_be_preempted = |candidate: &&Candidate| {
            candidate.tier == Tier::RawTracepoint
                && candidate.condition != Condition::SendResetArguments(2)
        };
        let mut hooks = Vec::new();
        for candidate in candidates().filter(may_be_preempted) {
            for hook in candidate.parts.iter().filter_map(raw) {
                let is_there = |chance: &SecondChance| matches!(chance.part.1, Attach::Tracepoint(_, name, _) if name == hook);
                assert!(candidate.second_chance.iter().any(is_there), "{hook}");
                hooks.push(hook);
            }
        }
        for hook in [
            "inet_sock_set_state",
            "tcp_destroy_sock",
            "tcp_send_reset",
            "tcp_receive_reset",
        ] {
            assert!(hooks.contains(&hook), "{hook} is not attached to");
        }
    }
}
