//! Ephemeral port allocation.

use super::{Attach, Behaviour, Candidate, Condition, Part, Plan, SecondChance, again, nothing};
use crate::hooks::{Hook, Question, Tier};

/// kprobes of the three functions and of their returns.
const BY_KPROBE: &[Part] = &[
    ("port_kretprobe", Attach::Kprobe("inet_csk_get_port")),
    ("port_kretprobe", Attach::Kprobe("inet_hash_connect")),
    ("port_kretprobe", Attach::Kprobe("inet6_hash_connect")),
    ("get_port_kprobe", Attach::Kprobe("inet_csk_get_port")),
    ("hash_connect_kprobe", Attach::Kprobe("inet_hash_connect")),
    ("hash_connect_kprobe", Attach::Kprobe("inet6_hash_connect")),
];

/// The same, for what the programs by fentry missed. A kretprobe shares its program, and the count of its skipped runs,
/// among the functions.
const BY_KPROBE_AGAIN: &[SecondChance] = &[
    of(&["get_port_fexit"], BY_KPROBE[0]),
    of(&["hash_connect_fexit"], BY_KPROBE[1]),
    of(&["hash_connect6_fexit"], BY_KPROBE[2]),
    of(&["get_port_fentry"], BY_KPROBE[3]),
    of(&["hash_connect_fentry"], BY_KPROBE[4]),
    of(&["hash_connect6_fentry"], BY_KPROBE[5]),
];

const fn of(programs: &'static [&'static str], (program, attach): Part) -> SecondChance {
    again(programs, program, attach)
}

pub const PORT: Plan = Plan {
    question: Question::Port,
    candidates: &[
        Candidate {
            tier: Tier::Fentry,
            hook: Some(Hook::Fentry),
            condition: Condition::Always,
            parts: &[
                ("get_port_fexit", Attach::Fexit("inet_csk_get_port")),
                ("hash_connect_fexit", Attach::Fexit("inet_hash_connect")),
                ("hash_connect6_fexit", Attach::Fexit("inet6_hash_connect")),
                ("get_port_fentry", Attach::Fentry("inet_csk_get_port")),
                ("hash_connect_fentry", Attach::Fentry("inet_hash_connect")),
                ("hash_connect6_fentry", Attach::Fentry("inet6_hash_connect")),
            ],
            second_chance: BY_KPROBE_AGAIN,
            behaviour: Behaviour::Same,
            lost: None,
        },
        Candidate {
            tier: Tier::Kprobe,
            hook: Some(Hook::Kprobe),
            condition: Condition::Always,
            parts: BY_KPROBE,
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some(
                "the kernel skips kprobes while another eBPF program runs on that CPU: some allocations \
                 may not be counted",
            ),
        },
        Candidate {
            tier: Tier::Syscall,
            hook: Some(Hook::Syscalls),
            condition: Condition::Always,
            parts: &[
                (
                    "port_exit",
                    Attach::Tracepoint("syscalls", "sys_exit_bind", &[("ret", 16)]),
                ),
                (
                    "port_exit",
                    Attach::Tracepoint("syscalls", "sys_exit_listen", &[("ret", 16)]),
                ),
                (
                    "port_exit",
                    Attach::Tracepoint("syscalls", "sys_exit_connect", &[("ret", 16)]),
                ),
                (
                    "bind_enter",
                    Attach::Tracepoint(
                        "syscalls",
                        "sys_enter_bind",
                        &[("fd", 16), ("umyaddr", 24)],
                    ),
                ),
                (
                    "listen_enter",
                    Attach::Tracepoint("syscalls", "sys_enter_listen", &[("fd", 16)]),
                ),
                (
                    "connect_enter",
                    Attach::Tracepoint(
                        "syscalls",
                        "sys_enter_connect",
                        &[("fd", 16), ("uservaddr", 24)],
                    ),
                ),
            ],
            second_chance: &[],
            behaviour: Behaviour::PortsBySyscall,
            lost: Some(
                "a latency is that of the system call, an upper bound; a connect() that waits for its \
                 handshake, or comes by sendto(MSG_FASTOPEN), io_uring or a 32-bit program, is counted without \
                 one; bind() and listen() by io_uring or a 32-bit program are not seen, nor why a connect() \
                 could not reuse a TIME_WAIT; the kernel skips these hooks while a map is being read on \
                 that CPU: an allocation may not be counted",
            ),
        },
        nothing("no port allocation is reported"),
    ],
};
