//! TIME_WAITs that connects found and could not reuse, as evidence.

use serde_json::{Value, json};
use twtrace_wire::{ReuseRefusal, Side};

use super::advice::{self, NAMED};
use super::facts::DoctorFacts;
use crate::event::words::Word;
use crate::model::pairs::PairRow;

impl DoctorFacts {
    /// The rows of connects that found such TIME_WAITs, those with the most first; none if the hooks do not see them.
    pub fn hindered(&self, of: impl Fn(&PairRow) -> bool) -> Vec<&PairRow> {
        if !self.report.sees_refused_reuse() {
            return Vec::new();
        }
        let is_hindered =
            |row: &&PairRow| row.side == Side::Client && row.counts.reuse.hindered > 0 && of(row);
        let mut rows: Vec<&PairRow> = self.pairs.iter().filter(is_hindered).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.counts.reuse.hindered));
        rows
    }
}

/// Such as `3 connects of curl(8) met TIME_WAITs to 10.0.0.2:80 that they could not take: disabled 7, too_young 2`, a
/// sentence for each row up to a maximum.
pub fn sentences(rows: &[&PairRow]) -> Vec<String> {
    let sentence = |row: &&PairRow| {
        let reuse = &row.counts.reuse;
        let reasons: Vec<String> = reuse
            .refused
            .counted()
            .map(|(why, count)| format!("{} {count}", why.word()))
            .collect();
        format!(
            "{} connect() calls of {} found TIME_WAIT sockets to {} that they could not reuse: {}",
            reuse.hindered,
            row.name(),
            row.destination,
            reasons.join(", ")
        )
    };
    let mut sentences: Vec<String> = rows.iter().take(NAMED).map(sentence).collect();
    if let (Some(last), more) = (sentences.last_mut(), advice::more(rows.len()))
        && !more.is_empty()
    {
        last.push_str(&format!(";{more} processes or destinations also do"));
    }
    sentences
}

/// The same as JSON figures.
pub fn figures(rows: &[&PairRow]) -> Value {
    let object = |row: &&PairRow| {
        json!({
            "process": row.name(), "count": row.counts.reuse.hindered,
            "remote": row.destination.remote(), "refused": row.counts.reuse.refused,
        })
    };
    rows.iter().map(object).collect()
}

/// Number of TIME_WAITs that were refused for one reason.
pub fn count(rows: &[&PairRow], why: ReuseRefusal) -> u64 {
    rows.iter()
        .map(|row| row.counts.reuse.refused.of(why))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn connects_that_were_hindered_are_named() {
        let mut facts = samples::healthy();
        facts.pairs = vec![
            samples::refused("10.0.0.2:80", 3, ReuseRefusal::Disabled, 7),
            samples::pair(Side::Client, "10.0.0.3:80", 9, 0),
        ];
        let rows = facts.hindered(|_| true);
        assert_eq!(
            sentences(&rows),
            [
                "3 connect() calls of nginx(7) found TIME_WAIT sockets to 10.0.0.2:80 that they could not reuse: disabled 7"
            ]
        );
        assert_eq!(figures(&rows)[0]["refused"]["disabled"], 7);
        assert_eq!(count(&rows, ReuseRefusal::Disabled), 7);
        facts.pairs = vec![facts.pairs[0].clone(); NAMED + 2];
        let all = sentences(&facts.hindered(|_| true));
        assert_eq!(all.len(), NAMED);
        assert!(all[NAMED - 1].ends_with("; and 2 more processes or destinations also do"));
        assert!(facts.hindered(|row| row.netns != samples::NETNS).is_empty());
        // Nothing is reported if it is not seen.
        facts.report.tiers.clear();
        assert!(facts.hindered(|_| true).is_empty());
    }
}
