use twtrace_core::event::{Timestamp, samples};
use twtrace_core::filter::Filter;
use twtrace_core::model::Model;
use twtrace_core::model::audit::Basis;
use twtrace_core::model::notable::Notable;
use twtrace_core::model::observation::KernelTotals;
use twtrace_core::model::observation::{Observation, ObservationData};
use twtrace_core::model::report::ProcessRow;
use twtrace_core::model::tally::TracingStart;
use twtrace_wire::Unattributed;
use twtrace_wire::{PortKey, PortOp, PortTotals, ProcessTotals, ResetReason};

use super::*;

fn tracing_start() -> TracingStart {
    TracingStart {
        at: Moment {
            ts: Timestamp(1_000),
            mono_ns: 500,
        },
        host: Host {
            name: "h".into(),
            kernel: "6.12".into(),
        },
        tiers: Vec::new(),
    }
}

fn later(seconds: u64) -> Moment {
    Moment {
        ts: Timestamp(1_000 + seconds * 1_000_000_000),
        mono_ns: 500 + seconds * 1_000_000_000,
    }
}

fn audit(births: u64) -> AuditRow {
    AuditRow {
        netns: 7,
        netns_nth: 0,
        births_seen: births,
        births_kernel: Some(births + 1),
        difference: Some(-1),
        overflow_seen: 0,
        overflow_kernel: Some(0),
        inferred: 0,
        ends_seen: Some(births),
        alive_growth: Some(0),
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

#[test]
fn an_interval_has_what_came_in_it_alone() {
    let mut tally = Tally::new(tracing_start(), Filter::default());
    let mut notable = Notable::new(10, 0);
    let observe = |tally: &mut Tally, at, births| {
        tally.observe(Observation {
            at,
            data: ObservationData::Audit(vec![audit(births)]),
        });
    };
    for event in [samples::time_wait(), samples::reset()] {
        tally.event(&event);
        notable.add(&event);
    }
    observe(&mut tally, later(60), 10);
    let first = Interval::of(&tally, notable.take());
    assert_eq!((first.start, first.end), (tracing_start().at, later(60)));
    assert_eq!((first.audit[0].births_seen, first.events.len()), (10, 1));
    tally.begin_interval(later(60));
    tally.event(&samples::port_alloc());
    tally.event(&samples::time_wait_end());
    observe(&mut tally, later(120), 15);
    let second = Interval::of(&tally, notable.take());
    assert_eq!((second.start, second.end), (later(60), later(120)));
    let audit = &second.audit[0];
    assert_eq!((audit.births_seen, audit.births_kernel), (5, Some(5)));
    assert_eq!((audit.difference, audit.audited), (Some(0), true));
    assert_eq!((second.sum.port_failures, second.sum.reset_sent), (1, 0));
    let maker = second.processes.iter().find(|row| row.key.tgid == 1234);
    let maker = maker.unwrap();
    assert_eq!(maker.counts.time_wait.total(), 0);
    assert_eq!(maker.ports[0].totals.failures, 1);
    assert_eq!(maker.residence.histogram().unwrap().count, 1);
    assert_eq!(second.pairs[0].counts.connect_failures, 1);
}

#[test]
fn sums_of_intervals_are_those_of_the_whole() {
    let events = [
        samples::time_wait(),
        samples::reset(),
        samples::port_alloc(),
        samples::time_wait_end(),
    ];
    let of = |events: &[Event]| {
        let mut model = Model::new(Filter::default());
        events.iter().for_each(|event| model.apply(event));
        model.process_sums(None)
    };
    let whole = of(&[&events[..], &events[..]].concat());
    let mut parts = of(&events);
    for row in of(&events) {
        let known = parts.iter_mut().find(|known| known.key == row.key).unwrap();
        known.add(row);
    }
    let rows = |sums: Vec<ProcessSums>| {
        let rows: Vec<ProcessRow> = sums.into_iter().map(ProcessSums::row).collect();
        serde_json::to_string(&rows).unwrap()
    };
    assert_eq!(rows(parts), rows(whole));
}

#[test]
fn the_kernels_totals_come_first() {
    let mut model = Model::new(Filter::default());
    model.apply(&samples::port_alloc());
    let key = samples::process(1234, "curl").key;
    let port_key = PortKey {
        process: key,
        op: PortOp::Connect as u32,
        exact: 1,
    };
    let totals = KernelTotals {
        processes: vec![(key, ProcessTotals::default())],
        ports: vec![(
            port_key,
            PortTotals {
                count: 9,
                ..PortTotals::default()
            },
        )],
        ..KernelTotals::default()
    };
    let sums = model.process_sums(Some(&totals));
    assert_eq!(sums[0].ports[0].totals.count, 9);
}

#[test]
fn what_goes_beyond_the_bound_is_summed_up() {
    let mut model = Model::new(Filter::default());
    for pid in 1..=MAX_ROWS as u32 + 10 {
        let mut event = samples::reset();
        event.process = Some(samples::process(pid, "many"));
        event.remote = Some(([10, 0, (pid >> 8) as u8, pid as u8], 80).into());
        model.apply(&event);
    }
    let (rows, folded) = fold::processes(model.process_sums(None), MAX_ROWS);
    assert_eq!((rows.len(), folded), (MAX_ROWS + 1, 10));
    let lost = rows.last().unwrap();
    assert_eq!(lost.unattributed, Some(Unattributed::Lost));
    assert_eq!(lost.counts.reset_sent.of(ResetReason::LingerZero), 10);
    let rows = fold::destinations(model.destination_rows(), MAX_ROWS);
    assert_eq!(rows.len(), MAX_ROWS + 1);
    assert_eq!(rows.last().unwrap().deaths.reset_sent.total(), 10);
}
