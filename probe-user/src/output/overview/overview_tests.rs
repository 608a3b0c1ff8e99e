use std::sync::Arc;

use twtrace_core::doctor::finding::{Finding, Severity};
use twtrace_core::doctor::samples as facts;
use twtrace_core::event::samples;
use twtrace_core::filter::Filter;
use twtrace_core::model::audit::{AuditRow, Basis};
use twtrace_core::model::budget::row::{BudgetRow, Outlook};
use twtrace_core::model::close_wait::CloseWaitRow;
use twtrace_core::model::destination::Destination;
use twtrace_core::model::netns_name::{NamedAfter, NetnsName};
use twtrace_core::model::pairs::PairRow;
use twtrace_core::model::report::{PortRow, ProcessRow, TimeWaitsAlive};
use twtrace_wire::{EventKind, PortOp, ResetReason, Side, Unattributed};

use super::*;

/// What one process did towards one destination.
struct Did {
    comm: &'static str,
    pid: u32,
    side: Side,
    destination: &'static str,
    time_wait: u64,
    sent: Option<(ResetReason, u64)>,
    received: Option<(ResetReason, u64)>,
    no_port: u64,
}

impl Did {
    fn new(comm: &'static str, pid: u32, side: Side, destination: &'static str) -> Self {
        Self {
            comm,
            pid,
            side,
            destination,
            time_wait: 0,
            sent: None,
            received: None,
            no_port: 0,
        }
    }

    fn add_to(self, report: &mut Report) {
        let process = samples::process(self.pid, self.comm);
        let mut row = ProcessRow::new(Some(process.clone()), process.key);
        let mut pair: PairRow = facts::pair(Side::Client, "10.0.0.1:1", 0, 0);
        pair.side = self.side;
        pair.destination = Destination::from_text(self.destination).unwrap();
        pair.process = Some(Arc::new(process));
        if self.pid == 0 {
            (row.process, pair.process) = (None, None);
            let why = Some(Unattributed::NoSocket);
            (row.unattributed, pair.unattributed) = (why, why);
        }
        for _ in 0..self.time_wait {
            row.counts.time_wait.add(self.side);
        }
        pair.counts.time_wait = self.time_wait;
        if let Some((reason, count)) = self.sent {
            for _ in 0..count {
                row.counts.reset_sent.add(reason);
                pair.counts.deaths.reset_sent.add(reason);
            }
        }
        if let Some((reason, count)) = self.received {
            for _ in 0..count {
                row.counts.reset_received.add(reason);
                pair.counts.deaths.reset_received.add(reason);
            }
        }
        if self.no_port > 0 {
            pair.counts.connect_failures = self.no_port;
            row.ports.push(PortRow {
                op: PortOp::Connect,
                exact: true,
                count: self.no_port + self.time_wait,
                failures: self.no_port,
                untimed: 0,
                p50_ns: None,
                p99_ns: None,
                max_ns: None,
            });
        }
        report.processes.push(row);
        report.pairs.push(pair);
    }
}

fn pool(destination: &str, free: u32, failures: u64) -> BudgetRow {
    BudgetRow {
        source: Some("127.0.0.1".parse().unwrap()),
        destination: Some(destination.parse().unwrap()),
        ..facts::budget(free, failures)
    }
}

/// 40 short-lived curls, nginx that closes first, an exhausted pool, a health checker with linger 0, a leak of CLOSE_WAIT.
fn busy() -> Report {
    let mut report = facts::healthy().report;
    for pid in 0..40 {
        Did {
            time_wait: 1,
            ..Did::new("curl", 1_000 + pid, Side::Client, "127.0.0.1:8081")
        }
        .add_to(&mut report);
    }
    Did {
        time_wait: 1_100,
        ..Did::new("nginx", 7, Side::Server, ":8080")
    }
    .add_to(&mut report);
    for pid in 20..28 {
        Did {
            time_wait: 25,
            no_port: 30,
            ..Did::new("batch-export", pid, Side::Client, "127.0.0.1:5432")
        }
        .add_to(&mut report);
    }
    Did {
        sent: Some((ResetReason::LingerZero, 44)),
        ..Did::new("prober", 9, Side::Client, "127.0.0.1:8081")
    }
    .add_to(&mut report);
    Did {
        received: Some((ResetReason::Peer, 44)),
        ..Did::new("api", 10, Side::Server, ":8081")
    }
    .add_to(&mut report);
    Did {
        sent: Some((ResetReason::NoSocket, 3)),
        ..Did::new("", 0, Side::Unknown, "127.0.0.1")
    }
    .add_to(&mut report);
    report.budgets = vec![
        BudgetRow {
            outlook: Outlook::Full,
            ..pool("127.0.0.1:5432", 0, 240)
        },
        pool("127.0.0.1:8081", 960, 0),
    ];
    report.close_wait = vec![CloseWaitRow {
        process: Some(samples::process(11, "lea\x1bky")),
        unattributed: None,
        netns: facts::NETNS,
        side: Side::Server,
        remote: None,
        local: Some(":9000".into()),
        count: 12,
        shared: 0,
        oldest_ns: Some(5_000_000_000),
        oldest_at_most_ns: None,
        stayed: None,
        half_closed: 0,
        stayed_ns: None,
        destination: Destination::LocalPort(9000),
    }];
    report.time_waits_alive = TimeWaitsAlive {
        at_start: Some(8_410),
        at_end: Some(9_740),
    };
    report
        .processes
        .sort_by_key(|row| std::cmp::Reverse(row.counts.time_wait.total()));
    report
}

fn text(report: Report, page: Page) -> String {
    let mut facts = facts::healthy();
    facts.pairs = report.pairs.clone();
    facts.report = report;
    let diagnosis = Diagnosis::new(&facts, &Filter::default());
    render(&Overview {
        report: &facts.report,
        diagnosis: &diagnosis,
        filter: &Filter::default(),
        max_rows: None,
        page,
    })
}

fn of_netns() -> Filter {
    Filter {
        netns: vec![facts::NETNS],
        ..Filter::default()
    }
}

fn of_remote() -> Filter {
    Filter {
        remote: vec!["127.0.0.1".parse().unwrap()],
        ..Filter::default()
    }
}

const SMALL: Page = Page {
    width: Some(80),
    height: Some(24),
    has_colour: false,
};

/// `UPDATE_SCREENS=1 cargo test` writes the expected screens anew.
fn compare(name: &str, text: &str) {
    let path = format!(
        "{}/src/output/overview/screens/{name}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{path}");
}

#[test]
fn a_busy_host_is_clear_at_first_sight() {
    let small = text(busy(), SMALL);
    compare("busy_80x24", &small);
    for line in small.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    // Before the screen scrolls.
    let first: Vec<&str> = small.lines().take(24).collect();
    let first = first.join("\n");
    for part in [
        "CRITICAL  local ports from 127.0.0.1 to 127.0.0.1:5432 ran out",
        "batch-export",
        "nginx",
        "prober",
        "curl             40  client",
    ] {
        assert!(first.contains(part), "{part}\nis not in\n{first}");
    }
    let large = Page {
        width: Some(120),
        height: Some(40),
        ..SMALL
    };
    compare("busy_120x40", &text(busy(), large));
}

#[test]
fn a_quiet_host_needs_few_lines() {
    compare("quiet_80x24", &text(facts::healthy().report, SMALL));
}

#[test]
fn namespaces_are_named_where_there_are_several() {
    let mut report = busy();
    report.netns_names = vec![NetnsName {
        netns: facts::NETNS,
        after: NamedAfter::IpNetns,
        name: "we\x1bb".into(),
    }];
    let one = text(report.clone(), Page::default());
    assert!(
        one.starts_with(
            "host · Linux 6.18 · 1970-01-01 00:00:00–00:00:10 UTC · 10.0s · all in netns we\\x1bb\n"
        ),
        "{one}"
    );
    assert!(!one.contains("NETNS"));
    report.pairs[0].netns = 43;
    let two = text(report, SMALL);
    assert!(two.contains("NETNS") && two.contains("we\\x1bb"), "{two}");
    for line in two.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn what_is_missing_is_said() {
    let mut report = busy();
    report.exact.destinations = false;
    report.exact.processes = false;
    report.lost.push(twtrace_core::model::report::LostRow {
        probe: twtrace_core::event::LostBy::Decode,
        count: 1_200,
    });
    let text = text(report, SMALL);
    assert!(
        text.contains("Data quality: 1,200 lost, figures with ≥ are lower bounds"),
        "{text}"
    );
    assert!(text.contains("≥1,100") && text.contains("≥44"), "{text}");
}

#[test]
fn figures_that_differ_from_the_kernels_are_said_first() {
    let mut report = busy();
    report.audit_off = 1;
    report.audit.push(AuditRow {
        netns: facts::NETNS,
        births_seen: 4,
        births_kernel: Some(5),
        difference: Some(-1),
        audited: true,
        basis: Basis::TcpExt,
        ..AuditRow::default()
    });
    let text = text(report.clone(), Page::default());
    let first = "COUNTERS DIFFER: in 1 network namespace figures differ from what the kernel counted: TIME_WAITs -1\nhost ·";
    assert!(text.starts_with(first), "{text}");
    assert!(
        text.contains(" · differs from the kernel's counters in 1 namespace\n"),
        "{text}"
    );
    let diagnosis = Diagnosis::new(&facts::healthy(), &Filter::default());
    let overview = Overview {
        report: &report,
        diagnosis: &diagnosis,
        filter: &Filter::default(),
        max_rows: None,
        page: Page::default(),
    };
    let text = with_tables(&overview, "By anything\n");
    assert!(
        text.starts_with(first) && text.contains("\n\nBy anything\n\nData quality: "),
        "{text}"
    );
}

#[test]
fn holders_from_before_tracing_count() {
    let mut report = busy();
    let pool = report.budgets.first().unwrap().clone();
    let held_by = |report: &Report, filter: &Filter| {
        let diagnosis = Diagnosis::new(&facts::healthy(), &Filter::default());
        let text = render(&Overview {
            report,
            diagnosis: &diagnosis,
            filter,
            max_rows: None,
            page: Page::default(),
        });
        let rows = text.split("HELD BY\n").nth(1).unwrap().to_owned();
        rows.lines().next().unwrap().to_owned()
    };
    report.budgets[0].live = Some(0);
    let created: u64 = report
        .pairs
        .iter()
        .filter(|row| Destination::Remote(pool.destination.unwrap()) == row.destination)
        .map(|row| row.counts.time_wait)
        .sum();
    let of_process = Filter {
        comms: vec!["batch-export".into()],
        ..Filter::default()
    };
    let time_waits = |count: u64| Some(u32::try_from(count).unwrap());
    for (all, filter, expected) in [
        (created, Filter::default(), "  batch-export"),
        (created + 1, of_netns(), "  batch-export, 1 older"),
        (created + 1, of_process, "  batch-export"),
        (created * 3, of_remote(), "  400 older, batch-export"),
    ] {
        report.budgets[0].time_wait = time_waits(all);
        let row = held_by(&report, &filter);
        assert!(row.ends_with(expected), "{row}");
    }
    // Open connections beside them.
    report.budgets[0].live = Some(50);
    report.budgets[0].live_by = vec![twtrace_core::model::budget::holders::PoolHolder {
        process: Some(samples::process(9, "liver")),
        live: 500,
    }];
    let row = held_by(&report, &Filter::default());
    assert!(
        row.ends_with("  liver (live), 400 older, batch-export"),
        "{row}"
    );
    report.budgets[0].live_by.clear();
    report.pairs.clear();
    let row = held_by(&report, &of_netns());
    assert!(row.ends_with("  600 older"), "{row}");
    report.budgets[0].live = Some(0);
    let row = held_by(&report, &of_netns());
    assert!(row.ends_with("  (before tracing)"), "{row}");
}

#[test]
fn sentences_are_wrapped_and_filters_and_bounds_have_reasons() {
    let mut report = busy();
    report.exact.processes = false;
    report.inexact = vec![twtrace_core::model::exactness::Inexact {
        figures: vec![twtrace_core::model::exactness::FigureSet::Processes],
        by: "accept_exit".into(),
        count: 3,
        why: "skipped".into(),
    }];
    let mut diagnosis = Diagnosis::new(&facts::healthy(), &Filter::default());
    diagnosis.findings = vec![Finding {
        id: "some_id",
        severity: Severity::Critical,
        title: "word ".repeat(30).trim_end().to_owned(),
        evidence: vec![],
        figures: serde_json::Value::Null,
        to_do: vec![],
        settings: Vec::new(),
        do_not: vec![],
    }];
    let text = render(&Overview {
        report: &report,
        diagnosis: &diagnosis,
        filter: &of_remote(),
        max_rows: None,
        page: Page {
            has_colour: true,
            ..SMALL
        },
    });
    assert!(text.contains("\n          word word"), "{text}");
    assert!(text.contains("9,740 exist in all"), "{text}");
    let plain = text.replace("\n              ", " ");
    assert!(
        plain.contains(
            "Data quality: 0 lost, 3 runs of accept_exit skipped by the kernel, figures with ≥ are lower bounds"
        ) && plain.contains("filtered, except for TIME_WAITs that exist"),
        "{text}"
    );
    for line in text.lines().filter(|line| !line.contains('\x1b')) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn what_a_filter_hides_is_no_zero() {
    let report = busy();
    let diagnosis = Diagnosis::new(&facts::healthy(), &Filter::default());
    let text = render(&Overview {
        report: &report,
        diagnosis: &diagnosis,
        filter: &Filter {
            kinds: vec![EventKind::Reset],
            ..Filter::default()
        },
        max_rows: None,
        page: Page::default(),
    });
    assert!(
        text.contains("TIME_WAIT   9,740 exist in all (before: 8,410)\nRST         47 sent"),
        "{text}"
    );
}

#[test]
fn colour_is_only_for_terminals() {
    let coloured = Page {
        has_colour: true,
        ..SMALL
    };
    assert!(!text(busy(), SMALL).contains('\x1b'));
    let text = text(busy(), coloured);
    assert!(text.contains("\x1b["), "{text}");
    assert!(!text.contains("lea\x1bky"));
}

#[test]
fn a_finding_is_named_by_its_severity() {
    let finding = |severity| Finding {
        id: "some_id",
        severity,
        title: "evil\x1b(7) did it".into(),
        evidence: vec![],
        figures: serde_json::Value::Null,
        to_do: vec![],
        settings: Vec::new(),
        do_not: vec![],
    };
    let report = busy();
    let mut diagnosis = Diagnosis::new(&facts::healthy(), &Filter::default());
    diagnosis.findings = vec![finding(Severity::Warning), finding(Severity::Notice)];
    let overview = Overview {
        report: &report,
        diagnosis: &diagnosis,
        filter: &of_remote(),
        max_rows: Some(1),
        page: Page::default(),
    };
    let text = render(&overview);
    assert!(
        text.contains("\nWARNING  evil\\x1b(7) did it (finding 1 of 2)\n"),
        "{text}"
    );
    assert!(text.contains(" · filtered, except"), "{text}");
    assert!(text.contains("(2 more)"), "{text}");
}
