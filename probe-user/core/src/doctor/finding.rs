//! What a check finds.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::setting::SettingChange;
use crate::event::Timestamp;

/// Severity of a finding: the worse, the greater.
#[derive(
    schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; nothing fails because of it.
    Notice,
    /// It costs something, or will.
    Warning,
    /// Connections fail now, or the next one will.
    Critical,
}

impl Severity {
    /// The word in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One problem, or something that may be mistaken for one. Texts may contain untrusted names: escape them before
/// printing.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct Finding {
    /// Kind of the finding; a stable word.
    pub id: &'static str,
    /// Severity.
    pub severity: Severity,
    /// A few words.
    pub title: String,
    /// The evidence, in sentences.
    pub evidence: Vec<String>,
    /// The evidence as figures; their names depend on `id`.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub figures: Value,
    /// What to do, the best first.
    #[serde(rename = "do")]
    pub to_do: Vec<String>,
    /// What not to do, and why.
    pub do_not: Vec<String>,
    /// Those of the remedies that are a setting and do no harm.
    pub settings: Vec<SettingChange>,
}

/// How many findings of each kind there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FindingCounts {
    /// When they were found.
    pub at: Timestamp,
    /// By id and severity; those without any are left out.
    pub counts: BTreeMap<(&'static str, Severity), u64>,
}

impl FindingCounts {
    /// Counts them.
    pub fn of(at: Timestamp, findings: &[Finding]) -> Self {
        let mut counts = BTreeMap::new();
        for finding in findings {
            *counts.entry((finding.id, finding.severity)).or_default() += 1;
        }
        Self { at, counts }
    }
}
