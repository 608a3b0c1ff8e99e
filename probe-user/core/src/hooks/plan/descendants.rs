//! New processes.

use super::{Attach, Behaviour, Candidate, Condition, Part, Plan, again, nothing};
use crate::hooks::{Hook, Question, Tier};

const NAME: &str = "sched_process_fork";

/// Older kernels (5.10) have both names in the record itself, newer ones (6.18) only their positions.
const WITH_NAMES: Part = (
    "fork_tracepoint_44",
    Attach::Tracepoint("sched", NAME, &[("child_pid", 44)]),
);
const WITHOUT_NAMES: Part = (
    "fork_tracepoint_20",
    Attach::Tracepoint("sched", NAME, &[("child_pid", 20)]),
);

const fn by_tracepoint(parts: &'static [Part]) -> Candidate {
    Candidate {
        tier: Tier::Tracepoint,
        hook: Some(Hook::Tracepoint),
        condition: Condition::Always,
        parts,
        second_chance: &[],
        behaviour: Behaviour::Same,
        lost: Some(
            "the kernel skips classic tracepoints while another eBPF program runs on that CPU: a process that \
             the command starts may be missed, with all that it starts",
        ),
    }
}

pub const DESCENDANTS: Plan = Plan {
    question: Question::Descendants,
    candidates: &[
        Candidate {
            tier: Tier::RawTracepoint,
            hook: Some(Hook::RawTracepoint),
            condition: Condition::Always,
            parts: &[("fork_raw", Attach::RawTracepoint(NAME))],
            // Programs of tracepoints can be preempted in 7.x only, which has the later record.
            second_chance: &[again(
                &["fork_raw"],
                "fork_again_tracepoint_20",
                Attach::Tracepoint("sched", NAME, &[("child_pid", 20)]),
            )],
            behaviour: Behaviour::Same,
            lost: None,
        },
        by_tracepoint(&[WITHOUT_NAMES]),
        by_tracepoint(&[WITH_NAMES]),
        nothing(
            "a command's descendants can't be distinguished from other processes: -- COMMAND is refused",
        ),
    ],
};
