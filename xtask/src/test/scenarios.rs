//! Reading what the scenario runner prints: `ok   name`, `SKIP name: reason`, `FAIL name: what`, and the
//! line of counts at the end.

/// The tiers in which scenarios run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Whatever the kernel allows.
    Best,
    /// Without fentry and fexit: kprobes.
    NoFentry,
    /// Without kprobes too.
    Tracepoints,
    /// Without raw tracepoints and anything better: classic ones.
    Classic,
    /// Without timer tracepoints too: TIME_WAITs inferred from states.
    Inferred,
}

impl Tier {
    /// As the runner's `--tier` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::NoFentry => "no-fentry",
            Self::Tracepoints => "tracepoints",
            Self::Classic => "classic",
            Self::Inferred => "inferred",
        }
    }
}

/// The counts of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Scenarios that showed what they should.
    pub passed: u32,
    /// Those that did not.
    pub failed: u32,
    /// Those that this kernel, tier or machine can't run.
    pub skipped: u32,
}

/// What one run of the runner printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// From the last line; none if the runner did not come to its end.
    pub counts: Option<Counts>,
    /// Failures and skips with their reasons, as printed.
    pub remarks: Vec<String>,
}

impl Outcome {
    /// Takes one line of output.
    pub fn take(&mut self, line: &str) {
        if line.starts_with("SKIP ") || line.starts_with("FAIL ") {
            self.remarks.push(line.to_owned());
        } else if let Some(counts) = parse_counts(line) {
            self.counts = Some(counts);
        }
    }
}

/// `N passed, N failed, N skipped`.
fn parse_counts(line: &str) -> Option<Counts> {
    let mut parts = line.trim().split(", ").map(|part| part.split_once(' '));
    let mut count = |word: &str| match parts.next() {
        Some(Some((number, what))) if what == word => number.parse().ok(),
        _ => None,
    };
    Some(Counts {
        passed: count("passed")?,
        failed: count("failed")?,
        skipped: count("skipped")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_remarks_are_read() {
        let mut outcome = Outcome::default();
        for line in [
            "PASS a",
            "SKIP b: no MPTCP",
            "  detail",
            "FAIL c: off by one",
            "1 passed, 1 failed, 1 skipped",
        ] {
            outcome.take(line);
        }
        assert_eq!(
            outcome.counts,
            Some(Counts {
                passed: 1,
                failed: 1,
                skipped: 1
            })
        );
        assert_eq!(outcome.remarks, ["SKIP b: no MPTCP", "FAIL c: off by one"]);
    }

    #[test]
    fn other_lines_are_no_counts() {
        assert_eq!(parse_counts("3 passed"), None);
        assert_eq!(parse_counts("x passed, 1 failed, 0 skipped"), None);
    }
}
