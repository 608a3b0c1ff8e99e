use std::time::Duration;

use super::*;
use crate::test::{
    plan,
    result::tests::outcome,
    scenarios::{RunnerOutput, ScenarioCounts},
    units::TestCounts,
};

const FILE: &str = r#"
# Why.
machine_kernel = "6.18"

[phases]
"unit and property tests" = { passed = 900 }
"this machine best" = { passed = 20, skipped = 1 }
# Another comment.
"kernel 5.10 best" = { passed = 10, skipped = 1 }

[[skip]]
phase = "kernel 5.10 *"
scenario = "protocols/mptcp*"
reason = "no Mptcp"
"#;

fn expected() -> ExpectedNumbers {
    ExpectedNumbers::parse(FILE).unwrap()
}

fn phase(name: &str, numbers: Numbers, verdict: PhaseVerdict) -> PhaseResult {
    PhaseResult {
        numbers,
        ..PhaseResult::new(name, Duration::from_secs(1), verdict)
    }
}

fn scenarios(name: &str, numbers: Numbers, passed: u32, skipped: u32) -> PhaseResult {
    let outcome = RunnerOutput {
        counts: Some(ScenarioCounts {
            passed,
            failed: 0,
            skipped,
        }),
        ..RunnerOutput::default()
    };
    phase(name, numbers, PhaseVerdict::Scenarios(outcome))
}

#[test]
fn numbers_must_be_the_same() {
    let wrong = |passed, skipped| {
        let result = scenarios("kernel 5.10 best", Numbers::Same, passed, skipped);
        expected().wrong_numbers(&result)
    };
    assert_eq!(wrong(10, 1), None);
    for few in [wrong(9, 1), wrong(9, 2), wrong(0, 11)] {
        let few = few.unwrap();
        assert!(few.contains("too few") || few.contains("none"), "{few}");
    }
    for many in [wrong(11, 1), wrong(10, 2), wrong(11, 0)] {
        assert!(many.unwrap().starts_with("update tests/expected.toml"));
    }
    let unknown = scenarios("kernel 9.9 best", Numbers::Same, 1, 0);
    assert!(expected().wrong_numbers(&unknown).is_some());
}

#[test]
fn a_part_of_a_phase_has_no_numbers() {
    let part = scenarios("kernel 5.10 best", Numbers::Any, 1, 0);
    assert_eq!(expected().wrong_numbers(&part), None);
    let none = scenarios("kernel 5.10 best", Numbers::Any, 0, 0);
    assert_eq!(expected().wrong_numbers(&none), None);
}

#[test]
fn another_kernel_may_have_other_protocols() {
    let numbers = |release| expected().on_machine(release);
    assert_eq!(numbers("6.18.44-vm"), Numbers::Same);
    assert_eq!(numbers("6.1.0"), Numbers::SameSum);
    assert_eq!(numbers("6.180.1"), Numbers::SameSum);
    let wrong = |passed, skipped| {
        let result = scenarios("this machine best", Numbers::SameSum, passed, skipped);
        expected().wrong_numbers(&result)
    };
    assert_eq!(wrong(21, 0), None);
    assert_eq!(wrong(18, 3), None);
    assert!(wrong(20, 0).is_some());
    assert!(wrong(22, 0).is_some());
}

#[test]
fn unit_tests_may_become_more() {
    let wrong = |passed, left_out| {
        let tests = TestCounts { passed, left_out };
        let name = "unit and property tests";
        expected().wrong_numbers(&phase(name, Numbers::AtLeast, PhaseVerdict::Tests(tests)))
    };
    assert_eq!(wrong(901, 0), None);
    assert!(wrong(899, 0).is_some());
    assert!(wrong(0, 900).is_some());
}

#[test]
fn only_listed_skips_are_allowed() {
    let wrong = |phase_name: &str, line: &str| {
        let lines = [line, "1 passed, 0 failed, 1 skipped"];
        let verdict = PhaseVerdict::Scenarios(outcome(&lines));
        let result = phase(phase_name, Numbers::Any, verdict);
        expected().wrong_skips(&result).len()
    };
    let listed = "SKIP protocols/mptcp/v4: this kernel has no Mptcp: not supported";
    assert_eq!(wrong("kernel 5.10 best", listed), 0);
    assert_eq!(wrong("kernel 6.1 best", listed), 1, "another kernel");
    assert_eq!(
        wrong(
            "kernel 5.10 best",
            "SKIP protocols/sctp: this kernel has no Mptcp"
        ),
        1,
        "another scenario"
    );
    assert_eq!(
        wrong("kernel 5.10 best", "SKIP protocols/mptcp/v4: no time"),
        1,
        "another reason"
    );
}

#[test]
fn numbers_of_a_run_are_written_between_the_comments() {
    let tests = TestCounts {
        passed: 950,
        left_out: 0,
    };
    let results = [
        phase("fmt", Numbers::Any, PhaseVerdict::Well),
        phase(
            "unit and property tests",
            Numbers::AtLeast,
            PhaseVerdict::Tests(tests),
        ),
        scenarios("this machine best", Numbers::SameSum, 21, 0),
        scenarios("kernel 5.10 best", Numbers::Same, 10, 1),
        scenarios("kernel 6.1 best", Numbers::Same, 12, 0),
        // With KVM.
        scenarios("kernel 6.12 best", Numbers::AtLeast, 40, 0),
    ];
    let (new, changed) = rewrite::rewrite(FILE, &results, "6.20.1-x").unwrap();
    assert_eq!(changed, 4);
    let wanted = FILE
        .replace("6.18", "6.20")
        .replace("900", "950")
        .replace("{ passed = 20, skipped = 1 }", "{ passed = 21 }")
        .replace(
            "skipped = 1 }\n\n",
            "skipped = 1 }\n\"kernel 6.1 best\" = { passed = 12 }\n\n",
        );
    assert_eq!(new, wanted);
    ExpectedNumbers::parse(&new).unwrap();
    let (again, changed) = rewrite::rewrite(&new, &results, "6.20.1-x").unwrap();
    assert_eq!((again, changed), (new, 0));
}

#[test]
fn numbers_of_a_run_that_failed_are_not_written() {
    let results = [phase(
        "fmt",
        Numbers::Any,
        PhaseVerdict::Failed("x".to_owned()),
    )];
    assert!(rewrite::rewrite(FILE, &results, "6.18").is_err());
    let none = [scenarios("kernel 5.10 best", Numbers::Same, 0, 3)];
    assert!(rewrite::rewrite(FILE, &none, "6.18").is_err());
    let ill = PhaseResult {
        faults: vec!["a skip".to_owned()],
        ..scenarios("kernel 5.10 best", Numbers::Same, 10, 1)
    };
    assert!(rewrite::rewrite(FILE, &[ill], "6.18").is_err());
}

#[test]
fn the_file_of_this_workspace_knows_every_phase() {
    let file = ExpectedNumbers::parse(include_str!("../../../../tests/expected.toml")).unwrap();
    let phases = plan::everything()
        .iter()
        .flat_map(plan::Unit::counted_phases)
        .collect::<std::collections::BTreeSet<_>>();
    let known = file.phases.keys().cloned().collect();
    assert_eq!(phases, known);
    for entry in &file.skip {
        assert!(
            phases
                .iter()
                .any(|phase| glob::matches(&entry.phase, phase)),
            "no phase {}",
            entry.phase
        );
        assert!(!entry.reason.is_empty(), "{}", entry.scenario);
    }
}
