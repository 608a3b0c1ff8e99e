//! Test results of a mutation, and the table at the end.

use std::{fmt, fmt::Write as _, time::Duration};

use super::list::{Mutation, Tests};
use crate::glob;

/// Maximum width of a row of the table, characters.
const WIDTH: usize = 150;

/// Results of one test run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Names of tests that passed.
    pub passed: Vec<String>,
    /// Lines about failed tests.
    pub failed: Vec<String>,
    /// Lines about tests that were not run.
    pub skipped: Vec<String>,
    /// Why it did not finish.
    pub trouble: Option<String>,
}

/// Result of a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MutationVerdict {
    /// A test failed: its line.
    Caught(String),
    /// All tests passed.
    Survived,
    /// It needs a guest, and none was requested.
    NotRun,
    /// There is no result: the list is wrong.
    Error(String),
}

impl MutationVerdict {
    /// From the tests that ran while the code was changed.
    pub fn of(ran: &Ran) -> Self {
        if let Some(first) = ran.failed.first() {
            let further = match ran.failed.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            return Self::Caught(format!("{first}{further}"));
        }
        match &ran.trouble {
            // If programs are not loaded, for example, that proves nothing about the tests.
            Some(trouble) => Self::Error(format!("the tests did not end: {trouble}")),
            None if ran.passed.is_empty() => {
                Self::Error(format!("none of its tests ran{}", first_of(&ran.skipped)))
            }
            None => Self::Survived,
        }
    }
}

/// Cuts out the middle if the line is too long: the name of the test is at the beginning, and the error at the end.
fn shortened(line: &str) -> String {
    let count = line.chars().count();
    if count <= WIDTH {
        return line.to_owned();
    }
    let head: String = line.chars().take(WIDTH / 2).collect();
    let tail: String = line.chars().skip(count - WIDTH / 2).collect();
    format!("{head} … {tail}")
}

fn first_of(lines: &[String]) -> String {
    lines
        .first()
        .map_or_else(String::new, |line| format!(": {line}"))
}

impl fmt::Display for MutationVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught(by) => write!(f, "caught by {by}"),
            Self::Survived => f.write_str("SURVIVED"),
            Self::NotRun => f.write_str("not run: it takes a guest (--guests)"),
            Self::Error(why) => write!(f, "ERROR {why}"),
        }
    }
}

/// Errors in a run of the unchanged code, for one kind of tests. `tests` are those of the mutations.
pub fn faults_of_unchanged<'a>(
    ran: &Ran,
    tests: impl IntoIterator<Item = &'a Tests>,
) -> Vec<String> {
    let mut faults: Vec<String> = ran.failed.clone();
    faults.extend(ran.trouble.clone());
    let mut patterns: Vec<(&str, bool)> = Vec::new();
    for tests in tests {
        match tests {
            Tests::Units { filters, .. } => {
                patterns.extend(filters.iter().map(|filter| (filter.as_str(), false)));
            }
            Tests::Scenarios { globs, .. } => {
                patterns.extend(globs.iter().map(|pattern| (pattern.as_str(), true)));
            }
        }
    }
    patterns.sort_unstable();
    patterns.dedup();
    for (pattern, is_glob) in patterns {
        let fits = |name: &String| {
            if is_glob {
                glob::matches(pattern, name)
            } else {
                name.contains(pattern)
            }
        };
        if !ran.passed.iter().any(fits) {
            faults.push(format!(
                "no test passed that {pattern:?} stands for{}",
                first_of(&ran.skipped)
            ));
        }
    }
    faults
}

/// Results of all mutations.
pub struct Results<'a> {
    /// Each mutation, its result, and its duration.
    pub rows: Vec<(&'a Mutation, MutationVerdict, Duration)>,
    /// Duration of the whole run.
    pub took: Duration,
}

impl Results<'_> {
    /// Whether there is nothing to do: no error, and no survivor without an explanation.
    pub fn are_well(&self) -> bool {
        self.rows
            .iter()
            .all(|(mutation, verdict, _)| match verdict {
                MutationVerdict::Caught(_) | MutationVerdict::NotRun => true,
                MutationVerdict::Survived => mutation.survives.is_some(),
                MutationVerdict::Error(_) => false,
            })
    }

    /// A row for each, and the totals.
    pub fn table(&self) -> String {
        let mut text = String::from("\n==== mutations ====\n");
        let width = self.rows.iter().map(|(it, ..)| it.name.len()).max();
        let width = width.unwrap_or(0);
        for (mutation, verdict, took) in &self.rows {
            let verdict = match (verdict, &mutation.survives) {
                (MutationVerdict::Survived, Some(why)) => format!("survived, as it may: {why}"),
                (MutationVerdict::Survived, None) => format!("SURVIVED: {}", mutation.breaks),
                (MutationVerdict::Caught(_), Some(_)) => {
                    format!("{verdict}; that it survives is no longer so")
                }
                _ => verdict.to_string(),
            };
            let line = format!(
                "{:width$}  {:>4} s  {verdict}",
                mutation.name,
                took.as_secs()
            );
            let _ = writeln!(text, "{}", shortened(&line));
        }
        let count = |is: fn(&MutationVerdict) -> bool| {
            let rows = self.rows.iter();
            rows.filter(|(_, verdict, _)| is(verdict)).count()
        };
        let explained = self
            .rows
            .iter()
            .filter(|(it, verdict, _)| {
                *verdict == MutationVerdict::Survived && it.survives.is_some()
            })
            .count();
        let _ = writeln!(
            text,
            "{} mutations: {} caught, {} survived ({explained} explained), {} not run, {} errors, in {} s",
            self.rows.len(),
            count(|verdict| matches!(verdict, MutationVerdict::Caught(_))),
            count(|verdict| matches!(verdict, MutationVerdict::Survived)),
            count(|verdict| matches!(verdict, MutationVerdict::NotRun)),
            count(|verdict| matches!(verdict, MutationVerdict::Error(_))),
            self.took.as_secs()
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mutations::list::{PlayedOn, Tests},
        test::scenarios::TierLimit,
    };

    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(|one| (*one).to_owned()).collect()
    }

    fn ran(passed: &[&str], failed: &[&str]) -> Ran {
        Ran {
            passed: strings(passed),
            failed: strings(failed),
            ..Ran::default()
        }
    }

    fn mutation(name: &str, survives: Option<&str>) -> Mutation {
        Mutation {
            name: name.to_owned(),
            file: "a".to_owned(),
            find: "x".to_owned(),
            replace: "y".to_owned(),
            occurrence: Default::default(),
            breaks: "all".to_owned(),
            tests: scenarios(&["a*"]),
            survives: survives.map(str::to_owned),
        }
    }

    fn results(rows: Vec<(&Mutation, MutationVerdict)>) -> Results<'_> {
        let took = Duration::from_secs(1);
        let rows = rows.into_iter().map(|(it, verdict)| (it, verdict, took));
        Results {
            rows: rows.collect(),
            took,
        }
    }

    fn scenarios(globs: &[&str]) -> Tests {
        Tests::Scenarios {
            place: PlayedOn {
                kernel: None,
                tier: TierLimit::Best,
            },
            globs: strings(globs),
        }
    }

    #[test]
    fn a_red_test_catches_whatever_came_later() {
        let mut red = ran(&["a"], &["FAIL b: 1, not 2", "FAIL c"]);
        let caught = MutationVerdict::Caught("FAIL b: 1, not 2 (and 1 more)".to_owned());
        assert_eq!(MutationVerdict::of(&red), caught);
        red.trouble = Some("it took too long".to_owned());
        assert_eq!(MutationVerdict::of(&red), caught);
    }

    #[test]
    fn green_tests_are_survival_only_if_they_ran_to_their_end() {
        assert_eq!(
            MutationVerdict::of(&ran(&["a"], &[])),
            MutationVerdict::Survived
        );
        assert!(matches!(
            MutationVerdict::of(&ran(&[], &[])),
            MutationVerdict::Error(_)
        ));
        let mut cut_off = ran(&["a"], &[]);
        cut_off.trouble = Some("exited with 101".to_owned());
        assert!(matches!(
            MutationVerdict::of(&cut_off),
            MutationVerdict::Error(_)
        ));
    }

    #[test]
    fn the_unchanged_code_must_be_green_and_every_name_stand_for_a_test() {
        let both = [scenarios(&["a/*", "b"]), scenarios(&["a/*"])];
        assert!(faults_of_unchanged(&ran(&["a/v4", "b"], &[]), &both).is_empty());
        let faults = faults_of_unchanged(&ran(&["a/v4"], &["FAIL b: x"]), &both);
        assert_eq!(
            faults,
            ["FAIL b: x", "no test passed that \"b\" stands for"]
        );
        let units = [Tests::Units {
            package: "p".to_owned(),
            filters: strings(&["filter::"]),
        }];
        assert!(faults_of_unchanged(&ran(&["cli::filter::tests::a"], &[]), &units).is_empty());
        assert_eq!(faults_of_unchanged(&ran(&["b"], &[]), &units).len(), 1);
    }

    #[test]
    fn the_middle_of_a_long_line_is_left_out() {
        let short = shortened(&format!("name {} end", "é".repeat(WIDTH)));
        assert!(short.starts_with("name éé") && short.ends_with("éé end"));
        assert_eq!(short.chars().count(), WIDTH + 3);
        assert_eq!(shortened("as it is"), "as it is");
    }

    #[test]
    fn only_explained_survivors_are_well() {
        let caught = || MutationVerdict::Caught("FAIL a: b".to_owned());
        let (plain, explained) = (mutation("a", None), mutation("bb", Some("it is the same")));
        let is_well = |rows| results(rows).are_well();
        assert!(is_well(vec![
            (&plain, caught()),
            (&explained, MutationVerdict::Survived)
        ]));
        assert!(is_well(vec![(&plain, MutationVerdict::NotRun)]));
        assert!(!is_well(vec![(&plain, MutationVerdict::Survived)]));
        assert!(!is_well(vec![(
            &plain,
            MutationVerdict::Error("x".to_owned())
        )]));
        let all = results(vec![
            (&plain, caught()),
            (&explained, MutationVerdict::Survived),
            (&plain, MutationVerdict::Survived),
        ]);
        let expected = "\n==== mutations ====\n\
            a      1 s  caught by FAIL a: b\n\
            bb     1 s  survived, as it may: it is the same\n\
            a      1 s  SURVIVED: all\n\
            3 mutations: 1 caught, 2 survived (1 explained), 0 not run, 0 errors, in 1 s\n";
        assert_eq!(all.table(), expected);
    }
}
