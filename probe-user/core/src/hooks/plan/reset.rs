//! RSTs, from full sockets and without one.

use super::{Attach, Behaviour, Candidate, Condition, Part, Plan, SKADDR, again, nothing};
use crate::hooks::{Hook, Question, Tier};

/// From 6.12 on.
const SENT_FIELDS: &[(&str, u32)] = &[("skbaddr", 8), ("skaddr", 16), ("reason", 28)];

const RECEIVED: Part = (
    "receive_reset_tracepoint",
    Attach::Tracepoint("tcp", "tcp_receive_reset", &[SKADDR]),
);

const SKIPPED: &str = "the kernel skips classic tracepoints while another eBPF program runs on that CPU: some may be missed";

const SKIPPED_AND_NO_REASON: &str = "this kernel gives no reason of its own with a RST, and skips classic tracepoints while another eBPF \
     program runs on that CPU: some may be missed";

pub const RESET: Plan = Plan {
    question: Question::Reset,
    candidates: &[
        Candidate {
            tier: Tier::RawTracepoint,
            hook: Some(Hook::RawTracepoint),
            condition: Condition::SendResetArguments(3),
            parts: &[
                (
                    "send_reset_reason_raw",
                    Attach::RawTracepoint("tcp_send_reset"),
                ),
                (
                    "receive_reset_raw",
                    Attach::RawTracepoint("tcp_receive_reset"),
                ),
            ],
            // Programs of tracepoints can be preempted in 7.x only, where this one has three arguments.
            second_chance: &[
                again(
                    &["send_reset_reason_raw"],
                    "send_reset_again_tracepoint",
                    Attach::Tracepoint("tcp", "tcp_send_reset", SENT_FIELDS),
                ),
                again(
                    &["receive_reset_raw"],
                    "receive_reset_again_tracepoint",
                    Attach::Tracepoint("tcp", "tcp_receive_reset", &[SKADDR]),
                ),
            ],
            behaviour: Behaviour::Same,
            lost: None,
        },
        Candidate {
            tier: Tier::RawTracepoint,
            hook: Some(Hook::RawTracepoint),
            condition: Condition::SendResetArguments(2),
            parts: &[
                ("send_reset_raw", Attach::RawTracepoint("tcp_send_reset")),
                (
                    "receive_reset_raw",
                    Attach::RawTracepoint("tcp_receive_reset"),
                ),
            ],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some("this kernel gives no reason of its own with a RST"),
        },
        Candidate {
            tier: Tier::Tracepoint,
            hook: Some(Hook::Tracepoint),
            condition: Condition::SendResetArguments(3),
            parts: &[
                (
                    "send_reset_reason_tracepoint",
                    Attach::Tracepoint("tcp", "tcp_send_reset", SENT_FIELDS),
                ),
                RECEIVED,
            ],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some(SKIPPED),
        },
        Candidate {
            tier: Tier::Tracepoint,
            hook: Some(Hook::Tracepoint),
            condition: Condition::SendResetArguments(2),
            parts: &[
                (
                    "send_reset_tracepoint",
                    Attach::Tracepoint("tcp", "tcp_send_reset", &[("skbaddr", 8), ("skaddr", 16)]),
                ),
                RECEIVED,
            ],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some(SKIPPED_AND_NO_REASON),
        },
        nothing("no RST is reported"),
    ],
};

pub const RESET_WITHOUT_SOCKET: Plan = Plan {
    question: Question::ResetWithoutSocket,
    candidates: &[
        Candidate {
            tier: Tier::RawTracepoint,
            hook: Some(Hook::RawTracepoint),
            condition: Condition::ResetsReportedAnyway,
            parts: &[],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: None,
        },
        Candidate {
            tier: Tier::Tracepoint,
            hook: Some(Hook::Tracepoint),
            condition: Condition::ResetsReportedAnyway,
            parts: &[],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some(SKIPPED),
        },
        Candidate {
            tier: Tier::Fentry,
            hook: Some(Hook::Fentry),
            condition: Condition::Always,
            parts: &[
                ("send_reset_v4_fentry", Attach::Fentry("tcp_v4_send_reset")),
                ("send_reset_v6_fentry", Attach::Fentry("tcp_v6_send_reset")),
            ],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: None,
        },
        Candidate {
            tier: Tier::Kprobe,
            hook: Some(Hook::Kprobe),
            condition: Condition::Always,
            parts: &[
                ("send_reset_kprobe", Attach::Kprobe("tcp_v4_send_reset")),
                ("send_reset_kprobe", Attach::Kprobe("tcp_v6_send_reset")),
            ],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some("the kernel skips kprobes while another eBPF program runs on that CPU"),
        },
        nothing(
            "RSTs that answer a segment without a socket, or for a TIME_WAIT socket, are not \
             reported: this kernel's tracepoint leaves them out",
        ),
    ],
};
