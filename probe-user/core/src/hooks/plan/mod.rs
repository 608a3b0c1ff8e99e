//! The tier table: for each question the hooks that can answer it, best first.

mod descendants;
mod port;
mod recovery;
mod reset;
mod state;
mod time_wait;

pub use recovery::missed;

use super::{Hook, Question, Tier};

/// How one program of the object is attached.
#[derive(Clone, Copy, Debug)]
pub enum Attach {
    /// Raw tracepoint of this name.
    RawTracepoint(&'static str),
    /// Classic tracepoint: category, name, and the fields whose offsets the program takes for granted.
    Tracepoint(&'static str, &'static str, &'static [(&'static str, u32)]),
    /// fentry of this function.
    Fentry(&'static str),
    /// fexit of this function.
    Fexit(&'static str),
    /// kprobe or kretprobe (the object's section says which) on this function.
    Kprobe(&'static str),
}

impl Attach {
    /// The kernel function that it is found by in BTF.
    pub fn function(&self) -> Option<&'static str> {
        match self {
            Self::Fentry(function) | Self::Fexit(function) => Some(function),
            Self::RawTracepoint(_) | Self::Tracepoint(..) | Self::Kprobe(_) => None,
        }
    }
}

/// One program and where it goes. A program may appear several times with different places.
pub type Part = (&'static str, Attach);

/// What must hold before it is worth trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// The raw tracepoint `tcp_send_reset` passes this many arguments.
    SendResetArguments(usize),
    /// This function takes this many arguments.
    Arguments(&'static str, usize),
    /// Births are seen by the timer of the mini-socket.
    BirthsByTimer,
    /// kallsyms shows `tw_timer_handler`.
    TimerHandlerKnown,
    /// The tracepoint of this tier answers resets of full sockets, and reports those without as well.
    ResetsReportedAnyway,
}

impl Condition {
    /// The kernel function that it asks BTF about.
    pub fn function(self) -> Option<&'static str> {
        match self {
            Self::Arguments(function, _) => Some(function),
            _ => None,
        }
    }
}

/// What a tier changes in programs that other questions share, by way of the programs' constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Nothing.
    Same,
    /// Births are seen by the timer of the mini-socket.
    BirthsByTimer,
    /// Births are not seen, only inferred.
    BirthsInferred,
    /// Port searches are seen by their system calls.
    PortsBySyscall,
}

/// One tier of a question.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its name.
    pub tier: Tier,
    /// The option that switches it off; `None` where nothing does.
    pub hook: Option<Hook>,
    /// When to try.
    pub condition: Condition,
    /// What to load and attach: all of it, or the tier is refused.
    pub parts: &'static [Part],
    /// What to attach as well where the kernel can preempt the programs above in favour of a task that
    /// then meets the same hook: the kernel skips a program that is already running on that CPU. Each of
    /// these does what was missed, or finds it done; what is refused costs the chance, not the tier.
    pub second_chance: &'static [Part],
    /// What it changes elsewhere.
    pub behaviour: Behaviour,
    /// What it can't know.
    pub lost: Option<&'static str>,
}

/// A question and its tiers.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The question.
    pub question: Question,
    /// Best first.
    pub candidates: &'static [Candidate],
}

const SKADDR: (&str, u32) = ("skaddr", 8);

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

/// In the order of attaching. First those whose tier decides how other programs behave ([`Behaviour`]);
/// births before states, so that no end of a connection is taken for a birth that was missed.
pub const PLANS: &[Plan] = &[
    time_wait::TIME_WAIT,
    port::PORT,
    time_wait::TIME_WAIT_END,
    reset::RESET,
    reset::RESET_WITHOUT_SOCKET,
    state::STATE,
    state::ACCEPT,
    descendants::DESCENDANTS,
];

/// All candidates of all questions.
pub fn candidates() -> impl Iterator<Item = &'static Candidate> {
    PLANS.iter().flat_map(|plan| plan.candidates)
}

/// The kernel functions whose entry or return programs are attached to.
pub fn functions() -> Vec<&'static str> {
    let parts =
        candidates().flat_map(|candidate| candidate.parts.iter().chain(candidate.second_chance));
    let mut functions: Vec<&str> = parts.filter_map(|(_, attach)| attach.function()).collect();
    functions.sort_unstable();
    functions.dedup();
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a raw tracepoint's program is preempted, the kernel skips it for other tasks meanwhile: a classic one's can't
    /// be preempted. (Kernels that pass two arguments to tcp_send_reset don't preempt either.)
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
                let is_there = |(_, attach): &Part| matches!(attach, Attach::Tracepoint(_, name, _) if *name == hook);
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
