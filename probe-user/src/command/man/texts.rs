//! Texts of manual pages that no definition contains: exit status, files, examples, and other pages.

/// Where the documentation is.
pub const DOCUMENTATION: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/tree/main/docs");

/// Rows of a section: a term, and its text.
type Rows = Vec<(&'static str, &'static str)>;

/// What is particular to one page.
pub struct PageTexts {
    pub exit_status: Rows,
    pub files: Rows,
    /// What for, and the command line.
    pub examples: &'static [(&'static str, &'static str)],
    /// Verbs, or other pages with their section; empty for the main page.
    pub see_also: &'static [&'static str],
}

const BTF: (&str, &str) = (
    "/sys/kernel/btf/vmlinux",
    "Types of the running kernel (BTF). --btf takes another file.",
);
const TRACEFS: (&str, &str) = (
    "/sys/kernel/tracing",
    "tracefs, for classic tracepoints and kprobes. twtrace mounts it if it is not there.",
);
const CONFIG: (&str, &str) = (
    "/etc/twtrace/twtrace.toml",
    "Configuration of the packaged service.",
);
const HISTORY: (&str, &str) = (
    "/var/lib/twtrace",
    "History of the packaged service, for --store.",
);
const RECORDING: (&str, &str) = (
    "FILE, FILE.1, FILE.2 ...",
    "A recording, and with --max-size its earlier parts. Only its owner may read it.",
);

const DONE: (&str, &str) = ("0", "Done.");
const FAILED: (&str, &str) = ("1", "Failed; one line on standard error says why.");
const USAGE: (&str, &str) = ("2", "The command line is wrong.");
const OF_COMMAND: [(&str, &str); 4] = [
    (
        "of COMMAND",
        "With -- COMMAND, its own exit code, or 128 and the number of the signal that ended it.",
    ),
    ("125", "With -- COMMAND: twtrace itself failed."),
    ("126", "With -- COMMAND: it can't be run."),
    ("127", "With -- COMMAND: it does not exist."),
];

/// The texts of the page of a verb; of the main page if it is empty.
pub fn of(verb: &str) -> PageTexts {
    PageTexts {
        exit_status: exit_status(verb),
        files: files(verb),
        examples: examples(verb),
        see_also: match verb {
            "" => &["trace(1)", "ss(8)", "nstat(8)", "tcp(7)", "bpf(2)"],
            "probes" => &["", "doctor", "explain", "bpf(2)", "capabilities(7)"],
            "serve" => &["", "report", "top", "doctor", "systemd.service(5)"],
            "completions" | "man" | "schema" => &["", "explain", "trace", "report"],
            _ => &[
                "", "trace", "report", "doctor", "top", "record", "serve", "explain", "ss(8)",
                "tcp(7)",
            ],
        },
    }
}

fn exit_status(verb: &str) -> Rows {
    let mut rows = vec![DONE, FAILED, USAGE];
    match verb {
        "doctor" => rows.push((
            "3",
            "With --fail-on LEVEL: there is a finding of that level or a worse one.",
        )),
        "trace" | "report" | "record" => rows.extend(OF_COMMAND),
        "serve" => {
            rows[2] = (
                "2",
                "The command line or the configuration is wrong; a restart does not help.",
            )
        }
        "explain" => rows[2] = ("2", "The id is unknown, or the command line is wrong."),
        "" => {
            rows.push((
                "3",
                "doctor --fail-on LEVEL has a finding of that level or a worse one.",
            ));
            rows.extend(OF_COMMAND);
        }
        _ => {}
    }
    rows
}

fn files(verb: &str) -> Rows {
    match verb {
        "serve" => vec![CONFIG, HISTORY, BTF, TRACEFS],
        "top" | "report" | "doctor" => vec![RECORDING, HISTORY, BTF, TRACEFS],
        "trace" | "record" => vec![RECORDING, BTF, TRACEFS],
        "probes" => vec![BTF, TRACEFS],
        "" => vec![CONFIG, HISTORY, BTF, TRACEFS],
        _ => vec![("none", "Reads no file.")],
    }
}

fn examples(verb: &str) -> &'static [(&'static str, &'static str)] {
    match verb {
        "" => &[
            (
                "Show who creates TIME_WAITs now, full-screen:",
                "sudo twtrace",
            ),
            ("Find out why connect() fails:", "sudo twtrace doctor"),
            ("Explain a finding:", "twtrace explain budget_full"),
        ],
        "top" => &[
            ("Live view of everything:", "sudo twtrace top"),
            (
                "Of one container:",
                "sudo twtrace top --container 4f1c2b3a9d8e",
            ),
            (
                "Since three in the morning, from the history of the service:",
                "sudo twtrace top --store /var/lib/twtrace --since 03:00",
            ),
        ],
        "trace" => &[
            (
                "RSTs as they are sent and received:",
                "sudo twtrace trace --event reset",
            ),
            (
                "TIME_WAITs towards one database, as JSON:",
                "sudo twtrace trace --remote 10.0.0.2:5432 --event time_wait --json",
            ),
            (
                "What one command causes:",
                "sudo twtrace trace -- curl -s http://127.0.0.1/",
            ),
        ],
        "record" => &[
            (
                "Record for an hour, in at most 1 GiB:",
                "sudo twtrace record -o night.tw --duration 1h --max-size 1GiB",
            ),
            (
                "Report it later, without privileges:",
                "twtrace report --from night.tw",
            ),
        ],
        "report" => &[
            (
                "One screen about ten seconds:",
                "sudo twtrace report --duration 10s",
            ),
            (
                "Usage of ephemeral ports by destination:",
                "sudo twtrace report --duration 1m --by budget",
            ),
            (
                "The same screen, redrawn until Ctrl-C:",
                "sudo twtrace report --watch",
            ),
            (
                "A table for a spreadsheet:",
                "sudo twtrace report --duration 1m --by pair --format csv",
            ),
            (
                "A page to mail, with a timeline and findings:",
                "sudo twtrace report --duration 1m --html report.html",
            ),
            (
                "What a test causes:",
                "sudo twtrace report -- ab -n 1000 http://127.0.0.1/",
            ),
        ],
        "doctor" => &[
            ("Check this host for ten seconds:", "sudo twtrace doctor"),
            (
                "In a script, fail if connections fail:",
                "sudo twtrace doctor --duration 1m --fail-on critical --json",
            ),
            (
                "Check one container:",
                "sudo twtrace doctor --container 4f1c2b3a9d8e",
            ),
        ],
        "serve" => &[
            (
                "Metrics on port 10660, with a history:",
                "sudo twtrace serve --history /var/lib/twtrace",
            ),
            (
                "Check a configuration:",
                "twtrace serve --check-config --config /etc/twtrace/twtrace.toml",
            ),
        ],
        "probes" => &[
            ("What this kernel allows:", "sudo twtrace probes"),
            (
                "Without fentry, as on a kernel that refuses it:",
                "sudo twtrace probes --without fentry",
            ),
        ],
        "explain" => &[
            ("List all words:", "twtrace explain"),
            (
                "A finding, an error, a column:",
                "twtrace explain close_wait_leak",
            ),
            (
                "A column's heading may be written with spaces:",
                "twtrace explain full in",
            ),
        ],
        "completions" => &[(
            "Install for bash:",
            "twtrace completions bash > /etc/bash_completion.d/twtrace",
        )],
        "schema" => &[
            ("Schema of a line of trace --json:", "twtrace schema event"),
            ("Schema of report --json:", "twtrace schema report"),
        ],
        _ => &[
            ("Read the page of a verb:", "twtrace man report | man -l -"),
            (
                "Install the main page:",
                "twtrace man > /usr/local/share/man/man1/twtrace.1",
            ),
        ],
    }
}
