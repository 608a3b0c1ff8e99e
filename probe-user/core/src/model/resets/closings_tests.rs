use super::*;
use crate::event::samples;

fn closed(at_ms: u64, age_ms: u64, idle_ms: u64, after_ms: Option<u64>) -> Event {
    const MS: u64 = 1_000_000;
    let after = after_ms.unwrap_or(0);
    let mut event = samples::reset();
    event.mono_ns = (at_ms + after) * MS;
    if let EventFacts::Reset(facts) = &mut event.facts {
        facts.reason = match after_ms {
            Some(_) => ResetReason::DataAfterClose,
            None => ResetReason::UnreadData,
        };
        facts.after_close_ns = after_ms.map(|ms| ms * MS);
        facts.flow.connection_ns = Some((age_ms + after) * MS);
        facts.flow.idle_ns = Some((idle_ms + after) * MS);
        facts.flow.send_idle_ns = Some((idle_ms + after) * MS);
    }
    event
}

#[test]
fn what_one_moment_ended_is_found_also_by_late_data() {
    let mut closings = Closings::default();
    closings.add(&closed(1_000, 10, 5, None));
    for number in 0..20 {
        let after = Some(number * 40);
        closings.add(&closed(20_000 + number, 15_000, number * 50, after));
    }
    let (moment, is_last) = closings.most(None);
    assert!(is_last);
    assert_eq!((moment.resets, moment.connections()), (20, 20));
    assert_eq!(moment.length_ns(), 19_000_000);
    assert!(moment.is_no_timeout());
    closings.add(&closed(30_000, 10, 5, None));
    assert_eq!(closings.most(None), (moment, false));
}

#[test]
fn a_request_without_an_answer_is_lost_also_without_a_rst() {
    let closed = |idle_ms: u64, send_idle_ms: u64| {
        let mut event = samples::time_wait();
        event.mono_ns = 20_000_000_000;
        if let EventFacts::TimeWait(facts) = &mut event.facts {
            facts.flow.connection_ns = Some(5_000_000_000);
            facts.flow.idle_ns = Some(idle_ms * 1_000_000);
            facts.flow.send_idle_ns = Some(send_idle_ms * 1_000_000);
        }
        event
    };
    let mut closings = Closings::default();
    for (idle_ms, send_idle_ms) in [(30, 500), (80, 500), (90, 90)] {
        closings.add(&closed(idle_ms, send_idle_ms));
    }
    let (moment, _) = closings.most(None);
    assert_eq!((moment.connections(), moment.lost()), (3, 2));
}

fn in_order(at_ms: u64, age_ms: u64) -> Event {
    let mut event = samples::time_wait();
    event.mono_ns = at_ms * 1_000_000;
    if let EventFacts::TimeWait(facts) = &mut event.facts {
        facts.flow.connection_ns = Some(age_ms * 1_000_000);
    }
    event
}

#[test]
fn many_that_closed_in_order_do_not_displace_rsts() {
    let mut closings = Closings::default();
    for _ in 0..40 {
        closings.add(&closed(20_000, 5_000, 100, None));
    }
    for at_ms in [30_000, 40_000, 50_000] {
        for _ in 0..300 {
            closings.add(&in_order(at_ms, 5_000));
        }
    }
    assert_eq!(closings.most(None).0.resets, 40);
}

#[test]
fn a_fin_that_waited_is_no_close_after_the_exit() {
    const MS: u64 = 1_000_000;
    let mut closings = Closings::default();
    for _ in 0..10 {
        closings.add(&closed(20_000, 5_000, 100, None));
    }
    for at_ms in [20_600, 21_200, 21_800] {
        closings.add(&in_order(at_ms, 6_000));
    }
    let (moment, was_last) = closings.most(Some(20_250 * MS));
    assert_eq!((moment.resets, was_last), (10, true));
    // It ran when it closed the next one.
    assert!(!closings.most(Some(20_700 * MS)).1);
    assert!(!closings.most(None).1);
}

#[test]
fn a_connection_that_began_after_a_close_does_not_overlap() {
    let one = |at_ms, age_ms| {
        let mut closings = Closings::default();
        closings.add(&closed(at_ms, age_ms, 1, None));
        closings.most(None).0
    };
    assert!(one(20_000, 5_000).overlaps(&one(20_900, 5_000)));
    assert!(!one(20_000, 5_000).overlaps(&one(20_900, 800)));
}

#[test]
fn connections_one_after_the_other_are_no_moment() {
    let mut closings = Closings::default();
    for number in 0..20 {
        closings.add(&closed(20_000 + number, 1, 1, None));
    }
    assert_eq!(closings.most(None).0.resets, 1);
}

#[test]
fn one_timeout_is_not_taken_for_an_end() {
    let moment = |min_ms: u64, max_ms: u64| ClosedAtOnce {
        idle_ns: Some((min_ms * 1_000_000, max_ms * 1_000_000)),
        ..ClosedAtOnce::NONE
    };
    assert!(!moment(5_000, 5_400).is_no_timeout());
    assert!(!moment(1_000, 2_100).is_no_timeout());
    assert!(!moment(1, 40).is_no_timeout());
    assert!(moment(3, 900).is_no_timeout());
    assert!(moment(1_000, 9_000).is_no_timeout());
}
