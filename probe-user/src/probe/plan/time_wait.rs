//! Births and ends of mini-sockets.

use super::{Attach, Behaviour, Candidate, Condition, Plan, nothing};
use crate::probe::{Hook, Question, Tier};

pub const TIME_WAIT: Plan = Plan {
    question: Question::TimeWait,
    candidates: &[
        Candidate {
            tier: Tier::Fentry,
            hook: Some(Hook::Fentry),
            condition: Condition::Always,
            parts: &[("twsk_alloc_fexit", Attach::Fexit("inet_twsk_alloc"))],
            second_chance: &[("twsk_alloc_again_fexit", Attach::Fexit("inet_twsk_alloc"))],
            behaviour: Behaviour::Same,
            lost: None,
        },
        Candidate {
            tier: Tier::Timer,
            hook: Some(Hook::Timers),
            condition: Condition::TimerHandlerKnown,
            parts: &[("timer_start_raw", Attach::RawTracepoint("timer_start"))],
            second_chance: &[(
                "timer_start_again_raw",
                Attach::RawTracepoint("timer_start"),
            )],
            behaviour: Behaviour::BirthsByTimer,
            lost: Some(
                "births are exact; a refused birth (tcp_max_tw_buckets) is inferred from the timer \
                 that never started",
            ),
        },
        Candidate {
            tier: Tier::Kprobe,
            hook: Some(Hook::Kprobe),
            condition: Condition::Always,
            parts: &[
                ("twsk_alloc_kretprobe", Attach::Kprobe("inet_twsk_alloc")),
                ("twsk_alloc_kprobe", Attach::Kprobe("inet_twsk_alloc")),
            ],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some(
                "the kernel skips kprobes while another eBPF program runs on that CPU: such births \
                 are inferred from the socket's states",
            ),
        },
        Candidate {
            tier: Tier::Inferred,
            hook: None,
            condition: Condition::Always,
            parts: &[],
            second_chance: &[],
            behaviour: Behaviour::BirthsInferred,
            lost: Some(
                "births are inferred from the socket's states: a refused birth \
                 (tcp_max_tw_buckets) looks like one that was made",
            ),
        },
    ],
};

pub const TIME_WAIT_END: Plan = Plan {
    question: Question::TimeWaitEnd,
    candidates: &[
        Candidate {
            tier: Tier::Fentry,
            hook: Some(Hook::Fentry),
            condition: Condition::Always,
            parts: &[("twsk_kill_fentry", Attach::Fentry("inet_twsk_kill"))],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: None,
        },
        Candidate {
            tier: Tier::Kprobe,
            hook: Some(Hook::Kprobe),
            condition: Condition::Always,
            parts: &[("twsk_kill_kprobe", Attach::Kprobe("inet_twsk_kill"))],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some(
                "the kernel skips kprobes while another eBPF program runs on that CPU: some ends \
                 may go uncounted",
            ),
        },
        nothing(
            "ends of TIME_WAITs are not counted; their makers are forgotten only when the table is full",
        ),
    ],
};
