//! Facts about the running twtrace and kernel: the first columns of the table of expectations.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sys::tracefs;

/// The capabilities that hooks have to provide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Closer, opener, side and 4-tuple.
    State,
    /// Which process called accept().
    Accept,
    /// Creation of mini-sockets.
    TimeWait,
    /// Their ends.
    TimeWaitEnd,
    /// RSTs of full sockets.
    Reset,
    /// RSTs without a full socket.
    ResetWithoutSocket,
    /// Ephemeral port allocation.
    Port,
    /// Calls that fail for want of an address.
    NoAddress,
    /// Which processes belong to a command.
    Descendants,
}

impl Question {
    /// The capabilities that are always needed.
    pub const ALL: [Self; 8] = [
        Self::State,
        Self::Accept,
        Self::TimeWait,
        Self::TimeWaitEnd,
        Self::Reset,
        Self::ResetWithoutSocket,
        Self::Port,
        Self::NoAddress,
    ];
}

/// What provides a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Raw tracepoint.
    RawTracepoint,
    /// Classic tracepoint.
    Tracepoint,
    /// fentry/fexit.
    Fentry,
    /// kprobe/kretprobe.
    Kprobe,
    /// Timer tracepoints.
    Timer,
    /// System-call tracepoints.
    Syscall,
    /// Inferred from states.
    Inferred,
    /// Not at all.
    None,
}

/// The tier of one capability, as twtrace reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub question: Question,
    pub tier: Tier,
    /// What is lost with this tier, in words.
    pub lost: Option<String>,
}

/// What the running kernel can report, found out without twtrace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFacts {
    /// `tcp_send_reset` has a reason (6.12 and later).
    pub reset_reasons: bool,
    /// TcpExt TW counts creations (6.1 and later), not expiries.
    pub counts_births: bool,
}

/// The facts that expectations depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// One choice per capability.
    pub tiers: Vec<Choice>,
    pub kernel: KernelFacts,
}

impl Facts {
    /// The tier of a capability; `None` also if twtrace does not report it.
    pub fn tier(&self, question: Question) -> Tier {
        self.choice(question)
            .map_or(Tier::None, |choice| choice.tier)
    }

    /// What twtrace reports as lost for a capability.
    pub fn lost(&self, question: Question) -> Option<&str> {
        self.choice(question)?.lost.as_deref()
    }

    fn choice(&self, question: Question) -> Option<&Choice> {
        self.tiers.iter().find(|choice| choice.question == question)
    }
}

/// Reads the tiers from a `start` event or from `twtrace probes --json`.
///
/// # Errors
/// If there is no `tiers`, a member has another form, or a capability is missing.
pub fn tiers_of(value: &Value) -> Result<Vec<Choice>> {
    let tiers = value.get("tiers").context("no \"tiers\"")?;
    let choices: Vec<Choice> =
        serde_json::from_value(tiers.clone()).with_context(|| format!("read the tiers {tiers}"))?;
    let mut by_question = BTreeMap::new();
    for choice in &choices {
        by_question.insert(choice.question, choice.tier);
    }
    for question in Question::ALL {
        anyhow::ensure!(
            by_question.contains_key(&question),
            "no tier for {question:?}"
        );
    }
    Ok(choices)
}

/// Whether `tcp_send_reset` has a field `reason`.
pub fn has_reset_reasons() -> Result<bool> {
    let path = tracefs::ensure()
        .context("mount tracefs")?
        .join("events/tcp/tcp_send_reset/format");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(text
        .lines()
        .any(|line| line.contains("field:") && line.contains(" reason;")))
}
