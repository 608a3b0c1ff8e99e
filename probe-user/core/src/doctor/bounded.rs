//! At most so many findings of one kind for each network namespace.

use std::collections::BTreeMap;

use super::facts::DoctorFacts;
use super::finding::Finding;

/// Maximum number of findings of one check in each namespace.
pub const SHOWN: usize = 10;

/// One finding for each row, up to the maximum for its key; the last one of a key says how many more there are.
pub fn findings<R, K: Ord>(
    rows: impl Iterator<Item = R>,
    key: impl Fn(&R) -> K,
    finding: impl Fn(R) -> Finding,
    more: &str,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    // The rows so far, and the last finding.
    let mut counted: BTreeMap<K, (usize, usize)> = BTreeMap::new();
    for row in rows {
        let (count, last) = counted.entry(key(&row)).or_default();
        *count += 1;
        if *count <= SHOWN {
            *last = findings.len();
            findings.push(finding(row));
        }
    }
    for (count, last) in counted.into_values() {
        if count > SHOWN {
            let further = count - SHOWN;
            findings[last]
                .evidence
                .push(format!("{further} more {more}"));
        }
    }
    findings
}

/// The same for rows of namespaces that still have their number. `of`: its number, and how many had it before.
pub fn of_latest<'a, R>(
    facts: &DoctorFacts,
    rows: &'a [R],
    of: impl Fn(&R) -> (u32, u32),
    finding: impl Fn(&'a R) -> Finding,
    more: &str,
) -> Vec<Finding> {
    let is_latest = |row: &&R| {
        let (netns, nth) = of(row);
        nth >= facts.report.last_nth(netns)
    };
    findings(
        rows.iter().filter(is_latest),
        |row| of(row).0,
        finding,
        more,
    )
}
