use std::net::SocketAddr;

use twtrace_wire::{EventKind, ResetReason, Side};

use twtrace_wire::ProcessTotals;

use super::*;
use crate::event::samples;
use crate::filter::Filter;

fn key(tgid: u32) -> ProcessKey {
    samples::process(tgid, "x").key
}

fn totals(client: u64, resets: u64) -> ProcessTotals {
    let mut totals = ProcessTotals::default();
    totals.time_wait[Side::Client as usize] = client;
    totals.reset_sent[ResetReason::Refused as usize] = resets;
    totals
}

fn kernel() -> KernelTotals {
    let processes = vec![
        (key(1), totals(1, 0)),
        (key(2), totals(500, 3)),
        (without_process(Unattributed::NoSocket), totals(0, 9)),
        (key(3), totals(0, 0)),
    ];
    KernelTotals {
        named: [(1, "few"), (2, "many"), (3, "nothing")]
            .map(|(tgid, comm)| (key(tgid), samples::process(tgid, comm)))
            .into(),
        processes,
        ports: vec![(
            PortKey {
                process: key(2),
                op: PortOp::Connect as u32,
                exact: 1,
            },
            PortTotals {
                count: 7,
                ..PortTotals::default()
            },
        )],
        recursion_misses: None,
    }
}

fn summary(rows: &[ProcessRow]) -> Vec<(String, u64, u64, usize)> {
    rows.iter()
        .map(|row| {
            (
                row.process
                    .as_ref()
                    .map_or(String::new(), |process| process.comm.text().into_owned()),
                row.counts.time_wait.total(),
                row.counts.resets(),
                row.ports.len(),
            )
        })
        .collect()
}

#[test]
fn unfiltered_rows_are_the_kernels_own_totals() {
    let mut model = Model::new(Filter::default());
    let mut event = samples::time_wait();
    event.process = Some(samples::process(2, "renamed"));
    model.apply(&event);
    let rows = model.process_rows(Some(&kernel()));
    assert_eq!(
        summary(&rows),
        [
            ("renamed".into(), 500, 3, 1),
            ("few".into(), 1, 0, 0),
            (String::new(), 0, 9, 0),
        ]
    );
    assert_eq!(rows[2].unattributed, Some(Unattributed::NoSocket));
}

#[test]
fn a_filter_by_process_or_kind_keeps_the_kernels_totals() {
    let model = Model::new(Filter {
        pids: vec![2],
        kinds: vec![EventKind::Reset],
        ..Filter::default()
    });
    assert_eq!(
        summary(&model.process_rows(Some(&kernel()))),
        [("many".into(), 0, 3, 0)]
    );
}

#[test]
fn other_filters_count_events() {
    let mut model = Model::new(Filter {
        sides: vec![Side::Client],
        ..Filter::default()
    });
    model.apply(&samples::time_wait());
    model.apply(&samples::port_alloc());
    let rows = model.process_rows(Some(&kernel()));
    assert_eq!(summary(&rows), [("curl".into(), 1, 0, 1)]);
    let port = &rows[0].ports[0];
    assert_eq!((port.count, port.failures, port.exact), (1, 1, true));
    assert_eq!((port.p50_ns, port.max_ns), (Some(1_500), Some(1_500)));
}

#[test]
fn without_totals_events_are_counted() {
    let mut model = Model::new(Filter::default());
    model.apply(&samples::time_wait());
    let rows = model.process_rows(None);
    assert_eq!(summary(&rows), [("curl".into(), 1, 0, 0)]);
}

#[test]
fn processes_beyond_the_bound_are_summed_up() {
    let mut model = Model::new(Filter {
        sides: vec![Side::Client],
        ..Filter::default()
    });
    let mut event = samples::time_wait();
    event.remote = None::<SocketAddr>;
    for tgid in 1..=MAX_PROCESSES as u32 + 5 {
        event.process = Some(samples::process(tgid, "x"));
        model.apply(&event);
    }
    let rows = model.process_rows(Some(&KernelTotals::default()));
    assert_eq!(rows.len(), MAX_PROCESSES + 1);
    assert_eq!(rows[0].unattributed, Some(Unattributed::Lost));
    assert_eq!(rows[0].counts.time_wait.total(), 5);
}

#[test]
fn failed_calls_for_a_fixed_port_are_no_allocations() {
    let mut event = samples::port_alloc();
    event.process = Some(samples::process(2, "many"));
    let failures = |event: &Event, times| {
        let mut model = Model::new(Filter::default());
        (0..times).for_each(|_| model.apply(event));
        let mut kernel = kernel();
        kernel.ports[0].0.process = event.answerable().key();
        kernel.ports[0].1.failures = 3;
        let rows = model.process_rows(Some(&kernel));
        let ports = rows.iter().flat_map(|row| &row.ports);
        let sums = model.process_sums(Some(&kernel));
        let sum: u64 = sums
            .iter()
            .flat_map(|row| &row.ports)
            .map(|port| port.totals.failures)
            .sum();
        let from_events: u64 = model
            .process_rows(None)
            .iter()
            .map(ProcessRow::port_failures)
            .sum();
        let [count, failed] = ports.fold([0, 0], |[count, failed], port| {
            [count + port.count, failed + port.failures]
        });
        (count, failed, sum, from_events)
    };
    assert_eq!(failures(&event, 3), (7, 3, 3, 3));
    if let EventFacts::PortAlloc(facts) = &mut event.facts {
        facts.requested = 80;
    }
    assert_eq!(failures(&event, 3), (4, 0, 0, 0));
}

#[test]
fn a_process_row_reads_as_the_contract_says() {
    let model = Model::new(Filter::default());
    let rows = model.process_rows(Some(&kernel()));
    assert_eq!(
        serde_json::to_string(&rows[0]).unwrap(),
        r#"{"process":{"pid":2,"comm":"many","uid":1000},"unattributed":null,"time_wait":{"client":500,"server":0,"unknown":0},"fin_wait2":{"client":0,"server":0,"unknown":0},"overflow":{"client":0,"server":0,"unknown":0},"ended":{},"residence":null,"reset_sent":{"refused":3},"reset_received":{},"abort":{},"reuse":{"taken":0,"hindered":0,"refused":{}},"ports":[{"op":"connect","exact":true,"count":7,"failures":0,"untimed":0,"p50_ns":null,"p99_ns":null,"max_ns":null}]}"#
    );
}

/// Resident memory of this process, bytes.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    // SAFETY: sysconf() has no preconditions.
    pages * u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap()
}

/// Other tests of this process allocate memory at the same time.
#[test]
fn a_million_time_waits_take_bounded_memory() {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("model::tests::a_million_time_waits")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

/// As many live at the same time, each of another connection, to as many destinations.
#[test]
#[ignore = "run by the test above, in a process of its own"]
fn a_million_time_waits() {
    const TIME_WAITS: u32 = 1_000_000;
    /// Maximum memory of a report.
    const MOST_BYTES: u64 = 64 << 20;
    let mut model = Model::new(Filter::default());
    let mut evidence = budget::evidence::Evidence::default();
    let mut birth = samples::time_wait();
    let mut end = samples::time_wait_end();
    let before = resident_bytes();
    let began = std::time::Instant::now();
    for number in 0..TIME_WAITS {
        birth.remote = Some(SocketAddr::new(
            std::net::Ipv4Addr::from_bits(number).into(),
            443,
        ));
        model.apply(&birth);
        evidence.note(&birth);
    }
    let grown = resident_bytes().saturating_sub(before);
    for _ in 0..TIME_WAITS {
        model.apply(&end);
        end.mono_ns += 1;
    }
    println!(
        "{} MiB; {} ns an event",
        grown >> 20,
        began.elapsed().as_nanos() / u128::from(2 * TIME_WAITS)
    );
    let rows = model.process_rows(Some(&KernelTotals::default()));
    assert!(rows.is_empty(), "the kernel's totals are empty here");
    let made: u64 = model
        .destination_rows()
        .iter()
        .map(|row| row.time_wait)
        .sum();
    assert_eq!(made, u64::from(TIME_WAITS));
    assert!(grown < MOST_BYTES, "{grown} bytes");
}

#[test]
fn who_takes_a_time_wait_is_told_from_who_made_it() {
    let mut model = Model::new(Filter {
        remote: vec!["[2001:db8::2]:80".parse().unwrap()],
        ..Filter::default()
    });
    model.apply(&samples::time_wait_end());
    model.apply(&samples::port_alloc());
    let rows = model.process_rows(Some(&KernelTotals::default()));
    let of = |comm: &str| {
        let mut rows = rows.iter();
        rows.find(|row| row.process.as_ref().unwrap().comm.text() == comm)
            .unwrap()
            .reuse
    };
    assert_eq!((of("wget").taken, of("wget").hindered), (1, 0));
    assert_eq!((of("curl").taken, of("curl").hindered), (0, 1));
    let destinations = model.destination_rows();
    assert_eq!(destinations.len(), 1, "{destinations:?}");
    assert_eq!(
        (destinations[0].reuse.taken, destinations[0].reuse.hindered),
        (1, 1)
    );
    assert_eq!(destinations[0].port_failures, 1);
}
