use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

const MINUTE_NS: u64 = 60 * SECOND_NS;

fn pace(taken_per_s: f64) -> Pace {
    Pace {
        taken_per_s,
        kept_per_s: 0.0,
        hold_ns: MINUTE_NS,
    }
}

fn ask(capacity: u64, live: u64, given_back_ns: &[u64], pace: &Pace) -> Forecast {
    let held = PoolState {
        capacity,
        live,
        given_back_ns,
    };
    forecast(&held, pace)
}

/// For comparison: later is greater.
fn when(forecast: Forecast) -> u64 {
    match forecast {
        Forecast::Full => 0,
        Forecast::RunsOut(after_ns) => after_ns,
        Forecast::Never => u64::MAX,
    }
}

#[test]
fn an_empty_budget_runs_out_after_capacity_by_rate() {
    assert_eq!(
        ask(1_000, 0, &[], &pace(100.0)),
        Forecast::RunsOut(10 * SECOND_NS)
    );
    assert_eq!(
        ask(1_000, 500, &[], &pace(100.0)),
        Forecast::RunsOut(5 * SECOND_NS)
    );
}

#[test]
fn below_the_steady_state_ports_never_run_out() {
    // 10 per second are 600 in a minute.
    assert_eq!(ask(601, 0, &[], &pace(10.0)), Forecast::Never);
    assert_eq!(ask(600, 0, &[], &pace(10.0)), Forecast::RunsOut(MINUTE_NS));
    assert_eq!(ask(1, 0, &[], &pace(0.0)), Forecast::Never);
}

#[test]
fn a_full_budget_is_full_whatever_the_pace() {
    assert_eq!(ask(3, 2, &[5], &pace(0.0)), Forecast::Full);
    assert_eq!(ask(0, 0, &[], &pace(0.0)), Forecast::Full);
}

#[test]
fn what_is_given_back_in_time_helps() {
    // 4 are free and 4 more in one second: at 3 per second the first ones last until then.
    let given_back = [SECOND_NS; 4];
    assert_eq!(
        ask(8, 0, &given_back, &pace(3.0)),
        Forecast::RunsOut(2_666_666_667)
    );
    // At 8 per second they do not.
    assert_eq!(
        ask(8, 0, &given_back, &pace(8.0)),
        Forecast::RunsOut(SECOND_NS / 2)
    );
}

#[test]
fn old_time_waits_can_fill_a_budget_that_is_wide_enough_in_the_long_run() {
    // In the long run 60 × 1 < 100, but 95 old ones stay for 50 s.
    let given_back = [50 * SECOND_NS; 95];
    assert_eq!(
        ask(100, 0, &given_back, &pace(1.0)),
        Forecast::RunsOut(5 * SECOND_NS)
    );
}

#[test]
fn connections_that_stay_fill_it_in_the_end() {
    let growing = Pace {
        taken_per_s: 2.0,
        kept_per_s: 1.0,
        hold_ns: MINUTE_NS,
    };
    // 120 after one minute, and one more each second.
    assert_eq!(
        ask(150, 0, &[], &growing),
        Forecast::RunsOut(90 * SECOND_NS)
    );
}

/// Takes a port at each multiple of 1/rate and releases it after the hold; returns the first time at which all are
/// held.
fn simulate(capacity: u64, live: u64, given_back_ns: &[u64], rate: f64) -> Option<u64> {
    let mut ends: BinaryHeap<std::cmp::Reverse<u64>> = given_back_ns
        .iter()
        .copied()
        .map(std::cmp::Reverse)
        .collect();
    for birth in 1.. {
        let now_ns = (f64::from(birth) / rate * 1e9) as u64;
        if now_ns > 3 * MINUTE_NS {
            break;
        }
        while ends.peek().is_some_and(|end| end.0 <= now_ns) {
            ends.pop();
        }
        ends.push(std::cmp::Reverse(now_ns + MINUTE_NS));
        if live + ends.len() as u64 >= capacity {
            return Some(now_ns);
        }
    }
    None
}

proptest! {
    #[test]
    fn it_agrees_with_a_simulation(
        free in 2_u64..400,
        live in 0_u64..50,
        mut given_back_ns in prop::collection::vec(1..MINUTE_NS, 0..200),
        rate in 1_u32..40,
    ) {
        given_back_ns.sort_unstable();
        let rate = f64::from(rate);
        let capacity = free + live + given_back_ns.len() as u64;
        let simulated = simulate(capacity, live, &given_back_ns, rate).unwrap_or(u64::MAX);
        // Whole ports compared with fractions: they may differ by one port.
        let early = when(ask(capacity - 1, live, &given_back_ns, &pace(rate)));
        let late = when(ask(capacity + 1, live, &given_back_ns, &pace(rate)));
        prop_assert!(early <= simulated.saturating_add(1_000), "{early} {simulated}");
        prop_assert!(simulated <= late.saturating_add(1_000), "{simulated} {late}");
    }

    #[test]
    fn a_faster_pace_is_never_later(
        capacity in 0_u64..400,
        live in 0_u64..50,
        mut given_back_ns in prop::collection::vec(1..MINUTE_NS, 0..200),
        rates in (0.0..50.0, 0.0..50.0),
        kept in 0.0..5.0,
    ) {
        given_back_ns.sort_unstable();
        let (slow, fast) = (f64::min(rates.0, rates.1), f64::max(rates.0, rates.1));
        let with = |taken_per_s: f64| {
            let pace = Pace { taken_per_s, kept_per_s: f64::min(kept, slow), hold_ns: MINUTE_NS };
            when(ask(capacity, live, &given_back_ns, &pace))
        };
        // A nanosecond may be lost by rounding.
        prop_assert!(with(fast) <= with(slow).saturating_add(1));
    }

    #[test]
    fn more_use_is_never_later(
        capacity in 0_u64..400,
        live in 0_u64..50,
        mut given_back_ns in prop::collection::vec(1..MINUTE_NS, 0..200),
        one_more in 1..MINUTE_NS,
        rate in 0.0..50.0,
    ) {
        given_back_ns.sort_unstable();
        let before = when(ask(capacity, live, &given_back_ns, &pace(rate)));
        prop_assert!(when(ask(capacity, live + 1, &given_back_ns, &pace(rate))) <= before);
        let mut more = given_back_ns.clone();
        more.push(one_more);
        more.sort_unstable();
        prop_assert!(when(ask(capacity, live, &more, &pace(rate))) <= before);
    }
}
