use std::collections::HashMap;

use proptest::prelude::*;
use twtrace_wire::{ProcessTotals, ResetReason};

use super::*;
use crate::event::samples;
use crate::event::{Moment, Timestamp};
use crate::hooks::{Choice, Question, Tier};
use crate::model::host::Host;
use crate::model::tally::Tally;

fn tracing_start(ends: Tier) -> TracingStart {
    TracingStart {
        at: Moment {
            ts: Timestamp(1_000),
            mono_ns: 500,
        },
        host: Host {
            name: "h".into(),
            kernel: "6.12".into(),
        },
        tiers: vec![Choice {
            question: Question::TimeWaitEnd,
            tier: ends,
            hooks: Vec::new(),
            lost: None,
            refused: Vec::new(),
        }],
    }
}

fn series(max: usize) -> Series {
    let limits = SeriesLimits {
        max_processes: max,
        max_destinations: max,
    };
    Series::new(&tracing_start(Tier::Fentry), limits)
}

/// TIME_WAITs of each of these as a client, and port allocations.
fn taken(made: &[(u32, &str, u64)]) -> KernelTotals {
    let mut taken = KernelTotals::default();
    for (tgid, comm, number) in made {
        let process = samples::process(*tgid, comm);
        let mut totals = ProcessTotals::default();
        totals.time_wait[Side::Client as usize] = *number;
        taken.processes.push((process.key, totals));
        let mut searches = PortTotals {
            count: *number,
            ..PortTotals::default()
        };
        searches.buckets[0] = u32::try_from(*number).unwrap();
        let key = PortKey {
            process: process.key,
            op: PortOp::Connect as u32,
            exact: 1,
        };
        taken.ports.push((key, searches));
        taken.named.insert(process.key, process);
    }
    taken
}

fn named(name: &str) -> Owner {
    Owner::of(&samples::process(1, name))
}

fn time_waits(series: &Series) -> HashMap<Owner, u64> {
    let shown = series.processes().shown();
    shown
        .map(|(owner, figures)| (owner.clone(), figures.counts.time_wait.total()))
        .collect()
}

#[test]
fn pids_make_no_series_names_do() {
    let mut series = series(2);
    series.add_totals(&taken(&[
        (1, "a", 3),
        (2, "a", 4),
        (3, "b", 5),
        (4, "c", 1),
    ]));
    assert_eq!(
        time_waits(&series),
        [(named("a"), 4 + 3), (named("b"), 5)].into()
    );
    assert_eq!(series.processes().others().counts.time_wait.total(), 1);
    assert_eq!(series.whole().counts.time_wait.of(Side::Client), 13);
    let searches = &series.searches()[&(PortOp::Connect, true)];
    assert_eq!((searches.count, searches.latency.count()), (13, 13));
}

#[test]
fn failed_calls_for_a_fixed_port_have_a_counter_of_their_own() {
    let mut series = series(5);
    let mut event = samples::port_alloc();
    if let EventFacts::PortAlloc(facts) = &mut event.facts {
        facts.requested = 80;
    }
    series.event(&event);
    let taken = KernelTotals {
        ports: vec![(
            PortKey {
                process: event.answerable().key(),
                op: PortOp::Connect as u32,
                exact: 1,
            },
            PortTotals {
                count: 5,
                failures: 2,
                ..PortTotals::default()
            },
        )],
        ..KernelTotals::default()
    };
    series.add_totals(&taken);
    let searches = &series.searches()[&(PortOp::Connect, true)];
    assert_eq!((searches.count, searches.failures), (4, 1));
    series.add_totals(&taken);
    let searches = &series.searches()[&(PortOp::Connect, true)];
    assert_eq!((searches.count, searches.failures), (9, 3));
    let of = |errors: &BTreeMap<_, u64>| errors[&(PortOp::Connect, Errno(99))];
    assert_eq!(
        (of(series.port_errors()), of(series.fixed_port_errors())),
        (0, 1)
    );
    let (_, done) = series.destinations().shown().next().unwrap();
    assert_eq!((done.port_failures, done.reuse.hindered), (0, 1));
}

#[test]
fn totals_are_counted_once_and_events_tell_the_rest() {
    let mut series = series(5);
    for event in [
        samples::time_wait(),
        samples::reset(),
        samples::abort(),
        samples::port_alloc(),
        samples::time_wait_end(),
    ] {
        series.any_event(&event);
        series.event(&event);
    }
    assert!(series.whole().counts.is_empty() && series.searches().is_empty());
    assert_eq!(series.residence()[&EndCause::ReusedByConnect].count(), 1);
    assert_eq!(series.port_errors()[&(PortOp::Connect, Errno(99))], 1);
    let (key, done) = series.destinations().shown().next().unwrap();
    assert_eq!(key.1.to_string(), "[2001:db8::2]:80");
    assert_eq!(
        (
            done.counts.time_wait.total(),
            done.port_failures,
            done.reuse.taken
        ),
        (1, 1, 1)
    );
}

/// From any source of counts, the sums equal those of a report.
#[test]
fn numbers_are_those_of_a_report() {
    let mut nobodys = samples::reset();
    nobodys.process = None;
    nobodys.unattributed = Some(Unattributed::NoSocket);
    let events = [
        samples::time_wait(),
        samples::time_wait(),
        samples::reset(),
        nobodys,
        samples::abort(),
        samples::port_alloc(),
        samples::time_wait_end(),
    ];
    let client_only = Filter {
        sides: vec![Side::Client],
        ..Filter::default()
    };
    for (filter, ends) in [
        (client_only, Tier::Fentry),
        (Filter::default(), Tier::Inferred),
    ] {
        let tracing_start = tracing_start(ends);
        let limits = SeriesLimits {
            max_processes: 9,
            max_destinations: 9,
        };
        let mut series = Series::new(&tracing_start, limits);
        series.set_filter(filter.clone());
        let mut tally = Tally::new(tracing_start, filter);
        for event in &events {
            tally.any_event(event);
            series.any_event(event);
            tally.event(event);
            series.event(event);
        }
        let totals = taken(&[(1234, "curl", 3), (77, "wget", 5)]);
        tally.add_totals(&totals);
        series.add_totals(&totals);
        let report = tally.report();
        assert_eq!(report.exact, series.exact());
        assert!(!report.processes.is_empty());
        assert_eq!(report.processes.len(), series.processes().shown().count());
        for row in &report.processes {
            let owner = match &row.process {
                Some(process) => Owner::of(process),
                None => Owner::Nobody(row.unattributed.unwrap()),
            };
            let mut shown = series.processes().shown();
            let (_, figures) = shown.find(|(known, _)| **known == owner).unwrap();
            assert_eq!((&row.counts, &row.reuse), (&figures.counts, &figures.reuse));
            let searched: Vec<_> = figures.searched().collect();
            assert_eq!(row.ports.len(), searched.len());
            for (port, (op, searches)) in row.ports.iter().zip(searched) {
                assert_eq!(
                    (port.op, port.count, port.failures),
                    (op, searches.count, searches.failures)
                );
            }
        }
        for row in &report.destinations {
            let mut shown = series.destinations().shown();
            let key = (row.side, row.destination);
            let (_, done) = shown.find(|(known, _)| **known == key).unwrap();
            assert_eq!(
                (row.time_wait, row.port_failures, *row.reuse),
                (
                    done.counts.time_wait.total(),
                    done.port_failures,
                    done.reuse
                )
            );
        }
    }
}

#[test]
fn what_the_filter_hides_is_not_counted() {
    let mut series = series(5);
    series.set_filter(Filter {
        comms: vec!["b".to_owned()],
        kinds: vec![EventKind::TimeWait],
        ..Filter::default()
    });
    series.add_totals(&taken(&[(1, "a", 3), (3, "b", 5)]));
    assert_eq!(time_waits(&series), [(named("b"), 5)].into());
    assert!(series.searches().is_empty());
}

#[test]
fn a_process_that_is_not_named_is_nobody() {
    let mut series = series(5);
    let mut totals = taken(&[(1, "a", 3)]);
    totals.named.clear();
    series.add_totals(&totals);
    let nobody = Owner::Nobody(Unattributed::Unknown);
    assert_eq!(time_waits(&series), [(nobody, 3)].into());
}

#[test]
fn losses_weaken_what_comes_from_events() {
    let mut series = series(5);
    series.lost(&Lost {
        ts: Timestamp(1),
        mono_ns: 1,
        event: Default::default(),
        probe: LostBy::Probe(twtrace_wire::Probe::TimeWait),
        count: 3,
    });
    assert!(series.exact().processes && !series.exact().destinations);
    assert_eq!(series.losses().values().sum::<u64>(), 3);
}

#[test]
fn skipped_programs_and_forgotten_processes_weaken_totals() {
    let weakened = |weaken: fn(&mut KernelTotals)| {
        let mut series = series(5);
        series.tracing_start.tiers.push(Choice {
            question: Question::Port,
            tier: Tier::Syscall,
            hooks: vec![],
            lost: None,
            refused: vec![],
        });
        let mut totals = taken(&[(1, "a", 3)]);
        let calls = ["bind_enter", "listen_enter", "connect_enter", "port_exit"];
        let misses = calls.map(|program| (program.to_owned(), 0));
        totals.recursion_misses = Some(misses.into());
        weaken(&mut totals);
        series.add_totals(&totals);
        !series.exact().processes
    };
    assert!(!weakened(|_| {}));
    assert!(weakened(|totals| {
        let misses = totals.recursion_misses.as_mut().unwrap();
        misses[3].1 = 116;
    }));
    assert!(weakened(|totals| {
        totals.processes[0].0 = crate::event::answerable::without_process(Unattributed::Lost);
    }));
}

#[derive(Clone, Debug)]
enum Step {
    Made(u8, u32),
    /// Counted too early, and taken back.
    TakenBack(u8),
    Turn,
}

proptest! {
    #[test]
    fn sums_are_the_total_and_nothing_goes_down(
        max in 1_usize..5,
        steps in prop::collection::vec(prop_oneof![
            9 => (0_u8..5, 0_u32..100).prop_map(|(name, made)| Step::Made(name, made)),
            1 => (0_u8..5).prop_map(Step::TakenBack),
            2 => Just(Step::Turn),
        ], 0..100),
    ) {
        let mut series = series(max);
        let mut last: HashMap<Owner, u64> = HashMap::new();
        let mut before = 0;
        for step in steps {
            let (name, received) = match step {
                Step::Turn => {
                    series.rotate();
                    continue;
                }
                Step::Made(name, made) => (name, u64::from(made)),
                Step::TakenBack(name) => (name, u64::MAX),
            };
            let process = samples::process(u32::from(name) + 1, &format!("p{name}"));
            let mut totals = ProcessTotals::default();
            totals.reset_received[ResetReason::Peer as usize] = received;
            series.add_totals(&KernelTotals {
                processes: vec![(process.key, totals)],
                named: [(process.key, process)].into(),
                ..KernelTotals::default()
            });
            let peer = |figures: &SeriesCounters| figures.counts.reset_received.of(ResetReason::Peer);
            let total = peer(series.whole());
            prop_assert!(total >= before);
            before = total;
            let now: HashMap<Owner, u64> =
                series.processes().shown().map(|(k, v)| (k.clone(), peer(v))).collect();
            prop_assert!(now.len() <= max);
            for (owner, number) in &now {
                prop_assert!(number >= last.get(owner).unwrap_or(&0));
            }
            last.extend(now);
            // With so few names none is forgotten; those that are not shown stay unchanged.
            let sum: u64 = last.values().sum();
            prop_assert_eq!(sum + peer(series.processes().others()), total);
        }
    }

    /// Thousands of names cost no more than a few.
    #[test]
    fn hostile_names_make_no_more_series(names in prop::collection::vec("\\PC{0,15}", 1..200)) {
        let mut series = series(3);
        for (number, name) in (1_u32..).zip(&names) {
            series.add_totals(&taken(&[(number, name, 1)]));
            if number % 10 == 0 {
                series.rotate();
            }
        }
        prop_assert!(series.processes().shown().count() <= 3);
        prop_assert_eq!(series.whole().counts.time_wait.total(), names.len() as u64);
    }
}

#[test]
fn pairs_are_of_names_and_destinations_and_no_end_makes_one() {
    let mut series = series(10);
    let event = |tgid, comm| {
        let mut event = samples::time_wait();
        event.process = Some(samples::process(tgid, comm));
        event
    };
    for event in [event(1, "curl"), event(2, "curl"), event(3, "wget")] {
        series.event(&event);
    }
    let mut end = samples::time_wait_end();
    end.process = Some(samples::process(4, "late"));
    series.event(&end);
    let mut shown: Vec<(&str, u64)> = Vec::new();
    for (pair, done) in series.pairs().shown() {
        let Owner::Process { name, .. } = &pair.owner else {
            panic!("it has a process");
        };
        shown.push((name, done.counts.time_wait.total()));
    }
    shown.sort();
    assert_eq!(shown, [("curl", 2), ("wget", 1)]);
}
