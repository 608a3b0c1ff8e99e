use super::*;
use crate::event::samples;

#[test]
fn events_are_counted_by_process_and_destination() {
    let mut pairs = Pairs::default();
    pairs.apply(&samples::time_wait());
    pairs.apply(&samples::time_wait());
    pairs.apply(&samples::reset());
    pairs.apply(&samples::port_alloc());
    pairs.apply(&samples::abort());
    pairs.apply(&samples::time_wait_end());
    let mut nobodys = samples::time_wait();
    nobodys.process = None;
    pairs.apply(&nobodys);
    let rows = pairs.rows();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[0].name(), "curl(1234)");
    let counts = &rows[0].counts;
    assert_eq!((counts.time_wait, counts.linger_zero()), (2, 1));
    assert_eq!((counts.resets(), counts.deaths.abort.total()), (1, 1));
    assert_eq!(counts.connect_failures, 1);
    assert_eq!(counts.reuse.hindered, 1);
    assert_eq!(counts.events(), 5);
    assert_eq!((&*rows[1].name(), rows[1].counts.time_wait), (NOBODY, 1));
    assert_eq!(pairs.left_out(), 0);
    let mut again = Pairs::default();
    for sums in pairs.sums().into_iter().chain(pairs.sums()) {
        again.add(sums);
    }
    assert_eq!(again.rows()[0].counts.events(), 10);
}

#[test]
fn resets_without_a_process_leave_room_for_processes() {
    let mut pairs = Pairs::default();
    let mut nobodys = samples::reset();
    nobodys.process = None;
    nobodys.unattributed = Some(Unattributed::NoSocket);
    nobodys.side = Side::Unknown;
    for number in 0..MAX_PAIRS as u32 + 10 {
        let address = std::net::Ipv4Addr::from_bits(number);
        nobodys.remote = Some((address, 80).into());
        pairs.apply(&nobodys);
    }
    pairs.apply(&samples::time_wait());
    let rows = pairs.rows();
    assert_eq!(rows.len(), MAX_WITHOUT_PROCESS + 2);
    assert_eq!(rows[0].name(), "curl(1234)");
    let others = rows
        .iter()
        .find(|row| row.destination == Destination::Others);
    let resets = others.unwrap().counts.resets();
    assert_eq!(resets as usize, MAX_PAIRS + 10 - MAX_WITHOUT_PROCESS);
    assert_eq!(pairs.left_out(), resets);
}

#[test]
fn earlier_namespaces_of_a_number_are_left_out() {
    let mut pairs = Pairs::default();
    let mut event = samples::time_wait();
    pairs.apply(&event);
    event.netns_nth = 1;
    pairs.apply(&event);
    let rows = pairs.rows();
    assert_eq!(rows.len(), 2);
    let last = of_last_namespaces(&rows);
    assert_eq!((last.len(), last[0].netns_nth), (1, 1));
}

#[test]
fn a_server_row_with_one_time_wait_stays_small() {
    let mut pairs = Pairs::default();
    let mut event = samples::time_wait();
    event.side = Side::Server;
    if let EventFacts::TimeWait(closed) = &mut event.facts {
        // A short answer would be counted.
        closed.flow.bytes_sent = Some(40_000);
    }
    pairs.apply(&event);
    let is_small = |pairs: &Pairs| pairs.rows.iter().all(|(_, row)| row.more.is_none());
    assert!(is_small(&pairs));
    pairs.apply(&event);
    assert!(!is_small(&pairs));
}
