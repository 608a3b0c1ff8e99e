//! What the kernel skipped programs for, and no other program recovered.
//!
//! The kernel counts skipped runs (`recursion_misses`), not the events that they concerned. Programs whose hooks are
//! run one after the other in one call are skipped independently, so an event is lost only if all programs that could
//! have seen it were skipped: at most as many as the smallest of their counts.

use super::{Candidate, PLANS, Part, candidates};
use crate::hooks::{Choice, Question};

/// If programs can't be preempted, only softirq can reach this one during its run, with a →CLOSE, and
/// `tcp_destroy_sock` comes after that.
const STATE_WITHOUT_PREEMPTION: (&str, &str) = ("state_raw", "destroy_raw");

/// Programs whose events can also be derived from the socket's states: at →CLOSE births are found in the kernel's
/// table, and SYN_SENT appears without a system call that was seen.
const MADE_GOOD_BY_STATES: &[&str] =
    &["twsk_alloc_kretprobe", "twsk_alloc_kprobe", "connect_enter"];
const STATES: &[&str] = &["state_raw", "state_tracepoint"];

/// Skipped runs of a program that nothing else recovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The capability it provides.
    pub question: Question,
    /// Its name.
    pub program: String,
    /// Maximum number of missing events.
    pub count: u64,
}

/// What is missing, by program, given the skipped runs of all loaded programs.
pub fn missed(tiers: &[Choice], misses: &[(&str, u64)]) -> Vec<Missed> {
    let of = |program: &str| {
        let mut programs = misses.iter();
        programs.find_map(|(name, count)| (*name == program).then_some(*count))
    };
    let mut missed = Vec::new();
    for choice in tiers {
        for program in programs(choice, &|program| of(program).is_some()) {
            let count = lost(program, &of);
            if count > 0 {
                missed.push(Missed {
                    question: choice.question,
                    program: program.to_owned(),
                    count,
                });
            }
        }
    }
    missed
}

/// The programs of the tier, each once.
fn programs(choice: &Choice, is_loaded: &dyn Fn(&str) -> bool) -> Vec<&'static str> {
    let plans = PLANS.iter().filter(|plan| plan.question == choice.question);
    let is_chosen = |candidate: &&Candidate| {
        candidate.tier == choice.tier && candidate.parts.iter().all(|(name, _)| is_loaded(name))
    };
    let chosen = plans.flat_map(|plan| plan.candidates).find(is_chosen);
    let parts: &[Part] = chosen.map_or(&[], |candidate| candidate.parts);
    let mut names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Number of missing events of a program, given the skipped runs of the loaded ones.
fn lost(program: &str, of: &dyn Fn(&str) -> Option<u64>) -> u64 {
    let skipped = of(program).unwrap_or(0);
    let chances = candidates().flat_map(|candidate| candidate.second_chance);
    let chances = chances.filter(|chance| chance.of.contains(&program));
    let least = chances.filter_map(|chance| of(chance.part.0)).min();
    let least = match (least, STATE_WITHOUT_PREEMPTION) {
        (None, (state, destroy)) if program == state => of(destroy),
        _ if MADE_GOOD_BY_STATES.contains(&program) => {
            let states = STATES.iter().filter(|state| of(state).is_some());
            states.map(|state| lost(state, of)).min()
        }
        (least, _) => least,
    };
    least.map_or(skipped, |least| skipped.min(least))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::Tier;
    use crate::hooks::plan::all_parts;

    fn of(question: Question, tier: Tier, misses: &[(&str, u64)]) -> Vec<(String, u64)> {
        let missed = missed(&[Choice::sample(question, tier)], misses);
        missed
            .into_iter()
            .map(|missed| (missed.program, missed.count))
            .collect()
    }

    #[test]
    fn each_program_is_one_of_the_table() {
        let names: Vec<&str> = candidates()
            .flat_map(all_parts)
            .map(|part| part.0)
            .collect();
        let (state, destroy) = STATE_WITHOUT_PREEMPTION;
        let others = [STATES, MADE_GOOD_BY_STATES, &[state, destroy]].concat();
        for name in others {
            assert!(names.contains(&name), "{name}");
        }
    }

    /// Where a second chance names a program that does not exist, its tier would be inexact without reason.
    #[test]
    fn each_second_chance_recovers_a_program_of_its_tier() {
        for candidate in candidates() {
            for chance in candidate.second_chance {
                let is_recovered = |(name, _): &Part| chance.of.contains(name);
                assert!(candidate.parts.iter().any(is_recovered), "{chance:?}");
                for first in chance.of {
                    let mut parts = candidates().flat_map(|candidate| candidate.parts);
                    assert!(parts.any(|(name, _)| name == first), "{first}");
                }
            }
        }
    }

    #[test]
    fn what_a_second_program_saw_is_not_missing() {
        let state = |misses: &[(&str, u64)]| of(Question::State, Tier::RawTracepoint, misses);
        let (raw, destroy) = (("state_raw", 100), ("destroy_raw", 0));
        let seconds = [("state_again_raw", 3), ("destroy_again_tracepoint", 0)];
        let third = |count| ("state_again_tracepoint", count);
        let all = |count| [&[raw, destroy, third(count)], &seconds[..]].concat();
        assert!(state(&all(0)).is_empty());
        assert_eq!(state(&all(2)), [("state_raw".to_owned(), 2)]);
        assert_eq!(state(&all(7)), [("state_raw".to_owned(), 3)]);
        // If no program is preempted, there are no second chances, and none is needed.
        assert!(state(&[raw, destroy]).is_empty());
        let both = [raw, ("destroy_raw", 4)];
        assert_eq!(
            state(&both),
            [("destroy_raw".to_owned(), 4), ("state_raw".to_owned(), 4)]
        );
    }

    #[test]
    fn what_nothing_else_sees_is_missing() {
        let calls = [
            ("bind_enter", 0),
            ("listen_enter", 0),
            ("connect_enter", 50),
            ("port_exit", 116),
        ];
        let port = |states: (&'static str, u64)| {
            let misses = [&calls[..], &[states, ("destroy_raw", 0)]].concat();
            of(Question::Port, Tier::Syscall, &misses)
        };
        // A connect() that was not seen is seen in SYN_SENT; a return is seen nowhere else.
        let exit = ("port_exit".to_owned(), 116);
        assert_eq!(port(("state_raw", 9)), vec![exit.clone()]);
        let connect = ("connect_enter".to_owned(), 9);
        assert_eq!(port(("state_tracepoint", 9)), [connect, exit]);
        let states = [("state_tracepoint", 2), ("destroy_tracepoint", 0)];
        assert_eq!(
            of(Question::State, Tier::Tracepoint, &states),
            [("state_tracepoint".to_owned(), 2)]
        );
    }

    #[test]
    fn births_that_a_kprobe_missed_are_inferred() {
        let kprobes = [("twsk_alloc_kprobe", 3), ("twsk_alloc_kretprobe", 2)];
        let states = [("state_raw", 0), ("destroy_raw", 0)];
        let misses = [kprobes, states].concat();
        assert!(of(Question::TimeWait, Tier::Kprobe, &misses).is_empty());
        assert_eq!(of(Question::TimeWait, Tier::Kprobe, &kprobes).len(), 2);
    }

    #[test]
    fn a_tier_that_is_not_attached_misses_nothing() {
        assert!(of(Question::Port, Tier::Fentry, &[("port_exit", 5)]).is_empty());
        assert!(of(Question::TimeWait, Tier::Inferred, &[("port_exit", 5)]).is_empty());
    }
}
