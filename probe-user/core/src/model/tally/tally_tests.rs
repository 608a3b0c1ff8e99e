use super::*;
use crate::event::Timestamp;
use crate::event::samples;
use crate::model::listener::ListenerSample;
use crate::model::namespace::NamespaceSample;
use crate::model::report::ProcessRow;
use twtrace_wire::Side;

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

#[test]
fn a_process_that_is_known_keeps_its_identity() {
    let tally = Tally::new(tracing_start(), Filter::default());
    let tally = Tally {
        close_wait: CloseWait {
            tick_ns: 10,
            ..CloseWait::default()
        },
        ..tally
    };
    let mut process = samples::process(7, "known");
    process.key.start_boot_ns = 53;
    let rows = [ProcessRow::new(Some(process.clone()), process.key)];
    let holder = |start_boot_ns| {
        let mut holder = samples::process(7, "now");
        holder.key.start_boot_ns = start_boot_ns;
        holder
    };
    let found = tally.known(&rows, &holder(50)).unwrap();
    assert!(found.is(&process) && found.comm == process.comm);
    assert!(tally.known(&rows, &holder(60)).is_none());
    assert!(tally.known(&rows, &holder(40)).is_none());
}

#[test]
fn an_interval_begins_with_nothing_but_what_was_looked_at() {
    let mut tally = Tally::new(tracing_start(), Filter::default()).with_recent_rates();
    let event = samples::time_wait();
    tally.any_event(&event);
    tally.event(&event);
    tally.observe(Observation {
        at: tally.latest(),
        data: ObservationData::Memory(vec![CacheRow::default()]),
    });
    let at = Moment {
        ts: Timestamp(2_000),
        mono_ns: event.mono_ns + 1,
    };
    tally.begin_interval(at);
    let report = tally.report();
    assert_eq!((report.start, report.duration_ns), (at.ts, 0));
    assert!(report.processes.is_empty() && report.destinations.is_empty());
    assert!(tally.has_recent_rates && tally.caches.len() == 1);
    tally.event(&event);
    assert_eq!(tally.report().processes[0].counts.time_wait.total(), 1);
}

#[test]
fn totals_that_were_taken_add_up() {
    let key = samples::process(7, "one").key;
    let taken = |time_wait| KernelTotals {
        processes: vec![(
            key,
            twtrace_wire::ProcessTotals {
                time_wait: [time_wait; Side::COUNT],
                ..Default::default()
            },
        )],
        named: [(key, samples::process(7, "one"))].into(),
        ..KernelTotals::default()
    };
    let mut tally = Tally::new(tracing_start(), Filter::default());
    tally.add_totals(&taken(2));
    tally.add_totals(&taken(3));
    let rows = tally.report().processes;
    assert_eq!(rows[0].counts.time_wait.total(), 5 * Side::COUNT as u64);
    assert!(rows[0].process.as_ref().unwrap().comm.is_of("one"));
}

#[test]
fn time_comes_from_what_was_told() {
    let mut tally = Tally::new(tracing_start(), Filter::default());
    let event = samples::time_wait();
    tally.any_event(&event);
    tally.event(&event);
    let report = tally.report();
    assert_eq!((report.start, report.end), (Timestamp(1_000), event.ts));
    assert_eq!(report.duration_ns, event.mono_ns - 500);
    assert_eq!(report.processes.len(), 1);
    assert!(report.exact.processes);
    tally.observe(Observation {
        at: Moment {
            ts: Timestamp(1_400),
            mono_ns: 900,
        },
        data: ObservationData::End,
    });
    assert_eq!(tally.report().duration_ns, 400);
}

#[test]
fn only_listeners_that_began_while_tracing_are_new() {
    let listener = |cookie| ListenerSample {
        netns: 1,
        cookie,
        local: "0.0.0.0:80".parse().unwrap(),
        v6only: None,
        queued: 0,
        backlog: 128,
        drops: None,
        holders: Vec::new(),
    };
    let mut tally = Tally::new(tracing_start(), Filter::default());
    let mut sample = |mono_ns, cookies: &[u64]| {
        let at = Moment {
            mono_ns,
            ..Moment::default()
        };
        let listeners = cookies.iter().map(|cookie| listener(*cookie)).collect();
        let close_wait = CloseWait {
            listeners,
            ..CloseWait::default()
        };
        let data = ObservationData::CloseWait(close_wait);
        tally.observe(Observation { at, data });
        let namespace = NamespaceSample {
            path: None,
            state: Err("not read".to_owned()),
        };
        let data = ObservationData::Namespaces([(1, namespace)].into());
        tally.observe(Observation { at, data });
        tally.end_samples().new_listeners
    };
    assert!(sample(600, &[1]).is_none(), "nothing to compare with");
    let (new, at) = sample(700, &[1, 2]).unwrap();
    let cookies: Vec<u64> = new.iter().map(|it| it.cookie).collect();
    assert_eq!((cookies, at.mono_ns), (vec![2], 700));
}
