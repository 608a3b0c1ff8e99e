//! Calls for a fixed port, and the sockets in their way.

use twtrace_wire::{Side, TcpState};

use super::*;
use crate::event::samples;
use crate::event::timestamp::Timestamp;
use crate::model::port_holders::NoPortHolder;

fn failed(op: PortOp, requested: u16, errno: i32, local: &str, second: u64) -> Event {
    let mut event = samples::port_alloc();
    event.mono_ns = second * 1_000_000_000;
    event.local = Some(local.parse().unwrap());
    if let EventFacts::PortAlloc(facts) = &mut event.facts {
        facts.op = op;
        facts.requested = requested;
        facts.result = PortResult::Failed(Errno(errno as u16));
    }
    event
}

fn bind(second: u64) -> Event {
    failed(
        PortOp::Bind,
        7_777,
        libc::EADDRINUSE,
        "0.0.0.0:7777",
        second,
    )
}

fn at(second: u64) -> Moment {
    Moment {
        mono_ns: second * 1_000_000_000,
        ..Moment::default()
    }
}

fn socket(kind: HolderKind, local: &str, remote: &str) -> PortHolder {
    PortHolder {
        kind,
        state: TcpState::Established,
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        v6only: false,
        left_ns: None,
        side: Side::Unknown,
        processes: Vec::new(),
        further_processes: 0,
        unattributed: Some(NoPortHolder::Unknown),
    }
}

fn holders(event: &Event, sockets: Vec<PortHolder>) -> PortHolders {
    PortHolders {
        netns: event.netns.unwrap(),
        port: 7_777,
        sockets,
        further: 0,
        why: None,
    }
}

#[test]
fn only_calls_for_a_taken_fixed_port_have_a_row() {
    let mut ports = FixedPorts::default();
    for event in [
        failed(PortOp::Bind, 0, libc::EADDRINUSE, "0.0.0.0:0", 1),
        failed(PortOp::Connect, 0, libc::EADDRNOTAVAIL, "0.0.0.0:0", 1),
        failed(PortOp::Bind, 80, libc::EACCES, "0.0.0.0:80", 1),
        failed(PortOp::Connect, 80, libc::EPERM, "0.0.0.0:80", 1),
    ] {
        ports.apply(&event);
    }
    assert!(ports.rows().is_empty());
    ports.apply(&bind(1));
    ports.apply(&bind(3));
    let [row] = &ports.rows()[..] else {
        panic!("not one row");
    };
    assert_eq!(
        (row.port, row.calls[0].count, row.lasted_ns),
        (7_777, 2, 2_000_000_000)
    );
    assert_eq!((row.checked_ns, row.processes), (None, 1));
}

#[test]
fn sockets_of_other_addresses_are_not_in_the_way() {
    let mut ports = FixedPorts::default();
    let event = failed(PortOp::Bind, 7_777, libc::EADDRINUSE, "10.0.0.1:7777", 1);
    ports.apply(&event);
    let sockets = vec![
        socket(HolderKind::TimeWait, "10.0.0.1:7777", "10.0.0.9:1"),
        socket(HolderKind::TimeWait, "10.0.0.1:7777", "10.0.0.9:2"),
        socket(HolderKind::TimeWait, "10.0.0.2:7777", "10.0.0.9:3"),
        PortHolder {
            v6only: true,
            ..socket(HolderKind::Listener, "[::]:7777", "[::]:0")
        },
    ];
    ports.take_holders(at(2), holders(&event, sockets));
    let row = &ports.rows()[0];
    assert_eq!((row.holders.len(), row.holders[0].count), (1, 2));
    assert_eq!(row.checked_ns, Some(1_000_000_000));
    assert!(!row.failed_after_check);
    // Later lists without sockets don't replace it.
    ports.take_holders(at(3), holders(&event, Vec::new()));
    assert_eq!(ports.rows()[0].holders.len(), 1);
    ports.apply(&failed(
        PortOp::Bind,
        7_777,
        libc::EADDRINUSE,
        "10.0.0.1:7777",
        4,
    ));
    assert!(ports.rows()[0].failed_after_check);
}

#[test]
fn a_connect_competes_for_its_destination_only() {
    let mut ports = FixedPorts::default();
    let event = failed(
        PortOp::Connect,
        7_777,
        libc::EADDRNOTAVAIL,
        "0.0.0.0:7777",
        1,
    );
    let remote = event.remote.unwrap().to_string();
    ports.apply(&event);
    let sockets = vec![
        socket(HolderKind::TimeWait, "10.0.0.1:7777", &remote),
        socket(HolderKind::TimeWait, "10.0.0.1:7777", "10.0.0.9:3"),
    ];
    ports.take_holders(at(1), holders(&event, sockets));
    assert_eq!(ports.rows()[0].holders[0].count, 1);
}

#[test]
fn a_later_namespace_of_the_same_number_has_other_sockets() {
    let mut ports = FixedPorts::default();
    let event = bind(1);
    ports.apply(&event);
    let sockets = vec![socket(HolderKind::Listener, "0.0.0.0:7777", "0.0.0.0:0")];
    ports.take_holders(at(1), holders(&event, sockets));
    let mut later = bind(5);
    later.netns_nth = event.netns_nth + 1;
    ports.apply(&later);
    let rows = ports.rows();
    assert_eq!((rows[0].holders.len(), rows[1].holders.len()), (1, 0));
}

/// A listener of a process, and a call of a process, of these names.
fn listener(pid: u32, comm: &str) -> Vec<PortHolder> {
    vec![PortHolder {
        processes: vec![samples::process(pid, comm)],
        ..socket(HolderKind::Listener, "0.0.0.0:7777", "0.0.0.0:0")
    }]
}

fn bind_by(comm: &str, second: u64) -> Event {
    let mut event = bind(second);
    event.process = Some(samples::process(7, comm));
    event
}

fn held_by(ports: &FixedPorts) -> Vec<(String, Option<u32>)> {
    let rows = ports.rows().into_iter();
    rows.map(|row| {
        let holder = row.holders.first().and_then(|it| it.process.as_ref());
        (
            row.process.unwrap().comm.text().to_string(),
            holder.map(|process| process.key.tgid),
        )
    })
    .collect()
}

#[test]
fn a_listing_is_for_the_calls_shortly_before_it() {
    let names = |a: Option<u32>, b: Option<u32>| vec![("a".to_owned(), a), ("b".to_owned(), b)];
    let mut ports = FixedPorts::default();
    ports.apply(&bind_by("a", 1));
    ports.take_holders(at(2), holders(&bind(1), listener(21, "x")));
    // It says nothing of an hour later.
    ports.apply(&bind_by("b", 3_600));
    assert_eq!(held_by(&ports), names(Some(21), None));
    // And the later one nothing of the first.
    ports.take_holders(at(3_601), holders(&bind(1), listener(22, "y")));
    assert_eq!(held_by(&ports), names(Some(21), Some(22)));
    // No other listing follows within ten seconds.
    ports.apply(&bind_by("a", 3_605));
    assert_eq!(held_by(&ports), names(Some(22), Some(22)));
    // One without sockets replaces those that are old.
    ports.apply(&bind_by("a", 3_700));
    ports.take_holders(at(3_701), holders(&bind(1), Vec::new()));
    assert_eq!(held_by(&ports), names(None, Some(22)));
    assert_eq!(ports.rows()[0].checked_ns, Some(3_700_000_000_000));
}

#[test]
fn a_process_that_was_started_again_has_the_port_of_its_own() {
    use crate::event::process::ProcessDetails;
    for (comm, started, later_ns, expected) in [
        ("a", 5, 1_000_000_000, true),
        ("a", 3, 1_000_000_000, false),
        ("a", 5, 0, false),
        ("b", 5, 1_000_000_000, false),
    ] {
        let mut ports = FixedPorts::default();
        let mut event = bind_by("a", 4);
        event.ts = Timestamp(4_000_000_000);
        ports.apply(&event);
        let mut sockets = listener(21, comm);
        let process = &mut sockets[0].processes[0];
        process.key.start_boot_ns += later_ns;
        process.details = Some(Arc::new(ProcessDetails {
            start_time: Some(Timestamp(started * 1_000_000_000)),
            ..ProcessDetails::default()
        }));
        ports.take_holders(at(6), holders(&event, sockets));
        assert_eq!(
            ports.rows()[0].holders[0].is_own,
            expected,
            "{comm} {started}"
        );
    }
}

#[test]
fn a_listing_of_an_earlier_interval_is_for_calls_that_soon_follow() {
    for (second, expected) in [(9, Some(21_u32)), (60, None)] {
        let mut ports = FixedPorts::default();
        ports.apply(&bind_by("a", 1));
        ports.take_holders(at(2), holders(&bind(1), listener(21, "x")));
        let mut ports = ports.into_next();
        ports.apply(&bind_by("a", second));
        assert_eq!(held_by(&ports), [("a".to_owned(), expected)]);
    }
}

#[test]
fn the_oldest_listing_leaves_for_another() {
    let mut ports = FixedPorts::default();
    for port in 1..=MAX_HELD as u16 + 1 {
        let sockets = PortHolders {
            port,
            ..holders(&bind(1), Vec::new())
        };
        ports.take_holders(at(u64::from(port)), sockets);
    }
    assert_eq!(ports.listed.len(), MAX_HELD);
    let (_, _, first) = *ports.listed.keys().next().unwrap();
    assert_eq!(first, 2);
}

#[test]
fn the_number_of_rows_is_bounded() {
    let mut ports = FixedPorts::default();
    for port in 1..=2_000 {
        ports.apply(&failed(
            PortOp::Bind,
            port,
            libc::EADDRINUSE,
            "0.0.0.0:1",
            1,
        ));
    }
    assert_eq!((ports.rows().len(), ports.left_out()), (1_024, 976));
}
