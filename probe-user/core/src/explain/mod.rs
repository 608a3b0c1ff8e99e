//! Texts of `twtrace explain`: what each word of the output means, why it happens, what to do and what not to do.
//!
//! Words of closed sets are explained by a `match` without a wildcard, so that a new member does not compile without a
//! text. Those of findings and columns are lists; tests compare them with the code that prints them.

mod columns;
mod errnos;
mod fast_half;
mod findings;
mod hooks;
mod processes;
mod reset_findings;
mod resets;
mod terms;
mod text;
mod time_waits;

use std::collections::BTreeMap;

use twtrace_wire::ResetReason;

pub use text::{Kind, Text};

use crate::event::words::Word;
use crate::hooks::{Question, Tier};
use crate::model::close_wait::NoHolder;
use crate::nearest;

/// Shorter ids resemble too many words.
const SHORTEST: usize = 3;

/// A word, and its explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What it is.
    pub kind: Kind,
    /// The word as it is printed.
    pub id: &'static str,
    /// Its text.
    pub text: Text,
}

/// All explanations, by kind.
pub fn all() -> Vec<Explanation> {
    let mut all = Vec::new();
    let mut add = |kind, id, text| all.push(Explanation { kind, id, text });
    let findings = [
        findings::FINDINGS,
        reset_findings::FINDINGS,
        findings::OF_SETTINGS,
    ];
    for (id, text) in findings.into_iter().flatten() {
        add(Kind::Finding, id, *text);
    }
    for (id, text) in terms::TERMS {
        add(Kind::Term, id, *text);
    }
    for (kind, text_of) in [
        (
            Kind::ResetSent,
            resets::sent as fn(ResetReason) -> Option<Text>,
        ),
        (Kind::ResetReceived, resets::received),
    ] {
        for reason in ResetReason::MEMBERS {
            if let Some(text) = text_of(*reason) {
                add(kind, reason.word(), text);
            }
        }
    }
    words(&mut add, Kind::Abort, resets::aborted);
    words(&mut add, Kind::EndCause, time_waits::ended);
    words(&mut add, Kind::ReuseRefusal, time_waits::refused);
    words(&mut add, Kind::NoProcess, processes::of_event);
    for reason in [NoHolder::NotAccepted, NoHolder::Unknown] {
        add(
            Kind::NoHolder,
            reason.word(),
            processes::of_close_wait(reason),
        );
    }
    for (id, text) in errnos::ERRNOS {
        add(Kind::Errno, id, *text);
    }
    words(&mut add, Kind::Event, hooks::event);
    for (id, text) in columns::COLUMNS.into_iter().flatten() {
        add(Kind::Column, id, *text);
    }
    for question in Question::ALL {
        add(
            Kind::Capability,
            question.name(),
            hooks::capability(question),
        );
    }
    for tier in Tier::ALL {
        add(Kind::Tier, tier.name(), hooks::tier(tier));
    }
    all
}

fn words<T: Word>(
    add: &mut impl FnMut(Kind, &'static str, Text),
    kind: Kind,
    text_of: fn(T) -> Text,
) {
    for member in T::MEMBERS {
        add(kind, member.word(), text_of(*member));
    }
}

/// Everything that a word stands for, the most general first; empty if nothing. Upper and lower case, spaces and underscores
/// are the same.
pub fn find(id: &str) -> Vec<Explanation> {
    let id = plain(id);
    let mut found = all();
    found.retain(|it| plain(it.id) == id);
    found.sort_by_key(|it| match it.kind {
        Kind::Term => 0,
        Kind::Finding => 1,
        Kind::Event => 2,
        _ => 3,
    });
    found
}

/// The id that resembles an unknown one most; `None` if none does.
pub fn nearest(id: &str) -> Option<&'static str> {
    let all = all().into_iter().map(|it| it.id);
    let known: BTreeMap<String, &str> = all
        .filter(|id| id.len() >= SHORTEST)
        .map(|id| (plain(id), id))
        .collect();
    let similar = nearest::nearest(&plain(id), known.keys().map(String::as_str))?;
    known.get(similar).copied()
}

/// An id as one word to type: letters and digits in lower case, and underscores between them.
pub fn plain(id: &str) -> String {
    let words: Vec<String> = id
        .split(|char: char| !char.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join("_")
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
