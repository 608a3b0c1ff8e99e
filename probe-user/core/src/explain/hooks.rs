//! Capabilities and tiers of `probes`, and kinds of events.

use twtrace_wire::EventKind;

use super::text::Text;
use crate::hooks::{Question, Tier};

/// What twtrace needs to know, and what is missing without it.
pub const fn capability(question: Question) -> Text {
    match question {
        Question::State => Text::new(
            "Who opens and closes each connection",
            "State changes of sockets: closer, opener, role and addresses. Everything else depends on it.",
        ),
        Question::Accept => Text::new(
            "Which process accepts a connection",
            "Without it, the opener of a server's connection is not known; its closer is.",
        ),
        Question::TimeWait => Text::new(
            "Creation of TIME_WAITs, and refusals",
            "Without a hook, twtrace searches the kernel's table of connections, or infers the creation from the states.",
        ),
        Question::TimeWaitEnd => Text::new(
            "When and how TIME_WAITs end",
            "Without a hook, ends are inferred: after a minute, or by other events and a sample every five seconds.",
        ),
        Question::Reset => Text::new(
            "RSTs of sockets",
            "RSTs sent and received. The kernel gives a reason of its own from 6.10 on.",
        ),
        Question::ResetWithoutSocket => Text::new(
            "RSTs without a socket, and of TIME_WAITs",
            "Up to kernel 6.1 the tracepoint leaves them out. There they need fentry or kprobes.",
        ),
        Question::Port => Text::new(
            "Ephemeral port allocation",
            "Which calls allocate a port, how long that takes, and if it fails. Why a TIME_WAIT was not reused needs \
             fentry or kprobes.",
        ),
        Question::NoAddress => Text::new(
            "Calls for an address that the host lacks",
            "bind() and connect() that fail with EADDRNOTAVAIL before they look for a port. They need fentry or system \
             calls.",
        ),
        Question::Descendants => Text::new(
            "Processes that a traced command starts",
            "Needed only for `-- COMMAND`.",
        ),
    }
}

/// Hooks that provide a capability.
pub const fn tier(tier: Tier) -> Text {
    match tier {
        Tier::RawTracepoint => Text::new(
            "Raw tracepoint",
            "The program runs at a tracepoint of the kernel, with its arguments as they are. Cheap and exact.",
        ),
        Tier::Tracepoint => Text::new(
            "Classic (perf) tracepoint",
            "The same tracepoints by way of perf. The kernel skips them while another eBPF program runs on that CPU, so \
             some events may be missed.",
        )
        .to_do("See why raw tracepoints are refused: `twtrace probes`."),
        Tier::Fentry => Text::new(
            "fentry and fexit of a kernel function",
            "Programs on the entry and return of a function. Cheap and exact; needs BTF and a kernel that allows it.",
        ),
        Tier::Kprobe => Text::new(
            "kprobe and kretprobe of a kernel function",
            "As fentry, for kernels without it. The kernel skips kprobes while another eBPF program runs on that CPU, so \
             some calls may not be counted.",
        ),
        Tier::Timer => Text::new(
            "Tracepoints of the kernel's timers",
            "Each TIME_WAIT has a timer, whose start and end show its own. Exact for creation; an early end is reported a \
             second late. It costs a little for every timer of the host: --timers off disables it.",
        ),
        Tier::Syscall => Text::new(
            "System-call tracepoints",
            "Times are those of the whole call, an upper bound. Calls through io_uring and of 32-bit programs are not \
             all seen.",
        ),
        Tier::Inferred => Text::new(
            "No hook: inferred from other events",
            "Derived from states of sockets and from the kernel's tables. Such events are marked `inferred`.",
        ),
        Tier::None => Text::new(
            "Not available on this kernel",
            "No hook provides this capability. `twtrace probes` says what is missing, and why hooks were refused.",
        ),
    }
}

/// A kind of event.
pub const fn event(kind: EventKind) -> Text {
    match kind {
        EventKind::TimeWait => Text::new(
            "A TIME_WAIT was created",
            "A connection that this host closed first has ended, and the kernel keeps a mini-socket of it for 60 s. A \
             client's holds its local port. The process is the one that closed.",
        )
        .to_do("Nothing by itself: TIME_WAIT is harmless while ports and memory suffice. `twtrace doctor` judges that."),
        EventKind::TimeWaitOverflow => Text::new(
            "The kernel refused a TIME_WAIT",
            "tcp_max_tw_buckets was reached: see tw_buckets_overflow.",
        ),
        EventKind::Reset => Text::new(
            "A RST was sent or received",
            "The fields `direction` and `reason` say which and why. Each reason has a text.",
        ),
        EventKind::Abort => Text::new(
            "A connection ended without FIN and RST",
            "By a timeout, an error such as ICMP, or from outside (`ss -K`).",
        ),
        EventKind::PortAlloc => Text::new(
            "A port allocation failed or was slow",
            "bind(), listen() or connect() needed a local port, and failed or took --slow-port or longer.",
        ),
        EventKind::NoAddress => Text::new(
            "A call failed: this host has no such address",
            "bind() of an address that is not local, or connect() without an address to connect from, failed with \
             EADDRNOTAVAIL. No port was looked for, and none is missing.",
        )
        .to_do("See `no_address`."),
        EventKind::TimeWaitEnd => Text::new(
            "A TIME_WAIT ended",
            "The field `cause` says how, `age_ns` how old it was. The process is the one that created it.",
        ),
    }
}
