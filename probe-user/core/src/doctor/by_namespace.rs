//! At most so many findings of a check for each network namespace.

use super::finding::Finding;

/// Maximum number of findings of one check in each namespace.
pub const SHOWN: usize = 10;

/// One finding for each row, up to the maximum of its namespace; the last one of a namespace says how many more there are.
pub fn findings<R>(
    rows: impl Iterator<Item = R>,
    netns: impl Fn(&R) -> u32,
    finding: impl Fn(&R) -> Finding,
    further: impl Fn(usize) -> String,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    // The namespace, its rows so far, and its last finding.
    let mut counted: Vec<(u32, usize, usize)> = Vec::new();
    for row in rows {
        let netns = netns(&row);
        let place = counted.iter().position(|(of, ..)| *of == netns);
        let place = place.unwrap_or_else(|| {
            counted.push((netns, 0, 0));
            counted.len() - 1
        });
        let (_, count, last) = &mut counted[place];
        *count += 1;
        if *count <= SHOWN {
            *last = findings.len();
            findings.push(finding(&row));
        }
    }
    for (_, count, last) in counted {
        if count > SHOWN {
            findings[last].evidence.push(further(count - SHOWN));
        }
    }
    findings
}
