//! The capabilities that twtrace needs, and the tiers of hooks that can provide them.

use serde::{Deserialize, Serialize};

/// What twtrace needs to know.
#[derive(
    schemars::JsonSchema,
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Closer, opener, side and 4-tuple of each connection.
    State,
    /// Which process called accept() for a server connection.
    Accept,
    /// Creation of mini-sockets, and refusals.
    TimeWait,
    /// Ends of mini-sockets, and their causes.
    TimeWaitEnd,
    /// RSTs of full sockets.
    Reset,
    /// RSTs for segments without a socket and from mini-sockets.
    ResetWithoutSocket,
    /// Ephemeral port allocation.
    Port,
    /// Calls that fail for want of an address on this host, before they look for a port.
    NoAddress,
    /// Which processes a command and its children start; needed only if a command is followed.
    Descendants,
}

impl Question {
    /// Every capability.
    pub const ALL: [Self; 9] = [
        Self::State,
        Self::Accept,
        Self::TimeWait,
        Self::TimeWaitEnd,
        Self::Reset,
        Self::ResetWithoutSocket,
        Self::Port,
        Self::NoAddress,
        Self::Descendants,
    ];

    /// The word in JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Accept => "accept",
            Self::TimeWait => "time_wait",
            Self::TimeWaitEnd => "time_wait_end",
            Self::Reset => "reset",
            Self::ResetWithoutSocket => "reset_without_socket",
            Self::Port => "port",
            Self::NoAddress => "no_address",
            Self::Descendants => "descendants",
        }
    }
}

impl Tier {
    /// Every tier.
    pub const ALL: [Self; 8] = [
        Self::RawTracepoint,
        Self::Tracepoint,
        Self::Fentry,
        Self::Kprobe,
        Self::Timer,
        Self::Syscall,
        Self::Inferred,
        Self::None,
    ];

    /// The word in JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RawTracepoint => "raw_tracepoint",
            Self::Tracepoint => "tracepoint",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Timer => "timer",
            Self::Syscall => "syscall",
            Self::Inferred => "inferred",
            Self::None => "none",
        }
    }
}

/// A kind of hook, as `--without` names it.
#[derive(
    schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Raw tracepoints (BPF_PROG_TYPE_RAW_TRACEPOINT) on the socket's state.
    RawTracepoint,
    /// Classic tracepoints on the same.
    Tracepoint,
    /// fentry and fexit (BPF_PROG_TYPE_TRACING).
    Fentry,
    /// kprobe and kretprobe.
    Kprobe,
    /// The kernel's timer tracepoints.
    Timers,
    /// System-call tracepoints.
    Syscalls,
}

/// What provides a capability.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Raw tracepoint.
    RawTracepoint,
    /// Classic (perf) tracepoint.
    Tracepoint,
    /// fentry/fexit.
    Fentry,
    /// kprobe/kretprobe.
    Kprobe,
    /// The timer tracepoints: exact for TIME_WAIT.
    Timer,
    /// System-call tracepoints.
    Syscall,
    /// Inferred from the socket's states.
    Inferred,
    /// Not at all.
    None,
}

/// The tier chosen for one capability.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize, Deserialize)]
pub struct Choice {
    /// The capability.
    pub question: Question,
    /// The tier that provides it.
    pub tier: Tier,
    /// Names of the kernel symbols and tracepoints that are attached.
    pub hooks: Vec<String>,
    /// What this tier can't know, in a sentence; `None` if nothing is lost.
    pub lost: Option<String>,
    /// Better tiers that were refused: the tier, and the kernel's error or "switched off".
    pub refused: Vec<(Tier, String)>,
}

#[cfg(any(test, feature = "samples"))]
impl Choice {
    /// A choice for tests, without details.
    pub fn sample(question: Question, tier: Tier) -> Self {
        Self {
            question,
            tier,
            hooks: vec![],
            lost: None,
            refused: vec![],
        }
    }
}

/// One choice per capability.
pub type Tiers = Vec<Choice>;

/// Whether it is known why connects could not reuse the tuples of TIME_WAITs: through hooks on the allocation and on
/// tcp_twsk_unique().
pub fn sees_refused_reuse(tiers: &[Choice]) -> bool {
    [Question::Port, Question::TimeWaitEnd]
        .iter()
        .all(|question| {
            tiers.iter().any(|choice| {
                choice.question == *question && matches!(choice.tier, Tier::Fentry | Tier::Kprobe)
            })
        })
}

/// Whether hooks see which process calls accept().
pub fn sees_accept(tiers: &[Choice]) -> bool {
    tiers
        .iter()
        .any(|choice| choice.question == Question::Accept && choice.tier != Tier::None)
}

/// Which sent RSTs the hooks see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetsSeen {
    /// All of them.
    All,
    /// Those of full sockets only.
    OfFullSockets,
    /// None.
    None,
}

/// Which sent RSTs are seen.
pub fn resets_seen(tiers: &[Choice]) -> ResetsSeen {
    let is_seen = |question| {
        let mut choices = tiers.iter();
        choices.any(|choice| choice.question == question && choice.tier != Tier::None)
    };
    match (
        is_seen(Question::Reset),
        is_seen(Question::ResetWithoutSocket),
    ) {
        (true, true) => ResetsSeen::All,
        (true, false) => ResetsSeen::OfFullSockets,
        (false, _) => ResetsSeen::None,
    }
}

/// Whether ends of mini-sockets are seen, and not only presumed.
pub fn sees_ends(tiers: &[Choice]) -> bool {
    let seen_by = |choice: &Choice| !matches!(choice.tier, Tier::Inferred | Tier::None);
    tiers
        .iter()
        .any(|choice| choice.question == Question::TimeWaitEnd && seen_by(choice))
}
