use twtrace_core::event::counts_by;
use twtrace_core::event::words::Word;
use twtrace_core::event::{LostBy, Timestamp, samples};
use twtrace_core::hooks::{Choice, Question, Tier};
use twtrace_core::model::audit::FailureCounters;
use twtrace_core::model::audit::{AuditRow, Basis};
use twtrace_core::model::close_wait::{CloseWaitRow, NoHolder};
use twtrace_core::model::destination::Destination;
use twtrace_core::model::destinations::Destinations;
use twtrace_core::model::exactness::{FigureSet, Inexact};
use twtrace_core::model::memory::{CacheRow, Memory};
use twtrace_core::model::netns_name::{NamedAfter, NetnsName};
use twtrace_core::model::report::{Exact, LostRow, MissRow, PortRow, ProcessRow, UnscannedRow};
use twtrace_core::model::reuse::Reuse;
use twtrace_wire::{Probe, ResetReason, Side, Unattributed};
use unicode_width::UnicodeWidthStr;

use super::*;

fn process(tgid: u32, comm: &str, time_waits: u64) -> ProcessRow {
    let process = samples::process(tgid, comm);
    let mut row = ProcessRow::new(Some(process.clone()), process.key);
    for _ in 0..time_waits {
        row.counts.time_wait.add(Side::Client);
    }
    row
}

fn close_wait_row() -> CloseWaitRow {
    CloseWaitRow {
        process: Some(samples::process(9, "lea\x1bky")),
        unattributed: None,
        netns: 42,
        side: Side::Server,
        remote: None,
        local: Some(":80".into()),
        count: 12,
        shared: 1,
        oldest_ns: Some(5_000_000_000),
        oldest_at_most_ns: Some(90_000_000_000),
        stayed: None,
        half_closed: 0,
        stayed_ns: None,
        destination: Destination::LocalPort(80),
    }
}

fn nobodys_close_wait_row() -> CloseWaitRow {
    CloseWaitRow {
        process: None,
        unattributed: Some(NoHolder::NotAccepted),
        count: 3,
        shared: 0,
        oldest_at_most_ns: Some(5_000_000_000),
        stayed: None,
        half_closed: 0,
        stayed_ns: None,
        ..close_wait_row()
    }
}

fn cache(name: &'static str, objects: Option<u64>) -> CacheRow {
    CacheRow {
        name: name.into(),
        active_objects: objects,
        object_bytes: objects.map(|_| 256),
        active_bytes: objects.map(|objects| objects * 256),
        held_bytes: objects.map(|_| 36_864),
        why: objects.is_none().then(|| "root only".to_owned()),
    }
}

fn report() -> Report {
    let mut nginx = process(7, "nginx", 3);
    nginx.counts.reset_sent.add(ResetReason::LingerZero);
    nginx.ports.push(PortRow {
        op: twtrace_wire::PortOp::Connect,
        exact: false,
        count: 9,
        failures: 1,
        untimed: 0,
        p50_ns: Some(1_500),
        p99_ns: Some(2_000),
        max_ns: Some(2_000),
    });
    let mut nobody = process(0, "", 1);
    nobody.process = None;
    nobody.unattributed = Some(Unattributed::ClosedBeforeTracing);
    let mut destinations = Destinations::default();
    destinations.apply(&samples::time_wait());
    Report {
        start: Timestamp(0),
        end: Timestamp(1),
        audit_off: 0,
        duration_ns: 10_000_000_000,
        host: "host\x1b".into(),
        kernel: "6.18".into(),
        tiers: vec![
            Choice {
                question: Question::TimeWait,
                tier: Tier::Inferred,
                hooks: vec![],
                lost: Some("refusals".into()),
                refused: vec![],
            },
            Choice {
                question: Question::TimeWaitEnd,
                tier: Tier::Fentry,
                hooks: vec![],
                lost: None,
                refused: vec![],
            },
        ],
        exact: Exact {
            refused_reuse: true,
            ends: true,
            processes: true,
            destinations: true,
        },
        inexact: vec![],
        processes: vec![nginx, nobody],
        destinations: destinations.rows(),
        pairs: vec![],
        pairs_left_out: 0,
        time_waits_alive: Default::default(),
        budgets: vec![],
        other_budgets: Default::default(),
        budgets_unknown: vec![],
        close_wait: vec![close_wait_row(), nobodys_close_wait_row()],
        stacks: None,
        netns_names: Vec::new(),
        fixed_ports: vec![],
        fixed_ports_left_out: 0,
        missing_addresses: vec![],
        missing_addresses_left_out: 0,
        unscanned: vec![UnscannedRow {
            netns: 43,
            why: "not allowed".into(),
        }],
        memory: Memory::of(vec![
            cache("tw_sock_TCP", Some(80)),
            cache("tcp_bind_bucket", None),
        ]),
        audit: vec![AuditRow {
            netns: 42,
            netns_nth: 0,
            births_seen: 4,
            births_kernel: Some(5),
            difference: Some(-1),
            overflow_seen: 0,
            overflow_kernel: Some(0),
            inferred: 0,
            ends_seen: Some(1),
            alive_growth: Some(3),
            alive_difference: Some(0),
            reused_seen: Some(1),
            reused_kernel: Some(1),
            uncertainty: 0,
            basis: Basis::TcpExt,
            audited: true,
            why: None,
            overflow_difference: Some(0),
            resets_sent_seen: Some(3),
            resets_sent_kernel: Some(3),
            resets_sent_difference: Some(0),
            ends_kernel: Some(2),
            ends_difference: Some(-1),
            connections_reset_seen: 6,
            connections_reset_kernel: Some(7),
            connections_reset_difference: Some(-1),
            connections_reset_uncertainty: 2,
            kernel_counted: Some(FailureCounters {
                abort_on_data: 2,
                ..FailureCounters::default()
            }),
            ..AuditRow::default()
        }],
        lost: vec![],
        has_totals: true,
        history: None,
        recursion_misses: Some(vec![MissRow {
            program: "state".into(),
            count: 2,
        }]),
    }
}

#[test]
fn every_table_is_there() {
    let text = render(&report(), &[], TableOptions::default());
    for part in [
        "\nDegraded hooks, and what they miss\ntime_wait: tier inferred: refusals\n",
        "linger_zero 1",
        "(closed_before_tracing)          1\n",
        "nginx(7)  connect        9       1  ≤1.50us  ≤2.00us  ≤2.00us\n",
        "client  [2001:db8::2]:80  4026531840          1          1",
        "lea\\x1bky(9)    server  :80        42        12       1  ≥5.00s ≤90.0s\n",
        "(not_accepted)  server  :80        42         3                  5.00s\n",
        "\n43     not allowed\n",
        "\n20.0KiB in mini-sockets (tw_sock_TCP: 80 of 256B, 36.0KiB held, tcp_bind_bucket: root only)\n",
        "\n42     TIME_WAITs created     4       5          -1\n       TIME_WAITs ended       1       2          -1\n",
        "\n       RSTs sent              3       3           0\n       connections reset      6       7          -1  traffic continued: may differ by up to 2\n       TCPAbortOnData         -       2           -\n",
        "state      2  runs of this program that the kernel skipped",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    // All counts are exact; that one is an age.
    assert!(!text.replace("≥5.00s", "").contains('≥'));
}

#[test]
fn reuse_is_told_as_far_as_it_is_seen() {
    let mut report = report();
    report.processes[0].reuse = Reuse {
        taken: 4,
        hindered: 2,
        refused: counts_by::CountsBy::new([0, 0, 0, 0, 0, 0, 9]),
    };
    let line = |report: &Report| {
        let text = render(report, &[Grouping::Process], TableOptions::default());
        let (_, table) = text.split_once("Reuse of TIME_WAIT sockets").unwrap();
        table
            .lines()
            .nth(2)
            .unwrap()
            .split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line(&report), "4 2 too_young 9");
    report.exact.refused_reuse = false;
    assert_eq!(line(&report), "4 ? ?");
}

#[test]
fn namespaces_that_occur_and_have_a_name_are_named() {
    let mut report = report();
    let named = |netns, after, name: &str| NetnsName {
        netns,
        after,
        name: name.to_owned(),
    };
    report.netns_names = vec![
        named(42, NamedAfter::Host, "host"),
        named(99, NamedAfter::IpNetns, "elsewhere"),
    ];
    const HEADING: &str = "\nNetwork namespaces\n";
    assert!(
        !render(&report, &[], TableOptions::default()).contains(HEADING),
        "the host's alone"
    );
    report.audit.push(AuditRow {
        netns: 43,
        ..report.audit[0].clone()
    });
    report
        .netns_names
        .push(named(43, NamedAfter::Container, "a\x1bb"));
    let text = render(&report, &[], TableOptions::default());
    assert!(text.contains(HEADING), "{text}");
    assert!(text.contains("43  container a\\x1bb"), "{text}");
    assert!(
        text.contains("the host's") && !text.contains("elsewhere"),
        "{text}"
    );
}

#[test]
fn only_what_is_asked_for_is_printed() {
    let text = render(&report(), &[Grouping::Budget], TableOptions::default());
    assert!(text.contains(
        "Ephemeral ports, by source and destination\nno client holds an ephemeral port\n"
    ));
    assert!(
        text.contains("Events lost") && !text.contains("By process"),
        "{text}"
    );
    assert!(!text.contains("Comparison"), "{text}");
}

#[test]
fn losses_are_marked_where_numbers_are_lower_bounds() {
    let mut report = report();
    report.exact.destinations = false;
    report.lost.push(LostRow {
        probe: LostBy::Probe(Probe::TimeWait),
        count: 12,
    });
    let text = render(&report, &[], TableOptions::default());
    assert!(text.contains("≥1"), "{text}");
    assert!(text.contains("lost: 12 events"), "{text}");
    assert!(
        text.contains("time_wait     12  events that found the ring buffer full"),
        "{text}"
    );
}

#[test]
fn skipped_programs_say_what_is_missing_where_nothing_made_good_for_them() {
    let mut report = report();
    let row = |program: &str| MissRow {
        program: program.to_owned(),
        count: 7,
    };
    report.recursion_misses = Some(vec![row("state_raw"), row("port_exit")]);
    report.inexact = vec![Inexact {
        figures: vec![FigureSet::Processes],
        by: "port_exit".to_owned(),
        count: 5,
        why: String::new(),
    }];
    let text = lost::render(&report, None);
    assert!(text.contains("(recursion_misses)\nport_exit"), "{text}");
    assert!(
        text.contains("(recursion_misses): up to 5 events are missing\n"),
        "{text}"
    );
}

#[test]
fn long_tables_end_in_a_row_for_the_rest() {
    let mut report = report();
    report.processes = (1..=25).map(|tgid| process(tgid, "p", 2)).collect();
    let text = processes::render(&report, TableOptions::default());
    assert_eq!(text.lines().count(), 1 + SHOWN + 1);
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("(5 more)"), "{last}");
    assert!(last.ends_with(" 10"), "{last}");
}

#[test]
fn nothing_at_all_is_said_too() {
    let mut report = report();
    report.processes.clear();
    report.destinations.clear();
    report.audit.clear();
    report.close_wait.clear();
    report.unscanned.clear();
    report.recursion_misses = None;
    let text = render(&report, &[], TableOptions::default());
    assert!(text.contains("By process\nno TIME_WAIT, reset or abort\n"));
    assert!(!text.contains("By destination") && !text.contains("CLOSE_WAIT"));
    assert!(text.ends_with(
        "Events lost, and programs skipped\nthis kernel does not count skipped runs of programs (recursion_misses)\n"
    ));
    report.has_totals = false;
    let text = render(&report, &[], TableOptions::default());
    assert!(
        text.ends_with("are known at the end of a whole recording only\n"),
        "{text}"
    );
}

#[test]
fn tables_fit_a_narrow_page() {
    let mut report = report();
    let mut long = process(4_194_304, "日本語日本\x1b", 1_234_567);
    for reason in <ResetReason as Word>::MEMBERS {
        long.counts.reset_sent.add(*reason);
        long.counts.reset_received.add(*reason);
    }
    report.processes.push(long);
    let (free, address) = (9, "[2001:db8:1111:2222:3333:4444:5555:6666]:65535");
    let mut pool = twtrace_core::doctor::samples::budget(free, 12);
    pool.source = Some("2001:db8:1111:2222:3333:4444:5555:7777".parse().unwrap());
    pool.destination = Some(address.parse().unwrap());
    report.budgets.push(pool);
    for width in [80, 100, 120] {
        let options = TableOptions {
            width: Some(width),
            ..TableOptions::default()
        };
        let by = [
            Grouping::Name,
            Grouping::Unit,
            Grouping::Pair,
            Grouping::Stack,
        ];
        let text = render(&report, &[], options) + &render(&report, &by, options);
        for line in text.lines() {
            assert!(line.width() <= width, "{width}: {line}");
        }
        assert!(text.contains("FAILED"), "{text}");
    }
    let whole = render(&report, &[], TableOptions::default());
    assert!(
        whole.contains(address) && !whole.contains("--wide"),
        "{whole}"
    );
}
