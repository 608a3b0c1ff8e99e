//! What part of a service's connections failed.

use serde_json::{Value, json};
use twtrace_wire::Side;

use super::super::facts::DoctorFacts;
use super::super::finding::Severity;
use super::group::Group;
use crate::event::quantity::count;

/// From this part on most connections fail.
const MOST: f64 = 0.5;
/// From this part on somebody suffers.
const MUCH: f64 = 0.01;
/// Below this part it is not worth a word.
const LITTLE: f64 = 0.001;
/// The same where the number of all connections is that of a whole namespace.
const OF_SEEN: f64 = 0.1;

/// Failed connections among all.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Those that failed.
    failed: u64,
    /// Connections that were seen to end.
    at_least: u64,
    /// The same, if each event is of another connection.
    seen: u64,
    /// Connections of the side in the namespace: those that existed when counting began, and those opened since.
    at_most: Option<u64>,
}

impl Share {
    /// Of the connections of a group.
    pub fn of(facts: &DoctorFacts, group: &Group<'_>, failed: u64) -> Self {
        let at_least = group.ended().max(failed);
        let at_most = opened(facts, group.netns, group.side).map(|opened| opened.max(at_least));
        Self {
            failed,
            at_least,
            seen: group.ended_at_most().max(at_least),
            at_most,
        }
    }

    /// The least part that failed.
    fn low(self) -> f64 {
        self.failed as f64 / self.at_most.unwrap_or(self.seen).max(1) as f64
    }

    /// The greatest.
    fn high(self) -> f64 {
        self.failed as f64 / self.at_least.max(1) as f64
    }

    /// `None` if too few connections failed.
    pub fn severity(self) -> Option<Severity> {
        let low = self.low();
        if self.failed < super::SOME {
            None
        } else if low >= MOST {
            Some(Severity::Critical)
        } else if low >= MUCH {
            Some(Severity::Warning)
        } else if low >= LITTLE || self.high() >= OF_SEEN {
            Some(Severity::Notice)
        } else {
            None
        }
    }

    /// The severity if only those that certainly failed count, and otherwise a notice: `certain` of them did.
    pub fn severity_of(self, certain: u64) -> Option<Severity> {
        let certain = Self {
            failed: certain.min(self.failed),
            ..self
        };
        let severity = self.severity()?;
        Some(certain.severity().unwrap_or(Severity::Notice).min(severity))
    }

    /// Whether at least this part of the connections failed, in percent.
    pub fn is_at_least(self, percent: u64) -> bool {
        self.low() * 100.0 >= percent as f64
    }

    /// Whether no other connection of that side is known in the namespace.
    pub fn is_of_all(self) -> bool {
        self.failed >= self.at_most.unwrap_or(self.seen)
    }

    /// Such as `25 of 50 connections`.
    pub fn words(self) -> String {
        let failed = count(self.failed);
        match self.at_most {
            Some(at_most) if at_most == self.at_least => {
                format!("{failed} of {} connections", count(at_most))
            }
            Some(at_most) => format!(
                "{failed} of at least {} connections, and at most {} (those of the namespace)",
                count(self.at_least),
                count(at_most)
            ),
            None => format!("{failed} of at least {} connections", count(self.at_least)),
        }
    }

    /// Such as `25 of 50`, in titles.
    pub fn short(self) -> String {
        let of = match self.at_most {
            Some(at_most) if at_most == self.at_least => count(at_most),
            _ => format!("{} or more", count(self.at_least)),
        };
        format!("{} of {of}", count(self.failed))
    }

    /// As figures.
    pub fn figures(self) -> Value {
        json!({"failed": self.failed, "at_least": self.at_least, "at_most": self.at_most})
    }
}

/// Connections of one side in a namespace: those that existed at the start, and those opened since.
fn opened(facts: &DoctorFacts, netns: u32, side: Side) -> Option<u64> {
    let namespace = facts.namespaces.get(&netns)?;
    let before = namespace.before.as_ref()?;
    let now = &namespace.now;
    let growth = |before: Option<u64>, now: Option<u64>| Some(now?.saturating_sub(before?));
    let opened = match side {
        Side::Server => growth(before.passive_opens, now.passive_opens)?,
        Side::Client => growth(before.active_opens, now.active_opens)?,
        Side::Unknown => growth(before.passive_opens, now.passive_opens)?
            .saturating_add(growth(before.active_opens, now.active_opens)?),
    };
    Some(opened.saturating_add(before.established?))
}
