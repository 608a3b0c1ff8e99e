//! The time that a report from a history covers, as text.

use twtrace_core::event::Timestamp;
use twtrace_core::event::quantity::duration;
use twtrace_core::model::coverage::Coverage;

/// Maximum number of gaps that are listed.
const SHOWN: usize = 3;

/// One line such as `history: 20 intervals, to 2026-11-25T03:20:00Z; ...`.
pub fn line(coverage: &Coverage, end: Timestamp) -> String {
    let mut parts = vec![format!(
        "history: {}, to {}",
        count(coverage.intervals, "interval"),
        to_the_second(end)
    )];
    let gaps: Vec<String> = coverage
        .gaps
        .iter()
        .take(SHOWN)
        .map(|gap| format!("{} to {}", to_the_second(gap.from), to_the_second(gap.to)))
        .collect();
    if !gaps.is_empty() {
        let more = coverage.gaps.len().saturating_sub(SHOWN) as u64 + coverage.more_gaps;
        let more = match more {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        parts.push(format!(
            "nothing is known of {} ({}{more})",
            duration(coverage.untraced_ns),
            gaps.join(", ")
        ));
    }
    if coverage.clock_changes > 0 {
        parts.push(format!(
            "the clock was set {}",
            count(coverage.clock_changes, "time")
        ));
    }
    if coverage.processes_folded > 0 {
        parts.push(format!(
            "{} had no row of their own and are summed up as lost",
            count(coverage.processes_folded, "process")
        ));
    }
    parts.push(
        "port pools are as they were when they were fullest, CLOSE_WAIT and memory as they were at the end"
            .to_owned(),
    );
    let mut line = parts.join("; ");
    line.push('\n');
    line
}

/// Such as `1 interval` or `2 intervals`.
fn count(number: u64, what: &str) -> String {
    let plural = match (number, what.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {what}{plural}")
}

/// Such as `2026-11-25T03:20:00Z`.
fn to_the_second(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_named() {
        let mut coverage = Coverage {
            intervals: 1,
            ..Coverage::default()
        };
        let end = Timestamp(1_700_000_000_000_000_000);
        assert_eq!(
            line(&coverage, end),
            "history: 1 interval, to 2023-11-14T22:13:20Z; port pools are as they were when they were fullest, \
             CLOSE_WAIT and memory as they were at the end\n"
        );
        for start_s in [10, 100, 200, 300, 400] {
            let at = |s: u64| Timestamp(s * 1_000_000_000);
            coverage.add_gap(at(start_s), at(start_s + 5));
        }
        (coverage.clock_changes, coverage.processes_folded) = (2, 1);
        let text = line(&coverage, end);
        for part in [
            "nothing is known of 25.0s (1970-01-01T00:00:10Z to 1970-01-01T00:00:15Z, ",
            ", and 2 more); the clock was set 2 times; 1 process had no row",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }
}
