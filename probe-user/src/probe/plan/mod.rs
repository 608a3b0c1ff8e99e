//! The tier table: for each question the hooks that can answer it, best first.

mod descendants;
mod port;
mod reset;
mod state;
mod time_wait;

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
