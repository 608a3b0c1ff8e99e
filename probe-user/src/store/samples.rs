//! Sample intervals for tests.

use std::collections::BTreeMap;

use twtrace_core::doctor::finding::{Finding, Severity};
use twtrace_core::event::lost::LostWord;
use twtrace_core::event::timestamp::SECOND_NS;
use twtrace_core::event::{Event, Lost, LostBy, Moment, Timestamp, samples};
use twtrace_core::filter::Filter;
use twtrace_core::model::audit::{AuditRow, Basis};
use twtrace_core::model::budget::ports::PortRange;
use twtrace_core::model::budget::row::{BudgetRow, Outlook, PoolWord};
use twtrace_core::model::close_wait::CloseWaitRow;
use twtrace_core::model::destination::Destination;
use twtrace_core::model::host::Host;
use twtrace_core::model::memory::CacheRow;
use twtrace_core::model::namespace::{NamespaceSample, samples::defaults};
use twtrace_core::model::netns_name::{NamedAfter, NetnsName};
use twtrace_core::model::notable::Notable;
use twtrace_core::model::report::{MissRow, UnscannedRow};
use twtrace_core::model::tally::{Tally, TracingStart};
use twtrace_wire::{Probe, ResetReason, Side};

use std::path::Path;

use super::writer::Writer;
use crate::store::interval::Interval;

/// Wall clock at the start of the first interval.
pub const START_NS: u64 = 1_700_000_000 * SECOND_NS;
/// Length of an interval.
pub const LENGTH_NS: u64 = 60 * SECOND_NS;

/// A moment of the first boot, with a wall clock that is off by `off_ns`.
pub fn moment(minute: u64, off_ns: i64) -> Moment {
    let mono_ns = (1 + minute) * LENGTH_NS;
    Moment {
        ts: Timestamp((START_NS + minute * LENGTH_NS).saturating_add_signed(off_ns)),
        mono_ns,
    }
}

/// The interval of a minute, with some data of every kind.
pub fn interval(minute: u64) -> Interval {
    with_clock(minute, 0)
}

/// The same with a wall clock that is off.
pub fn with_clock(minute: u64, off_ns: i64) -> Interval {
    let at = moment(minute, off_ns);
    let tracing_start = TracingStart {
        at,
        host: Host {
            name: "host".into(),
            kernel: "6.18".into(),
        },
        tiers: Vec::new(),
    };
    let mut tally = Tally::new(tracing_start, Filter::default());
    let mut notable = Notable::new(100, 0);
    for event in events(at) {
        tally.any_event(&event);
        tally.event(&event);
        notable.add(&event);
    }
    tally.lost(&Lost {
        ts: at.ts,
        mono_ns: at.mono_ns,
        event: LostWord::Lost,
        probe: LostBy::Probe(Probe::Reset),
        count: 3,
    });
    tally.reached(moment(minute + 1, off_ns));
    let mut interval = Interval::of(&tally, notable.take());
    interval.budgets = vec![budget(900 - minute.min(900) as u32)];
    interval.budgets_unknown = vec![UnscannedRow {
        netns: 9,
        why: "not permitted".into(),
    }];
    interval.close_wait = vec![CloseWaitRow {
        process: Some(samples::process(8, "leak")),
        unattributed: None,
        netns: 7,
        side: Side::Server,
        remote: None,
        local: Some(":443".into()),
        count: 2,
        shared: 1,
        oldest_ns: Some(5),
        oldest_at_most_ns: None,
        stayed: None,
        half_closed: 0,
        stayed_ns: None,
        destination: Destination::LocalPort(443),
    }];
    interval.caches = vec![CacheRow {
        name: "tw_sock_TCP".into(),
        active_objects: Some(4),
        object_bytes: Some(256),
        active_bytes: Some(1_024),
        held_bytes: Some(4_096),
        why: None,
    }];
    interval.audit = vec![audit()];
    interval.netns_names = vec![NetnsName {
        netns: 7,
        after: NamedAfter::Container,
        name: "web".into(),
    }];
    interval.recursion_misses = Some(vec![MissRow {
        program: "state".into(),
        count: 1,
    }]);
    let sample = NamespaceSample {
        path: None,
        state: Ok(defaults()),
    };
    interval.before = BTreeMap::from([(7, sample.clone())]);
    interval.after = BTreeMap::from([(7, sample)]);
    interval.findings = vec![Finding {
        id: "budget_full",
        severity: Severity::Critical,
        title: "ports ran out for evil\x1b".into(),
        evidence: vec!["none is free".into(), "67 failed".into()],
        figures: serde_json::Value::Null,
        to_do: vec![],
        settings: Vec::new(),
        do_not: vec![],
    }];
    interval
}

fn events(at: Moment) -> Vec<Event> {
    let mut hostile = samples::reset();
    hostile.process = Some(samples::process(66, "e\x1b[2Jvil"));
    let mut nobodys = samples::reset();
    nobodys.process = None;
    nobodys.unattributed = Some(twtrace_wire::Unattributed::NoSocket);
    let mut overflow = samples::time_wait();
    overflow.event = twtrace_wire::EventKind::TimeWaitOverflow;
    let mut events = vec![
        samples::time_wait(),
        samples::time_wait_end(),
        samples::reset(),
        samples::abort(),
        samples::port_alloc(),
        hostile,
        nobodys,
        overflow,
    ];
    for (later_ns, event) in (1..).zip(&mut events) {
        event.ts = Timestamp(at.ts.0 + later_ns);
        event.mono_ns = at.mono_ns + later_ns;
    }
    events
}

/// A budget of 1,000 ports.
pub fn budget(free: u32) -> BudgetRow {
    BudgetRow {
        netns: 7,
        pool: PoolWord::Connect,
        source: Some([10, 0, 0, 1].into()),
        destination: Some(([10, 0, 0, 2], 80).into()),
        range: Some(PortRange {
            low: 1_000,
            high: 1_999,
        }),
        socket_range: false,
        excluded: Some(0),
        capacity: Some(1_000),
        live: Some(0),
        time_wait: Some(1_000 - free),
        time_wait_reusable: Some(0),
        free: Some(free),
        fast_half: None,
        connections_per_s: Some(0.5),
        live_growth_per_s: None,
        expiry_per_s: Some(0.25),
        live_by: Vec::new(),
        bound_by: Vec::new(),
        failures: 1,
        outlook: match free {
            0 => Outlook::Full,
            _ => Outlook::Never,
        },
        full_in_ns: (free == 0).then_some(0),
        why: None,
    }
}

fn audit() -> AuditRow {
    AuditRow {
        netns: 7,
        netns_nth: 0,
        births_seen: 5,
        births_kernel: Some(5),
        difference: Some(0),
        overflow_seen: 0,
        overflow_kernel: Some(0),
        inferred: 0,
        ends_seen: Some(1),
        alive_growth: Some(4),
        alive_difference: Some(0),
        reused_seen: Some(1),
        reused_kernel: Some(1),
        uncertainty: 0,
        basis: Basis::TcpExt,
        audited: true,
        why: None,
        ..AuditRow::default()
    }
}

/// Writes a history of these intervals, as a service would.
pub fn kept(directory: &Path, intervals: impl IntoIterator<Item = Interval>) {
    let mut writer = Writer::open(directory).unwrap();
    for interval in intervals {
        writer.write(&interval).unwrap();
        writer.tidy(u64::MAX, u64::MAX).unwrap();
    }
}

/// RSTs of linger 0 that `curl` sent in an interval, by which tests count.
pub fn resets_of_curl(interval: &Interval) -> u64 {
    let rows = interval.processes.iter();
    rows.filter(|row| row.key.tgid == 1234)
        .map(|row| row.counts.reset_sent.of(ResetReason::LingerZero))
        .sum()
}
