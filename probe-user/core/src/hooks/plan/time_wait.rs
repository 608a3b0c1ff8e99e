//! Births and ends of mini-sockets.

use super::{Attach, Behaviour, Candidate, Condition, Part, Plan, again, nothing};
use crate::hooks::{Hook, Question, Tier};

pub const TIME_WAIT: Plan = Plan {
    question: Question::TimeWait,
    candidates: &[
        Candidate {
            tier: Tier::Fentry,
            hook: Some(Hook::Fentry),
            condition: Condition::Always,
            parts: &[("twsk_alloc_fexit", Attach::Fexit("inet_twsk_alloc"))],
            second_chance: &[again(
                &["twsk_alloc_fexit"],
                "twsk_alloc_again_fexit",
                Attach::Fexit("inet_twsk_alloc"),
            )],
            behaviour: Behaviour::Same,
            lost: None,
        },
        Candidate {
            tier: Tier::Timer,
            hook: Some(Hook::Timers),
            condition: Condition::TimerHandlerKnown,
            parts: &[("timer_start_raw", Attach::RawTracepoint("timer_start"))],
            second_chance: &[again(
                &["timer_start_raw"],
                "timer_start_again_raw",
                Attach::RawTracepoint("timer_start"),
            )],
            behaviour: Behaviour::BirthsByTimer,
            lost: Some(
                "created TIME_WAITs are exact; a refused one (tcp_max_tw_buckets) is inferred from the timer \
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
                "the kernel skips kprobes while another eBPF program runs on that CPU: such TIME_WAITs are looked up \
                 in the kernel's table of connections; one that is not there counts as refused",
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
                "TIME_WAITs are looked up in the kernel's table of connections when a socket closes; a \
                 refused one (tcp_max_tw_buckets) is inferred if it is missing there. Where that table \
                 can't be read (5.18 to 6.0), TIME_WAITs are inferred from the socket's states, and RSTs for data after \
                 close have no process",
            ),
        },
    ],
};

/// The function that every end passes through, and those that distinguish expiry and reuse from the rest.
const END_BY_FENTRY: [Part; 3] = [
    ("twsk_kill_fentry", Attach::Fentry("inet_twsk_kill")),
    ("tw_timer_fentry", Attach::Fentry("tw_timer_handler")),
    ("twsk_unique_fexit", Attach::Fexit("tcp_twsk_unique")),
];
const SEGMENT: &str = "tcp_timewait_state_process";

const fn end_by_fentry(arguments: usize, parts: &'static [Part]) -> Candidate {
    Candidate {
        tier: Tier::Fentry,
        hook: Some(Hook::Fentry),
        condition: Condition::Arguments(SEGMENT, arguments),
        parts,
        second_chance: &[],
        behaviour: Behaviour::Same,
        lost: None,
    }
}

const fn with_segment(program: &'static str) -> [Part; 4] {
    let [kill, timer, unique] = END_BY_FENTRY;
    [kill, timer, unique, (program, Attach::Fexit(SEGMENT))]
}

pub const TIME_WAIT_END: Plan = Plan {
    question: Question::TimeWaitEnd,
    candidates: &[
        end_by_fentry(3, &with_segment("tw_segment_fexit_3")),
        end_by_fentry(4, &with_segment("tw_segment_fexit_4")),
        end_by_fentry(5, &with_segment("tw_segment_fexit_5")),
        Candidate {
            tier: Tier::Timer,
            hook: Some(Hook::Timers),
            condition: Condition::BirthsByTimer,
            parts: &[
                (
                    "timer_expire_raw",
                    Attach::RawTracepoint("timer_expire_entry"),
                ),
                ("timer_cancel_raw", Attach::RawTracepoint("timer_cancel")),
            ],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some(
                "a TIME_WAIT that ends otherwise than by expiry, by reuse or with its namespace is reported a \
                 second later, as reopened if a connection of its tuple was established by then, else as \
                 killed; one that ends so after its time, before its timer ran, is not reported; when the peer's FIN \
                 came is known only if it came late; why a connect() could not reuse one is not known",
            ),
        },
        Candidate {
            tier: Tier::Kprobe,
            hook: Some(Hook::Kprobe),
            condition: Condition::Always,
            parts: &[
                ("twsk_kill_kprobe", Attach::Kprobe("inet_twsk_kill")),
                ("tw_timer_kprobe", Attach::Kprobe("tw_timer_handler")),
                ("twsk_unique_kretprobe", Attach::Kprobe("tcp_twsk_unique")),
                ("twsk_unique_kprobe", Attach::Kprobe("tcp_twsk_unique")),
                ("tw_segment_kretprobe", Attach::Kprobe(SEGMENT)),
                ("tw_segment_kprobe", Attach::Kprobe(SEGMENT)),
            ],
            second_chance: &[again(
                &["tw_timer_kprobe"],
                "timer_expire_again_raw",
                Attach::RawTracepoint("timer_expire_entry"),
            )],
            behaviour: Behaviour::Same,
            lost: Some(
                "the kernel skips kprobes while another eBPF program runs on that CPU: some ends other than by \
                 expiry may not be reported, or be reported as killed",
            ),
        },
        Candidate {
            tier: Tier::Inferred,
            ..nothing(
                "ends of TIME_WAITs are inferred: after a minute (or tcp_tw_timeout), or when another connection of the \
                 tuple or a scan of the kernel's sockets, every five seconds, shows that one has ended: an early end may \
                 be reported late, or as an expiry; why a connect() could not reuse one is not known",
            )
        },
    ],
};
