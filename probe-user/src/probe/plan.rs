//! The tier table: for each question the hooks that can answer it, best first.

use super::{Hook, Question, Tier};

/// How one program of the object is attached.
#[derive(Clone, Copy, Debug)]
pub enum Attach {
    /// Raw tracepoint of this name.
    RawTracepoint(&'static str),
    /// Classic tracepoint: category, name, and the fields whose offsets the program takes for granted.
    Tracepoint(&'static str, &'static str, &'static [(&'static str, u32)]),
    /// fentry of this function.
    Fentry(&'static str),
    /// fexit of this function.
    Fexit(&'static str),
    /// kprobe or kretprobe (the object's section says which) on this function.
    Kprobe(&'static str),
}

/// One program and where it goes. A program may appear several times with different places.
pub type Part = (&'static str, Attach);

/// What must hold before it is worth trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// The raw tracepoint `tcp_send_reset` passes this many arguments.
    SendResetArguments(usize),
    /// `inet_csk_accept` takes this many arguments.
    AcceptArguments(usize),
    /// kallsyms shows `tw_timer_handler`.
    TimerHandlerKnown,
    /// The raw tracepoint that answers resets of full sockets also reports those without.
    ResetsReportedAnyway,
}

/// What a tier changes in programs that other questions share, by way of the programs' constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Nothing.
    Same,
    /// Births are seen by the timer of the mini-socket.
    BirthsByTimer,
    /// Port searches are seen by their system calls.
    PortsBySyscall,
}

/// One tier of a question.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its name.
    pub tier: Tier,
    /// The option that switches it off; `None` where nothing does.
    pub hook: Option<Hook>,
    /// When to try.
    pub condition: Condition,
    /// What to load and attach: all of it, or the tier is refused.
    pub parts: &'static [Part],
    /// What it changes elsewhere.
    pub behaviour: Behaviour,
    /// What it can't know.
    pub lost: Option<&'static str>,
}

/// A question and its tiers.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The question.
    pub question: Question,
    /// Best first.
    pub candidates: &'static [Candidate],
}

const SKADDR: (&str, u32) = ("skaddr", 8);

const fn nothing(lost: &'static str) -> Candidate {
    Candidate {
        tier: Tier::None,
        hook: None,
        condition: Condition::Always,
        parts: &[],
        behaviour: Behaviour::Same,
        lost: Some(lost),
    }
}

/// In the order of attaching. First those whose tier decides how other programs behave ([`Behaviour`]);
/// births before states, so that no end of a connection is taken for a birth that was missed.
pub const PLANS: &[Plan] = &[
    Plan {
        question: Question::TimeWait,
        candidates: &[
            Candidate {
                tier: Tier::Fentry,
                hook: Some(Hook::Fentry),
                condition: Condition::Always,
                parts: &[("twsk_alloc_fexit", Attach::Fexit("inet_twsk_alloc"))],
                behaviour: Behaviour::Same,
                lost: None,
            },
            Candidate {
                tier: Tier::Timer,
                hook: Some(Hook::Timers),
                condition: Condition::TimerHandlerKnown,
                parts: &[("timer_start_raw", Attach::RawTracepoint("timer_start"))],
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
                behaviour: Behaviour::Same,
                lost: Some(
                    "births are inferred from the socket's states: a refused birth \
                     (tcp_max_tw_buckets) looks like one that was made",
                ),
            },
        ],
    },
    Plan {
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
                behaviour: Behaviour::Same,
                lost: None,
            },
            Candidate {
                tier: Tier::Kprobe,
                hook: Some(Hook::Kprobe),
                condition: Condition::Always,
                parts: &[
                    ("port_kretprobe", Attach::Kprobe("inet_csk_get_port")),
                    ("port_kretprobe", Attach::Kprobe("inet_hash_connect")),
                    ("port_kretprobe", Attach::Kprobe("inet6_hash_connect")),
                    ("get_port_kprobe", Attach::Kprobe("inet_csk_get_port")),
                    ("hash_connect_kprobe", Attach::Kprobe("inet_hash_connect")),
                    ("hash_connect_kprobe", Attach::Kprobe("inet6_hash_connect")),
                ],
                behaviour: Behaviour::Same,
                lost: Some(
                    "the kernel skips kprobes while another eBPF program runs on that CPU: some searches \
                     may go uncounted",
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
                behaviour: Behaviour::PortsBySyscall,
                lost: Some(
                    "a latency is that of the system call, an upper bound; a blocking connect() that \
                     waits for its handshake is counted without one; io_uring is not seen",
                ),
            },
            nothing("no port search is reported"),
        ],
    },
    Plan {
        question: Question::TimeWaitEnd,
        candidates: &[
            Candidate {
                tier: Tier::Fentry,
                hook: Some(Hook::Fentry),
                condition: Condition::Always,
                parts: &[("twsk_kill_fentry", Attach::Fentry("inet_twsk_kill"))],
                behaviour: Behaviour::Same,
                lost: None,
            },
            Candidate {
                tier: Tier::Kprobe,
                hook: Some(Hook::Kprobe),
                condition: Condition::Always,
                parts: &[("twsk_kill_kprobe", Attach::Kprobe("inet_twsk_kill"))],
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
    },
    Plan {
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
                behaviour: Behaviour::Same,
                lost: Some("this kernel gives no reason of its own with a RST"),
            },
            Candidate {
                tier: Tier::Tracepoint,
                hook: None,
                condition: Condition::Always,
                parts: &[
                    (
                        "send_reset_tracepoint",
                        Attach::Tracepoint(
                            "tcp",
                            "tcp_send_reset",
                            &[("skbaddr", 8), ("skaddr", 16)],
                        ),
                    ),
                    (
                        "receive_reset_tracepoint",
                        Attach::Tracepoint("tcp", "tcp_receive_reset", &[SKADDR]),
                    ),
                ],
                behaviour: Behaviour::Same,
                lost: Some(
                    "the kernel's own reason is not read, and the kernel skips classic tracepoints while \
                     another eBPF program runs on that CPU",
                ),
            },
            nothing("no RST is reported"),
        ],
    },
    Plan {
        question: Question::ResetWithoutSocket,
        candidates: &[
            Candidate {
                tier: Tier::RawTracepoint,
                hook: Some(Hook::RawTracepoint),
                condition: Condition::ResetsReportedAnyway,
                parts: &[],
                behaviour: Behaviour::Same,
                lost: None,
            },
            Candidate {
                tier: Tier::Fentry,
                hook: Some(Hook::Fentry),
                condition: Condition::Always,
                parts: &[
                    ("send_reset_v4_fentry", Attach::Fentry("tcp_v4_send_reset")),
                    ("send_reset_v6_fentry", Attach::Fentry("tcp_v6_send_reset")),
                ],
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
                behaviour: Behaviour::Same,
                lost: Some("the kernel skips kprobes while another eBPF program runs on that CPU"),
            },
            nothing(
                "RSTs that answer a segment without a socket, or for a TIME_WAIT socket, are not \
                 reported: this kernel's tracepoint leaves them out",
            ),
        ],
    },
    Plan {
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
                behaviour: Behaviour::Same,
                lost: None,
            },
            Candidate {
                tier: Tier::Tracepoint,
                hook: None,
                condition: Condition::Always,
                parts: &[
                    (
                        "state_tracepoint",
                        Attach::Tracepoint(
                            "sock",
                            "inet_sock_set_state",
                            &[SKADDR, ("oldstate", 16), ("newstate", 20)],
                        ),
                    ),
                    (
                        "destroy_tracepoint",
                        Attach::Tracepoint("tcp", "tcp_destroy_sock", &[SKADDR]),
                    ),
                ],
                behaviour: Behaviour::Same,
                lost: Some(
                    "the kernel skips classic tracepoints while another eBPF program runs on that CPU: \
                     some transitions may be missed",
                ),
            },
        ],
    },
    Plan {
        question: Question::Accept,
        candidates: &[
            Candidate {
                tier: Tier::Fentry,
                hook: Some(Hook::Fentry),
                condition: Condition::AcceptArguments(4),
                parts: &[("accept_fexit_4", Attach::Fexit("inet_csk_accept"))],
                behaviour: Behaviour::Same,
                lost: None,
            },
            Candidate {
                tier: Tier::Fentry,
                hook: Some(Hook::Fentry),
                condition: Condition::AcceptArguments(2),
                parts: &[("accept_fexit_2", Attach::Fexit("inet_csk_accept"))],
                behaviour: Behaviour::Same,
                lost: None,
            },
            Candidate {
                tier: Tier::Kprobe,
                hook: Some(Hook::Kprobe),
                condition: Condition::Always,
                parts: &[("accept_kretprobe", Attach::Kprobe("inet_csk_accept"))],
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
                behaviour: Behaviour::Same,
                lost: Some("connections accepted through io_uring show no opener"),
            },
            nothing("which process accepted a connection is not known; its closer is"),
        ],
    },
];
