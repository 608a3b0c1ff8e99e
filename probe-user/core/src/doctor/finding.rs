//! What a check finds.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

/// How bad it is: the worse, the greater.
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
    /// Its word, as in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One thing that is wrong, or may be taken for something it is not. Texts may hold names that strangers
/// chose: to be escaped before they are printed.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct Finding {
    /// Of which kind; a word that stays.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// In a few words.
    pub title: String,
    /// What it rests on, in sentences.
    pub evidence: Vec<String>,
    /// The same as figures; which ones depends on `id`.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub figures: Value,
    /// What to do, the best first.
    #[serde(rename = "do")]
    pub to_do: Vec<String>,
    /// What not to do, and why.
    pub do_not: Vec<String>,
}
