//! A deterministic series of samples and events for tests.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;
use twtrace_core::doctor::finding::{Finding, Severity};
use twtrace_core::event::{Event, EventFacts, LostBy, PortResult, Timestamp, samples};
use twtrace_core::hooks::{Choice, Question, Tier};
use twtrace_core::model::audit::{AuditRow, Basis};
use twtrace_core::model::budget::ports::PortRange;
use twtrace_core::model::budget::row::{BudgetRow, Outlook, PoolWord};
use twtrace_core::model::destinations::Destinations;
use twtrace_core::model::memory::Memory;
use twtrace_core::model::report::{Exact, LostRow, PortRow, ProcessRow, Report};
use twtrace_wire::{EndCause, Probe, ResetReason, Side};
use unicode_width::UnicodeWidthStr;

use super::app::ReplaySpan;
use super::{Action, App, ReportSample, ViewOptions};
use crate::cli::display_filter;

/// Network namespace of all samples.
pub const NETNS: u32 = 4_026_531_840;
/// Start of the series.
const START_NS: u64 = 1_700_000_000_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// A view of this host.
pub fn options() -> ViewOptions {
    ViewOptions {
        host: "web-1\x1b".into(),
        kernel: "6.12".into(),
        replay: None,
        has_colour: true,
        filter_words: String::new(),
        parse_filter: display_filter,
    }
}

/// A view of a recording.
pub fn replay_options() -> ViewOptions {
    ViewOptions {
        replay: Some(ReplaySpan {
            start: Timestamp(START_NS),
            end: Timestamp(START_NS + 100 * SECOND_NS),
        }),
        ..options()
    }
}

/// A process with a number of TIME_WAITs on one side.
pub fn process(tgid: u32, comm: &str, side: Side, time_waits: u64) -> ProcessRow {
    let process = samples::process(tgid, comm);
    let mut row = ProcessRow::new(Some(process.clone()), process.key);
    for _ in 0..time_waits {
        row.counts.time_wait.add(side);
    }
    row
}

fn port(count: u64, failures: u64, exact: bool) -> PortRow {
    PortRow {
        op: twtrace_wire::PortOp::Connect,
        exact,
        count,
        failures,
        untimed: 0,
        p50_ns: Some(12_000),
        p99_ns: Some(1_500_000),
        max_ns: Some(2_000_000),
    }
}

fn budget(
    destination: Option<&str>,
    free: u32,
    outlook: Outlook,
    left_s: Option<u64>,
) -> BudgetRow {
    BudgetRow {
        netns: NETNS,
        pool: match destination {
            Some(_) => PoolWord::Connect,
            None => PoolWord::Bind,
        },
        source: Some("10.0.0.1".parse().unwrap()),
        destination: destination.map(|it| it.parse().unwrap()),
        range: Some(PortRange {
            low: 40_000,
            high: 40_999,
        }),
        socket_range: false,
        excluded: Some(0),
        capacity: Some(1_000),
        live: Some(10),
        time_wait: Some(990 - free),
        time_wait_reusable: Some(0),
        free: Some(free),
        fast_half: None,
        connections_per_s: Some(12.34),
        live_growth_per_s: Some(0.0),
        expiry_per_s: Some(3.0),
        live_by: Vec::new(),
        bound_by: Vec::new(),
        failures: 0,
        outlook,
        full_in_ns: left_s.map(|seconds| seconds * SECOND_NS),
        why: None,
    }
}

/// Untrusted names.
pub const HOSTILE: [&str; 4] = [
    "\x1b[2Jroot\n",
    "日本語サー",
    "e\u{301}e\u{301}\u{202e}evil",
    "\u{1f468}\u{200d}\u{1f469}",
];

/// A sample, `second` seconds after the start.
pub fn sample(second: u64) -> ReportSample {
    let mut nginx = process(80, "nginx", Side::Server, 40 * second);
    nginx.ports.push(port(2, 0, true));
    let mut curl = process(1234, "curl", Side::Client, second * second);
    for _ in 0..second {
        curl.counts.reset_sent.add(ResetReason::LingerZero);
        curl.counts.reset_received.add(ResetReason::Refused);
        curl.counts.ended.add(EndCause::Expired);
    }
    curl.ports.push(port(20 * second, second, false));
    let mut processes = vec![nginx, curl];
    for (index, name) in HOSTILE.iter().enumerate() {
        processes.push(process(5_000 + index as u32, name, Side::Client, 3));
    }
    let mut nobody = ProcessRow::new(
        None,
        twtrace_core::event::answerable::without_process(twtrace_wire::Unattributed::NoSocket),
    );
    nobody.counts.reset_sent.add(ResetReason::NoSocket);
    processes.push(nobody);

    let mut destinations = Destinations::default();
    for _ in 0..second * second {
        destinations.apply(&time_wait(1234, "curl", "10.0.0.2:5432"));
    }
    destinations.apply(&time_wait(1234, "curl", LONG));
    for _ in 0..40 * second {
        let mut event = time_wait(80, "nginx", "10.9.9.9:50000");
        event.side = Side::Server;
        event.local = Some("10.0.0.1:443".parse().unwrap());
        destinations.apply(&event);
    }
    let used = 100 + second * second;
    ReportSample {
        ts: Timestamp(START_NS + second * SECOND_NS),
        mono_ns: second * SECOND_NS,
        report: Report {
            start: Timestamp(START_NS),
            end: Timestamp(START_NS + second * SECOND_NS),
            audit_off: 0,
            duration_ns: second * SECOND_NS,
            host: "web-1".into(),
            kernel: "6.12".into(),
            tiers: vec![choice(Question::TimeWaitEnd, None), choice(Question::Port, Some("a latency is an upper bound"))],
            exact: Exact {
                processes: true,
                destinations: true,
                refused_reuse: true,
                ends: true,
            },
            inexact: vec![],
            processes,
            destinations: destinations.rows(),
            pairs: vec![],
            pairs_left_out: 0,
            time_waits_alive: Default::default(),
            budgets: vec![
                budget(Some("10.0.0.2:5432"), 990 - used.min(990) as u32, Outlook::RunsOut, Some(41)),
                budget(Some(LONG), 970, Outlook::Never, None),
                budget(None, 400, Outlook::Full, Some(0)),
            ],
            other_budgets: Default::default(),
            budgets_unknown: vec![],
            close_wait: vec![],
            fixed_ports: vec![],
            fixed_ports_left_out: 0,
            missing_addresses: vec![],
            missing_addresses_left_out: 0,
            unscanned: vec![],
            netns_names: vec![],
            stacks: None,
            memory: Memory::of(vec![]),
            audit: vec![audit(0)],
            lost: vec![],
            recursion_misses: None,
            has_totals: true,
            history: None,
        },
        findings: vec![Finding {
            id: "budget_nearly_full",
            severity: Severity::Critical,
            title: "local ports from 10.0.0.1 to 10.0.0.2:5432 run out in 41 s: evil\x1b[2J(7)".into(),
            evidence: vec!["curl(1234) makes 40 TIME_WAITs a second, and each holds its port for a minute; the range 40000-40999 has a thousand of them".into()],
            figures: Value::Null,
            to_do: vec!["keep connections alive and use them again".into()],
            settings: Vec::new(),
            do_not: vec!["net.ipv4.tcp_fin_timeout: it bounds FIN_WAIT2 only".into()],
        }],
    }
}

/// A wide destination.
pub const LONG: &str = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535";

fn choice(question: Question, lost: Option<&str>) -> Choice {
    Choice {
        lost: lost.map(str::to_owned),
        ..Choice::sample(question, Tier::RawTracepoint)
    }
}

/// An audit with this difference.
pub fn audit(difference: i64) -> AuditRow {
    AuditRow {
        netns: NETNS,
        netns_nth: 0,
        births_seen: 1_000,
        births_kernel: Some(1_000u64.saturating_add_signed(-difference)),
        difference: Some(difference),
        overflow_seen: 0,
        overflow_kernel: Some(0),
        inferred: 0,
        ends_seen: Some(1),
        alive_growth: Some(999),
        alive_difference: Some(0),
        reused_seen: Some(0),
        reused_kernel: Some(0),
        uncertainty: 0,
        basis: Basis::TcpExt,
        audited: true,
        why: None,
        ..AuditRow::default()
    }
}

/// Adds this many lost events.
pub fn lossy(mut sample: ReportSample, count: u64) -> ReportSample {
    sample.report.lost.push(LostRow {
        probe: LostBy::Probe(Probe::TimeWait),
        count,
    });
    sample.report.exact.destinations = false;
    sample.report.audit = vec![audit(-7)];
    sample.report.audit_off = 1;
    sample
}

/// A TIME_WAIT of a process to a destination.
pub fn time_wait(tgid: u32, comm: &str, remote: &str) -> Event {
    Event {
        netns: Some(NETNS),
        remote: Some(remote.parse().unwrap()),
        process: Some(samples::process(tgid, comm)),
        opener: None,
        ..samples::time_wait()
    }
}

/// Events of one second.
pub fn events() -> Vec<Event> {
    let mut slow = samples::port_alloc();
    if let EventFacts::PortAlloc(facts) = &mut slow.facts {
        facts.result = PortResult::Ok;
    }
    let mut reset = samples::reset();
    reset.process = Some(samples::process(5_000, HOSTILE[0]));
    vec![
        time_wait(1234, "curl", "10.0.0.2:5432"),
        time_wait(1234, "curl", LONG),
        time_wait(80, "nginx", "10.9.9.9:50000"),
        reset,
        samples::port_alloc(),
        slow,
        samples::abort(),
        samples::time_wait_end(),
    ]
}

/// A view ten seconds later.
pub fn app(options: ViewOptions) -> App {
    let mut app = App::new(options);
    for second in 0..10 {
        for event in events() {
            app.event(&event, None);
        }
        app.sample(sample(second));
    }
    app
}

/// A thousand short-lived commands, and one process that sends RSTs.
pub fn short_lived(second: u64) -> ReportSample {
    let mut sample = sample(second);
    sample.report.processes = (1..=100 * second as u32)
        .map(|tgid| process(tgid, "curl", Side::Client, 1))
        .collect();
    for (tgid, comm) in (2_000..).zip(["api", "cron", "sshd", "redis", "worker"]) {
        let created = 5 * second;
        sample
            .report
            .processes
            .push(process(tgid, comm, Side::Server, created));
    }
    let mut prober = process(3_000, "prober", Side::Client, 0);
    for _ in 0..30 * second {
        prober.counts.reset_sent.add(ResetReason::LingerZero);
    }
    sample.report.processes.push(prober);
    sample
}

/// Thousands of rows in every table.
pub fn crowded() -> ReportSample {
    let mut sample = sample(10);
    sample.report.processes = (1..=5_000)
        .map(|tgid| {
            process(
                tgid,
                &format!("worker-{tgid}"),
                Side::Client,
                u64::from(tgid % 7),
            )
        })
        .collect();
    let mut destinations = Destinations::default();
    for number in 0..5_000u32 {
        let remote = format!("10.1.{}.{}:80", number / 256, number % 256);
        destinations.apply(&time_wait(9, "curl", &remote));
    }
    sample.report.destinations = destinations.rows();
    sample.findings = vec![sample.findings[0].clone(); 300];
    sample
}

/// The contents of the screen.
pub fn screen(app: &mut App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| app.draw(frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let mut shown = String::new();
    for y in 0..height {
        let mut line = String::new();
        let mut x = 0;
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            // A wide character hides the cell beside it.
            x += symbol.width().max(1) as u16;
        }
        shown.push_str(line.trim_end());
        shown.push('\n');
    }
    shown
}

/// Presses a key.
pub fn press(app: &mut App, code: KeyCode) -> Option<Action> {
    app.key(KeyEvent::new(code, KeyModifiers::NONE))
}

/// Types a text.
pub fn write(app: &mut App, text: &str) {
    for char in text.chars() {
        press(app, KeyCode::Char(char));
    }
}
