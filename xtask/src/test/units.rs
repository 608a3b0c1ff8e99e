//! Parses the output of `cargo test`.

/// Unit and property tests of all packages. The output of a test that itself runs filtered tests is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestCounts {
    /// Tests that passed.
    pub passed: u32,
    /// Tests that are marked `#[ignore]`.
    pub left_out: u32,
}

impl TestCounts {
    /// Takes one line of output.
    pub fn take(&mut self, line: &str) {
        if let Some((passed, left_out)) = parse(line) {
            self.passed += passed;
            self.left_out += left_out;
        }
    }
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn parse(line: &str) -> Option<(u32, u32)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| -> Option<u32> {
        let part = counts.split("; ").find_map(|part| part.strip_suffix(word));
        part?.trim().parse().ok()
    };
    (count(" filtered out")? == 0).then_some((count(" passed")?, count(" ignored")?))
}

/// Whether a line only reports that one test passed: there are a thousand of them.
pub fn is_noise(line: &str) -> bool {
    line.starts_with("test ") && line.ends_with(" ... ok") || matches!(line, "" | "running 0 tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_packages_are_added() {
        let mut counts = TestCounts::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 535 filtered out; finished in 3.53s",
            "test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            "test result: odd",
        ] {
            counts.take(line);
        }
        let expected = TestCounts {
            passed: 7,
            left_out: 1,
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn only_what_passed_is_noise() {
        assert!(is_noise("test model::tests::a ... ok"));
        assert!(!is_noise("test model::tests::a ... FAILED"));
        assert!(!is_noise("running 3 tests"));
    }
}
