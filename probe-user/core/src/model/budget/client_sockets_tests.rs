use super::samples::{listener, live, time_wait};
use super::*;
use crate::model::budget::sysctls::{TwReuse, TwTimeout, samples::narrow};

#[test]
fn listeners_and_what_they_accepted_are_no_clients() {
    let sockets = [
        listener("0.0.0.0:40001"),
        live("10.0.0.1:40001", "10.0.0.9:5555"),
        live("10.0.0.1:40000", "10.0.0.2:80"),
        time_wait("10.0.0.1:40002", "10.0.0.2:80", 30),
        live("10.0.0.1:40003", "10.0.0.3:80"),
        live("10.0.0.1:50000", "10.0.0.2:80"),
    ];
    let snapshot = ClientSockets::new(&sockets, narrow().range, |port| port == 40_003);
    let source = "10.0.0.1".parse().unwrap();
    let destination = "10.0.0.2:80".parse().unwrap();
    assert_eq!(
        snapshot.tuples().collect::<Vec<_>>(),
        [(source, destination)]
    );
    let ports: Vec<u16> = snapshot
        .held_by(source, destination)
        .iter()
        .map(|(port, _)| *port)
        .collect();
    assert_eq!(ports, [40_000, 40_002]);
    let mut bound: Vec<String> = snapshot.bound().iter().map(ToString::to_string).collect();
    bound.sort();
    assert_eq!(bound, ["0.0.0.0:40001", "10.0.0.1:40003"]);
}

#[test]
fn a_port_counts_once_on_its_address() {
    let sockets = [
        time_wait("10.0.0.1:40000", "10.0.0.2:80", 30),
        live("10.0.0.1:40000", "10.0.0.3:80"),
        time_wait("10.0.0.5:40000", "10.0.0.3:80", 20),
        time_wait("10.0.0.5:40001", "10.0.0.3:80", 20),
    ];
    let snapshot = ClientSockets::new(&sockets, narrow().range, |_| false);
    assert_eq!(
        snapshot.held_on("10.0.0.1".parse().unwrap()),
        [(40_000, Hold::Live)]
    );
    assert_eq!(snapshot.held_on("10.0.0.5".parse().unwrap()).len(), 2);
    assert_eq!(snapshot.held_on("0.0.0.0".parse().unwrap()).len(), 2);
}

#[test]
fn a_time_wait_blocks_until_it_may_be_reused() {
    let second = 1_000_000_000;
    let mut sysctls = narrow();
    sysctls.tw_reuse = TwReuse::Always;
    let hold = |left_s: u64, in_fin_wait2| Hold::TimeWait {
        left_ns: left_s * second,
        in_fin_wait2,
    };
    let ask = |hold: Hold, is_reused| hold.blocks_for_ns(&sysctls, is_reused);
    assert_eq!(ask(hold(60, false), true), Some(second));
    assert_eq!(ask(hold(59, false), true), Some(0));
    assert_eq!(ask(hold(59, false), false), Some(59 * second));
    assert_eq!(ask(hold(59, true), true), Some(59 * second));
    assert_eq!(ask(Hold::Live, true), None);
    sysctls.tw_timeout = TwTimeout::from_seconds(10);
    let left = hold(10, false);
    assert_eq!(left.blocks_for_ns(&sysctls, true), Some(second));
    assert_eq!(hold(9, false).blocks_for_ns(&sysctls, true), Some(0));
    // It was created before the setting was lowered.
    assert_eq!(hold(59, false).blocks_for_ns(&sysctls, true), Some(second));
}
