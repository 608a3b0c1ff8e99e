use proptest::prelude::*;
use twtrace_wire::PortOp;

use super::client_sockets::samples::{listener, live, time_wait};
use super::client_sockets::{Hold, Socket, SocketState};
use super::evidence::Evidence;
use super::evidence::samples::search;
use super::of_namespace::each_row;
use super::ports::PortSet;
use super::row::OtherBudgets;
use super::sysctls::TwReuse;
use super::sysctls::samples::narrow;
use super::*;
use crate::event::samples;
use crate::event::timestamp::SECOND_NS;

const NETNS: u32 = 4_026_531_840;
const TEN_S: u64 = 10 * SECOND_NS;

fn snapshot(sockets: &[Socket], sysctls: &PortSysctls) -> ClientSockets {
    ClientSockets::new(sockets, sysctls.range, |_| false)
}

fn all_rows(namespace: &NamespacePorts, evidence: &Evidence) -> Vec<BudgetRow> {
    let mut rows = Vec::new();
    each_row(namespace, evidence, &mut |row| rows.push(row));
    rows
}

/// Rows after ten seconds that began without sockets.
fn rows_of(sockets: &[Socket], sysctls: &PortSysctls, evidence: &Evidence) -> Vec<BudgetRow> {
    let namespace = NamespacePorts {
        netns: NETNS,
        sysctls: Ok(sysctls),
        start: Some(&ClientSockets::default()),
        end: Ok(&snapshot(sockets, sysctls)),
        lasted_ns: TEN_S,
        counted_ns: TEN_S,
    };
    let mut rows = all_rows(&namespace, evidence);
    row::sort(&mut rows);
    rows
}

#[test]
fn each_destination_has_its_own_ports() {
    let sockets = [
        time_wait("10.0.0.1:40000", "10.0.0.2:80", 58),
        time_wait("10.0.0.1:40002", "10.0.0.2:80", 57),
        live("10.0.0.1:40000", "10.0.0.3:80"),
    ];
    let rows = rows_of(&sockets, &narrow(), &Evidence::default());
    assert_eq!(rows.len(), 2);
    let row = &rows[0];
    assert_eq!(row.destination, Some("10.0.0.2:80".parse().unwrap()));
    assert_eq!(
        (row.capacity, row.live, row.time_wait, row.free),
        (Some(4), Some(0), Some(2), Some(2))
    );
    // 0.2 a second.
    assert_eq!(
        (row.outlook, row.full_in_ns),
        (Outlook::RunsOut, Some(TEN_S))
    );
    let fast = row.fast_half.unwrap();
    assert_eq!((fast.capacity, fast.free, fast.full_in_ns), (2, 0, Some(0)));
    assert!(row.is_fast_half_full());
    assert_eq!(row.used(), Some(0.5));
    // One live socket is not an increase.
    assert_eq!((rows[1].live, rows[1].outlook), (Some(1), Outlook::Never));
}

#[test]
fn reserved_and_bound_ports_are_no_capacity() {
    let mut sysctls = narrow();
    sysctls.reserved.insert(40_001);
    sysctls.reserved.insert(50_000);
    let sockets = [
        listener("10.0.0.7:40002"),
        live("10.0.0.1:40000", "10.0.0.3:80"),
    ];
    let rows = rows_of(&sockets, &sysctls, &Evidence::default());
    assert_eq!(
        (rows[0].capacity, rows[0].excluded, rows[0].free),
        (Some(2), Some(2), Some(1))
    );
    assert!(rows[0].is_fast_half_full());
}

#[test]
fn ports_of_bind_are_no_capacity_of_connect_where_they_are_known() {
    let sockets = [
        listener("10.0.0.7:40002"),
        live("10.0.0.1:40000", "10.0.0.3:80"),
        live("10.0.0.1:40001", "10.0.0.3:80"),
    ];
    let figures = |end: &ClientSockets| {
        let namespace = NamespacePorts {
            netns: NETNS,
            sysctls: Ok(&narrow()),
            start: Some(&ClientSockets::default()),
            end: Ok(end),
            lasted_ns: TEN_S,
            counted_ns: TEN_S,
        };
        let [row] = &all_rows(&namespace, &Evidence::default())[..] else {
            panic!("not one budget");
        };
        (row.capacity, row.excluded, row.live)
    };
    let mut end = snapshot(&sockets, &narrow());
    // Bound before it was connected, or not: this is unknown.
    assert_eq!(figures(&end), (Some(3), Some(1), Some(2)));
    // The kernel's table shows it, also for a port that is only bound.
    end.set_of_bind(Some([40_001, 40_002, 40_003].into_iter().collect()));
    assert_eq!(figures(&end), (Some(1), Some(3), Some(1)));
    // A port that was freed since the dump.
    end.set_of_bind(Some(PortSet::default()));
    assert_eq!(figures(&end), (Some(4), Some(0), Some(2)));
}

#[test]
fn time_waits_that_may_be_reused_are_not_in_the_way() {
    let mut sysctls = narrow();
    sysctls.tw_reuse = TwReuse::Always;
    let old = [
        time_wait("10.0.0.1:40000", "10.0.0.2:80", 58),
        time_wait("10.0.0.1:40001", "10.0.0.2:80", 60),
    ];
    let mut evidence = Evidence::default();
    let mut made = samples::time_wait();
    made.remote = Some("10.0.0.2:80".parse().unwrap());
    for _ in 0..20 {
        evidence.note(&made);
    }
    let rows = rows_of(&old, &sysctls, &evidence);
    let row = &rows[0];
    assert_eq!(
        (row.time_wait, row.time_wait_reusable, row.free),
        (Some(2), Some(1), Some(3))
    );
    // Two per second, each of which blocks a port for one second only; the snapshot saw just two.
    assert_eq!(row.connections_per_s, Some(2.0));
    assert_eq!(row.outlook, Outlook::Never);
}

#[test]
fn a_pool_of_bind_counts_each_port_of_the_address_once() {
    let sockets = [
        time_wait("10.0.0.1:40000", "10.0.0.2:80", 58),
        time_wait("10.0.0.1:40001", "10.0.0.3:80", 57),
        live("10.0.0.1:40001", "10.0.0.4:80"),
        live("10.0.0.9:40003", "10.0.0.4:80"),
        listener("10.0.0.8:40002"),
    ];
    let mut evidence = Evidence::default();
    evidence.note(&search(PortOp::Bind, 0, None));
    evidence.note(&search(PortOp::Connect, 40_000, None));
    evidence.note(&search(PortOp::Bind, 0, Some(libc::EADDRINUSE)));
    let rows = rows_of(&sockets, &narrow(), &evidence);
    let pool = rows.iter().find(|row| row.pool == PoolWord::Bind).unwrap();
    assert_eq!(pool.source, Some("10.0.0.1".parse().unwrap()));
    assert_eq!(pool.destination, None);
    assert_eq!(
        (pool.capacity, pool.live, pool.time_wait, pool.failures),
        (Some(4), Some(1), Some(1), 1)
    );
    assert_eq!(rows.len(), 5);
}

#[test]
fn failures_find_their_budget_without_a_source_address() {
    let mut failure = search(PortOp::Connect, 0, Some(libc::EADDRNOTAVAIL));
    failure.local = None;
    failure.remote = Some("10.0.0.2:80".parse().unwrap());
    let mut evidence = Evidence::default();
    evidence.note(&failure);
    let one = [live("10.0.0.1:40000", "10.0.0.2:80")];
    let rows = rows_of(&one, &narrow(), &evidence);
    assert_eq!((rows.len(), rows[0].failures), (1, 1));
    let two = [one[0], live("10.0.0.7:40000", "10.0.0.2:80")];
    let rows = rows_of(&two, &narrow(), &evidence);
    let nameless = rows.iter().find(|row| row.source.is_none()).unwrap();
    assert_eq!((rows.len(), nameless.failures), (3, 1));
    assert!(nameless.why.is_some());
}

#[test]
fn what_is_not_known_is_said() {
    let mut evidence = Evidence::default();
    evidence.note(&search(PortOp::Connect, 0, Some(libc::EADDRNOTAVAIL)));
    let namespace = NamespacePorts {
        netns: NETNS,
        sysctls: Err("it came later"),
        start: None,
        end: Err("it came later"),
        lasted_ns: TEN_S,
        counted_ns: TEN_S,
    };
    let rows = all_rows(&namespace, &evidence);
    assert_eq!((rows[0].failures, rows[0].capacity), (1, None));
    assert_eq!(rows[0].why.as_deref(), Some("it came later"));
    let sysctls = narrow();
    let end = snapshot(&[live("10.0.0.1:40000", "10.0.0.2:80")], &sysctls);
    let namespace = NamespacePorts {
        sysctls: Ok(&sysctls),
        end: Ok(&end),
        ..namespace
    };
    let rows = all_rows(&namespace, &Evidence::default());
    assert_eq!((rows[0].live, rows[0].connections_per_s), (Some(1), None));
    assert_eq!(rows[0].outlook, Outlook::Unknown);
    assert!(rows[0].why.is_some());
}

#[test]
fn the_fullest_come_first() {
    let mut sockets = vec![
        live("10.0.0.1:40000", "10.0.0.2:80"),
        time_wait("10.0.0.1:40001", "10.0.0.3:80", 58),
        time_wait("10.0.0.1:40002", "10.0.0.3:80", 58),
    ];
    for port in 40_000..40_004 {
        sockets.push(live(&format!("10.0.0.1:{port}"), "10.0.0.4:80"));
    }
    let rows = rows_of(&sockets, &narrow(), &Evidence::default());
    let outlooks: Vec<Outlook> = rows.iter().map(|row| row.outlook).collect();
    assert_eq!(outlooks, [Outlook::Full, Outlook::RunsOut, Outlook::Never]);
    let others = OtherBudgets::of(&rows[1..]);
    assert_eq!(
        (others.count, others.live, others.time_wait, others.failures),
        (2, 1, 2, 0)
    );
}

fn any_socket() -> impl Strategy<Value = Socket> {
    let state = prop_oneof![
        1 => Just(SocketState::Listening),
        5 => Just(SocketState::Holding(Hold::Live)),
        9 => (0..60 * SECOND_NS, any::<bool>()).prop_map(|(left_ns, in_fin_wait2)| {
            SocketState::Holding(Hold::TimeWait { left_ns, in_fin_wait2 })
        }),
    ];
    (0_u8..3, 39_990_u16..40_040, 0_u8..3, state).prop_map(|(source, port, destination, state)| {
        Socket {
            local: format!("10.0.0.{source}:{port}").parse().unwrap(),
            remote: format!("10.0.1.{destination}:80").parse().unwrap(),
            state,
        }
    })
}

proptest! {
    /// For any sockets, the figures of a row add up.
    #[test]
    fn figures_add_up(
        sockets in prop::collection::vec(any_socket(), 0..200),
        reserved in prop::collection::vec(40_000_u16..40_032, 0..8),
        reuse in 0_u64..3,
    ) {
        let mut sysctls = narrow();
        sysctls.range.high = 40_031;
        sysctls.reserved = reserved.into_iter().collect();
        sysctls.tw_reuse = TwReuse::from_number(reuse).unwrap();
        let mut evidence = Evidence::default();
        evidence.note(&search(PortOp::Bind, 0, Some(libc::EADDRINUSE)));
        for row in rows_of(&sockets, &sysctls, &evidence) {
            let capacity = row.capacity.unwrap();
            let blocked = row.live.unwrap() + row.time_wait.unwrap() - row.time_wait_reusable.unwrap();
            prop_assert_eq!(capacity + row.excluded.unwrap(), 32);
            prop_assert_eq!(row.free.unwrap() + blocked, capacity);
            let fast = row.fast_half.unwrap();
            prop_assert!(fast.free <= row.free.unwrap() && fast.capacity <= capacity);
            prop_assert_eq!(row.outlook == Outlook::Full, row.free == Some(0));
            // The fast half is not full later than the whole range.
            prop_assert!(fast.full_in_ns.unwrap_or(u64::MAX) <= row.full_in_ns.unwrap_or(u64::MAX));
        }
    }
}
