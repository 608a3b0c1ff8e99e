//! The socket's states, and the process that called accept().

use super::{Attach, Behaviour, Candidate, Condition, Plan, SKADDR, SecondChance, again, nothing};
use crate::hooks::{Hook, Question, Tier};

const STATE_FIELDS: &[(&str, u32)] = &[SKADDR, ("oldstate", 16), ("newstate", 20)];

/// On kprobes, accept() is safe from preemption: their handlers run with it disabled.
const ACCEPT_AGAIN: &[SecondChance] = &[again(
    &["accept_fexit_4", "accept_fexit_2"],
    "accept_kretprobe",
    Attach::Kprobe("inet_csk_accept"),
)];

pub const STATE: Plan = Plan {
    question: Question::State,
    candidates: &[
        Candidate {
            tier: Tier::RawTracepoint,
            hook: Some(Hook::RawTracepoint),
            condition: Condition::Always,
            parts: &[
                ("state_raw", Attach::RawTracepoint("inet_sock_set_state")),
                ("destroy_raw", Attach::RawTracepoint("tcp_destroy_sock")),
            ],
            second_chance: &[
                again(
                    &["state_raw"],
                    "state_again_raw",
                    Attach::RawTracepoint("inet_sock_set_state"),
                ),
                again(
                    &["state_raw"],
                    "state_again_tracepoint",
                    Attach::Tracepoint("sock", "inet_sock_set_state", STATE_FIELDS),
                ),
                again(
                    &["destroy_raw"],
                    "destroy_again_tracepoint",
                    Attach::Tracepoint("tcp", "tcp_destroy_sock", &[SKADDR]),
                ),
            ],
            behaviour: Behaviour::Same,
            lost: None,
        },
        Candidate {
            tier: Tier::Tracepoint,
            hook: Some(Hook::Tracepoint),
            condition: Condition::Always,
            parts: &[
                (
                    "state_tracepoint",
                    Attach::Tracepoint("sock", "inet_sock_set_state", STATE_FIELDS),
                ),
                (
                    "destroy_tracepoint",
                    Attach::Tracepoint("tcp", "tcp_destroy_sock", &[SKADDR]),
                ),
            ],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some(
                "the kernel skips classic tracepoints while another eBPF program runs on that CPU: \
                 some transitions may be missed",
            ),
        },
    ],
};

pub const ACCEPT: Plan = Plan {
    question: Question::Accept,
    candidates: &[
        Candidate {
            tier: Tier::Fentry,
            hook: Some(Hook::Fentry),
            condition: Condition::Arguments("inet_csk_accept", 4),
            parts: &[("accept_fexit_4", Attach::Fexit("inet_csk_accept"))],
            second_chance: ACCEPT_AGAIN,
            behaviour: Behaviour::Same,
            lost: None,
        },
        Candidate {
            tier: Tier::Fentry,
            hook: Some(Hook::Fentry),
            condition: Condition::Arguments("inet_csk_accept", 2),
            parts: &[("accept_fexit_2", Attach::Fexit("inet_csk_accept"))],
            second_chance: ACCEPT_AGAIN,
            behaviour: Behaviour::Same,
            lost: None,
        },
        Candidate {
            tier: Tier::Kprobe,
            hook: Some(Hook::Kprobe),
            condition: Condition::Always,
            parts: &[("accept_kretprobe", Attach::Kprobe("inet_csk_accept"))],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some("the kernel skips kprobes while another eBPF program runs on that CPU"),
        },
        Candidate {
            tier: Tier::Syscall,
            hook: Some(Hook::Syscalls),
            condition: Condition::Always,
            parts: &[
                (
                    "accept_exit",
                    Attach::Tracepoint("syscalls", "sys_exit_accept", &[("ret", 16)]),
                ),
                (
                    "accept_exit",
                    Attach::Tracepoint("syscalls", "sys_exit_accept4", &[("ret", 16)]),
                ),
            ],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some("connections accepted through io_uring show no opener"),
        },
        nothing(
            "which process accepted a connection is not known; its closer is. A RST of a listener names the process \
             that called listen(), also if another one holds the listener by now",
        ),
    ],
};
