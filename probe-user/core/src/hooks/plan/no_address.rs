//! Calls that fail for want of an address on this host, before they look for a port.

use super::{Attach, Behaviour, Candidate, Condition, Part, Plan, nothing};
use crate::hooks::{Hook, Question, Tier};

const BIND: Part = ("bind_fexit", Attach::Fexit("__inet_bind"));

pub const NO_ADDRESS: Plan = Plan {
    question: Question::NoAddress,
    candidates: &[
        Candidate {
            tier: Tier::Fentry,
            hook: Some(Hook::Fentry),
            condition: Condition::Arguments("__inet6_bind", 4),
            parts: &[
                BIND,
                ("bind6_fexit", Attach::Fexit("__inet6_bind")),
                ("connect6_fexit", Attach::Fexit("tcp_v6_connect")),
            ],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: None,
        },
        Candidate {
            tier: Tier::Fentry,
            hook: Some(Hook::Fentry),
            condition: Condition::Without("__inet6_bind"),
            parts: &[BIND],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some("only bind() of IPv4 sockets is seen: IPv6 is a module of this kernel"),
        },
        Candidate {
            tier: Tier::Syscall,
            hook: Some(Hook::Syscalls),
            condition: Condition::PortsBySyscall,
            parts: &[],
            second_chance: &[],
            behaviour: Behaviour::Same,
            lost: Some(
                "bind() and connect() by io_uring or of a 32-bit program are not seen, nor connect() of an MPTCP \
                 socket",
            ),
        },
        nothing(
            "no bind() or connect() that fails for want of an address on this host is reported",
        ),
    ],
};
