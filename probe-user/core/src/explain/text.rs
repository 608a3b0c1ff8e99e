//! What an explanation consists of.

/// Explanation of one word. A part that is empty does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// One phrase, for lists.
    pub brief: &'static str,
    /// What it means.
    pub means: &'static str,
    /// Why it happens.
    pub why: &'static str,
    /// What to do.
    pub to_do: &'static str,
    /// What not to do: continues the words "Do not".
    pub do_not: &'static str,
}

impl Text {
    /// The phrase, and what it means.
    pub const fn new(brief: &'static str, means: &'static str) -> Self {
        Self {
            brief,
            means,
            why: "",
            to_do: "",
            do_not: "",
        }
    }

    /// Adds why it happens.
    pub const fn why(self, why: &'static str) -> Self {
        Self { why, ..self }
    }

    /// Adds what to do.
    pub const fn to_do(self, to_do: &'static str) -> Self {
        Self { to_do, ..self }
    }

    /// Adds what not to do.
    pub const fn do_not(self, do_not: &'static str) -> Self {
        Self { do_not, ..self }
    }

    /// Its parts in the order in which they are read, with their labels.
    pub const fn parts(&self) -> [(&'static str, &'static str); 4] {
        [
            ("Means", self.means),
            ("Why", self.why),
            ("Do", self.to_do),
            ("Do not", self.do_not),
        ]
    }
}

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A finding of `doctor`.
    Finding,
    /// Another word of the output.
    Term,
    /// Reason of a RST that this host sent.
    ResetSent,
    /// Reason of a RST that this host received.
    ResetReceived,
    /// Reason why a connection ended without RST.
    Abort,
    /// How a TIME_WAIT ended.
    EndCause,
    /// Why a connect() could not reuse a TIME_WAIT.
    ReuseRefusal,
    /// Why an event has no process.
    NoProcess,
    /// Why a connection in CLOSE_WAIT has no process.
    NoHolder,
    /// An error of a system call.
    Errno,
    /// A kind of event.
    Event,
    /// A column of a table.
    Column,
    /// A capability of `probes`.
    Capability,
    /// The hooks that provide a capability.
    Tier,
}

impl Kind {
    /// Heading of its list.
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Finding => "Findings of doctor",
            Self::Term => "Terms",
            Self::ResetSent => "Reasons of RSTs sent",
            Self::ResetReceived => "Reasons of RSTs received",
            Self::Abort => "Reasons of connections that end without RST",
            Self::EndCause => "How a TIME_WAIT ends",
            Self::ReuseRefusal => "Why a connect() can't reuse a TIME_WAIT",
            Self::NoProcess => "Why an event has no process",
            Self::NoHolder => "Why a CLOSE_WAIT has no process",
            Self::Errno => "Errors of system calls",
            Self::Event => "Kinds of events",
            Self::Column => "Columns of tables",
            Self::Capability => "Capabilities, in probes",
            Self::Tier => "Tiers of hooks, in probes",
        }
    }

    /// What one of them is, behind its id.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finding => "finding of doctor",
            Self::Term => "term",
            Self::ResetSent => "reason of a RST sent",
            Self::ResetReceived => "reason of a RST received",
            Self::Abort => "reason of a connection that ended without RST",
            Self::EndCause => "how a TIME_WAIT ended",
            Self::ReuseRefusal => "why a connect() could not reuse a TIME_WAIT",
            Self::NoProcess => "why an event has no process",
            Self::NoHolder => "why a CLOSE_WAIT has no process",
            Self::Errno => "error of a system call",
            Self::Event => "kind of event",
            Self::Column => "column of a table",
            Self::Capability => "capability, in probes",
            Self::Tier => "tier of hooks, in probes",
        }
    }
}
