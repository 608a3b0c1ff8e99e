//! Tests of forecasts under supposed settings.

use proptest::prelude::*;

use super::super::samples;
use super::supposed::Change;
use super::*;

fn supposed(texts: &[&str]) -> Supposed {
    let changes: Vec<Change> = texts.iter().map(|text| text.parse().unwrap()).collect();
    Supposed::of(&changes).unwrap()
}

/// 1,000 ports (40000 to 40999) towards one destination, the given row's figures, and no reuse.
fn facts(row: BudgetRow) -> DoctorFacts {
    let mut facts = samples::healthy();
    let ports = &mut facts.state_mut().ports;
    ports.range = row.range.unwrap();
    ports.tw_reuse = crate::model::budget::sysctls::TwReuse::Never;
    facts.report.budgets = vec![row];
    facts
}

fn asked(row: BudgetRow, texts: &[&str]) -> WhatIfPool {
    what_if(&facts(row), &supposed(texts)).pools.remove(0)
}

/// 20 connections a second; the ports are used up, and 30 allocations failed in ten seconds.
fn used_up() -> BudgetRow {
    BudgetRow {
        connections_per_s: Some(17.0),
        ..samples::budget(0, 30)
    }
}

#[test]
fn reuse_leaves_those_of_the_last_second() {
    let pool = asked(used_up(), &["tcp_tw_reuse=1"]);
    assert_eq!((pool.now.outlook, pool.now.held), (Outlook::Full, 1_000));
    assert_eq!(pool.connections_per_s, 20.0);
    assert_eq!((pool.then.outlook, pool.then.held), (Outlook::Never, 20));
    assert_eq!(pool.then.max_connections_per_s, 1_000.0);
    assert_eq!(pool.notes.len(), 2, "{:?}", pool.notes);
}

#[test]
fn a_range_a_shorter_time_wait_more_destinations_and_keepalive_have_their_effect() {
    for (texts, capacity, held) in [
        (&["range=40000-41999"][..], 2_000, 1_200),
        (&["range=40000-40499"], 500, 500),
        (&["tcp_tw_timeout=30"], 1_000, 600),
        (&["destinations=2"], 1_000, 600),
        (&["keepalive=0.9"], 1_000, 120),
        (&["keepalive=0.5", "destinations=3"], 1_000, 200),
        (&["keepalive=1"], 1_000, 0),
    ] {
        let then = asked(used_up(), texts).then;
        assert_eq!((then.capacity, then.held), (capacity, held), "{texts:?}");
    }
    // Nothing is free yet: all TIME_WAITs of now block.
    let then = asked(used_up(), &["keepalive=0.9"]).then;
    assert_eq!((then.outlook, then.full_in_ns), (Outlook::Full, Some(0)));
}

#[test]
fn what_another_range_holds_of_now_is_its_part() {
    for (range, outlook) in [
        ("range=50000-50999", Outlook::RunsOut),
        ("range=40000-40499", Outlook::Full),
        ("range=40500-42499", Outlook::Never),
    ] {
        let then = asked(used_up(), &[range]).then;
        assert_eq!(then.outlook, outlook, "{range}: {then:?}");
    }
    // Half of the TIME_WAITs of now have ports of this one: it lasts for about 51 s, and with all of them for 30 s.
    let then = asked(used_up(), &["range=40500-41599"]).then;
    let full_in_s = then.full_in_ns.unwrap() / 1_000_000_000;
    assert!((48..=54).contains(&full_in_s), "{then:?}");
}

#[test]
fn time_waits_that_turn_over_make_room_at_once() {
    // All ports but 13 are held, and one of those that were created a minute ago ends every 60 ms.
    let turning_over = BudgetRow {
        connections_per_s: Some(17.0),
        expiry_per_s: Some(16.0),
        ..samples::budget(13, 830)
    };
    let then = asked(turning_over, &["keepalive=0.9"]).then;
    assert_eq!(then.outlook, Outlook::Never, "{then:?}");
    // None has ended yet: they are as old as the rate explains.
    let young = BudgetRow {
        connections_per_s: Some(95.0),
        ..samples::budget(50, 0)
    };
    let then = asked(young, &["keepalive=0.9"]).then;
    assert_eq!(then.outlook, Outlook::RunsOut, "{then:?}");
}

#[test]
fn what_has_no_effect_is_said() {
    let bind = BudgetRow {
        pool: PoolWord::Bind,
        destination: None,
        ..used_up()
    };
    let pool = asked(bind, &["tcp_tw_reuse=1", "destinations=4"]);
    assert_eq!(pool.then, pool.now);
    assert!(
        pool.notes
            .iter()
            .filter(|it| it.contains("no effect"))
            .count()
            == 2
    );
    let own = BudgetRow {
        socket_range: true,
        ..used_up()
    };
    let pool = asked(own, &["range=1024-65535"]);
    assert_eq!(pool.then.capacity, 1_000);
    assert!(pool.notes[0].contains("IP_LOCAL_PORT_RANGE"));
    let mut facts = facts(used_up());
    facts.state_mut().ports.timestamps = false;
    let pools = what_if(&facts, &supposed(&["tcp_tw_reuse=1"])).pools;
    assert!(pools[0].notes[0].contains("timestamps is off"));
    assert_eq!(pools[0].then.held, 1_000);
}

#[test]
fn reserved_ports_and_those_of_bind_stay_out_of_a_new_range() {
    let row = BudgetRow {
        capacity: Some(900),
        excluded: Some(100),
        ..samples::budget(900, 0)
    };
    let mut facts = facts(row);
    facts.state_mut().ports.reserved = (40_000..40_040).chain([50_000]).collect();
    let capacity = |range: &str| what_if(&facts, &supposed(&[range])).pools[0].then.capacity;
    // 60 are bound: as many in a larger range, a part of them in a smaller one.
    assert_eq!(capacity("range=40000-59999"), 20_000 - 41 - 60);
    assert_eq!(capacity("range=40500-40979"), 480 - 60 * 480 / 960);
}

#[test]
fn a_pool_without_a_rate_is_counted() {
    let row = BudgetRow {
        connections_per_s: None,
        ..used_up()
    };
    let answer = what_if(&facts(row), &supposed(&["keepalive=0.9"]));
    assert_eq!((answer.pools.len(), answer.unknown), (0, 1));
}

proptest! {
    /// A kernel that is played second by second holds what is forecast, and runs out when it is forecast.
    #[test]
    fn what_then_happens_is_forecast(
        rate in 1_u32..40,
        keepalive in prop::sample::select(vec![0.0, 0.5, 0.75]),
        destinations in 1_u16..3,
        timeout_s in prop::sample::select(vec![5_u64, 30, 60]),
        ran_s in 0_u64..90,
    ) {
        let held = rate * u32::try_from(ran_s.min(60)).unwrap();
        prop_assume!(held < 1_000);
        let row = BudgetRow {
            connections_per_s: Some(f64::from(rate)),
            ..samples::budget(1_000 - held, 0)
        };
        let texts = [
            format!("keepalive={keepalive}"),
            format!("destinations={destinations}"),
            format!("tcp_tw_timeout={timeout_s}"),
        ];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let then = asked(row, &texts).then;
        let opened_per_s = f64::from(rate) * (1.0 - keepalive) / f64::from(destinations);
        // Ends of those of now, one after the other, and of those that come.
        let (mut old, mut ends, mut full_s) = (f64::from(held) / f64::from(destinations), Vec::new(), None);
        let ran_s = ran_s.min(60) as f64;
        for second in 0..300_u64 {
            if second as f64 >= 60.0 - ran_s {
                old = (old - f64::from(rate) / f64::from(destinations)).max(0.0);
            }
            ends.push(second + timeout_s);
            let new = ends.iter().filter(|end| **end > second).count() as f64 * opened_per_s;
            if old + new >= 1_000.0 && full_s.is_none() {
                full_s = Some(second);
            }
        }
        let last = (opened_per_s * timeout_s as f64).min(1_000.0);
        prop_assert!((then.held as f64 - last).abs() <= 1.0, "{then:?} {last}");
        match (full_s, then.full_in_ns) {
            (Some(full_s), Some(full_in_ns)) => {
                let off = full_s as f64 - full_in_ns as f64 / 1e9;
                prop_assert!(off.abs() <= 3.0, "{full_s} {then:?}");
            }
            (None, None) => {}
            // On the edge.
            _ => prop_assert!((opened_per_s * timeout_s as f64 - 1_000.0).abs() < 2.0 * f64::from(rate), "{full_s:?} {then:?}"),
        }
    }
}
