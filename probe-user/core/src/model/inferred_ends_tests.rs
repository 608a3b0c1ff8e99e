use std::time::Duration;

use super::*;
use crate::event::samples;
use crate::model::socket::Timer;

const SECOND_NS: u64 = 1_000_000_000;

fn clocks() -> Clocks {
    Clocks::fixed(0, 0)
}

/// A birth at this second, of a connection of three seconds.
fn birth(at_s: u64) -> Event {
    let mut event = samples::time_wait();
    event.mono_ns = at_s * SECOND_NS;
    if let EventFacts::TimeWait(facts) = &mut event.facts {
        facts.flow.connection_ns = Some(3 * SECOND_NS);
    }
    event
}

fn row(event: &Event, state: TcpState, timer: Timer, left_s: u64) -> SocketRow {
    SocketRow {
        state,
        local: event.local.unwrap(),
        remote: event.remote.unwrap(),
        mapped: false,
        v6only: None,
        uid: 0,
        inode: 0,
        cookie: 1,
        timer,
        retransmits: 0,
        expires: Some(Duration::from_secs(left_s)),
        times: None,
        queue: None,
    }
}

/// Cause, age in seconds, reported time in seconds, and the process that reused it.
fn cause_and_times(end: &Event) -> (EndCause, Option<u64>, u64, Option<u32>) {
    let EventFacts::TimeWaitEnd(facts) = &end.facts else {
        panic!("not an end: {end:?}");
    };
    assert!(facts.inferred);
    assert_eq!(end.event, EventKind::TimeWaitEnd);
    (
        facts.cause,
        facts.age_ns.map(|age_ns| age_ns / SECOND_NS),
        end.mono_ns / SECOND_NS,
        facts.by.as_ref().map(|by| by.key.tgid),
    )
}

fn with_one() -> (InferredEnds, Event) {
    let mut inferred_ends = InferredEnds::new(2);
    let event = birth(100);
    assert!(inferred_ends.note(&event, clocks()).is_none());
    (inferred_ends, event)
}

fn dump(inferred_ends: &mut InferredEnds, sockets: &[SocketRow], at_s: u64) -> Vec<Event> {
    let dump = SocketDump {
        time_wait_ns: TIME_WAIT_NS,
        sockets,
        fin_timeout_ns: Some(60 * SECOND_NS),
        asked_ns: at_s * SECOND_NS,
    };
    inferred_ends.correct(NETNS, dump, clocks())
}

const NETNS: u32 = 4_026_531_840;

#[test]
fn without_news_it_lives_for_a_minute() {
    let (mut inferred_ends, event) = with_one();
    assert!(inferred_ends.expired(159 * SECOND_NS, clocks()).is_empty());
    let ends = inferred_ends.expired(163 * SECOND_NS, clocks());
    assert_eq!(
        cause_and_times(&ends[0]),
        (EndCause::Expired, Some(60), 160, None)
    );
    assert!(
        ends[0]
            .process
            .as_ref()
            .unwrap()
            .is(event.process.as_ref().unwrap())
    );
    assert!(inferred_ends.expired(u64::MAX, clocks()).is_empty());
}

#[test]
fn another_connection_of_the_tuple_took_it() {
    let (mut inferred_ends, _) = with_one();
    let mut next = birth(110);
    next.opener = Some(samples::process(9, "next"));
    let end = inferred_ends.note(&next, clocks()).unwrap();
    assert_eq!(
        cause_and_times(&end),
        (EndCause::ReusedByConnect, Some(7), 107, Some(9))
    );
    // The next one has a life of its own, and the end time of the first is void.
    assert!(inferred_ends.expired(165 * SECOND_NS, clocks()).is_empty());
    assert_eq!(inferred_ends.expired(170 * SECOND_NS, clocks()).len(), 1);

    let (mut inferred_ends, _) = with_one();
    let mut next = birth(110);
    next.side = Side::Server;
    let end = inferred_ends.note(&next, clocks()).unwrap();
    assert_eq!(cause_and_times(&end).0, EndCause::ReopenedBySyn);
    assert_eq!(cause_and_times(&end).3, None);
}

#[test]
fn a_reset_of_the_old_connection_is_no_end_and_an_answer_to_data_is() {
    let (mut inferred_ends, _) = with_one();
    let mut reset = samples::reset();
    reset.mono_ns = 101 * SECOND_NS;
    if let EventFacts::Reset(facts) = &mut reset.facts {
        facts.flow.connection_ns = Some(4 * SECOND_NS);
    }
    assert!(inferred_ends.note(&reset, clocks()).is_none());
    if let EventFacts::Reset(facts) = &mut reset.facts {
        facts.flow.connection_ns = None;
        facts.reason = ResetReason::DataAfterClose;
    }
    let end = inferred_ends.note(&reset, clocks()).unwrap();
    assert_eq!(
        cause_and_times(&end),
        (EndCause::Killed, Some(1), 101, None)
    );
}

#[test]
fn a_dump_puts_right_when_it_will_end() {
    let (mut inferred_ends, event) = with_one();
    let waiting = row(&event, TcpState::FinWait2, Timer::TimeWait, 30);
    assert!(dump(&mut inferred_ends, &[waiting], 120).is_empty());
    // Its minute may have been restarted.
    assert!(inferred_ends.expired(200 * SECOND_NS, clocks()).is_empty());
    let promoted = row(&event, TcpState::TimeWait, Timer::TimeWait, 50);
    assert!(dump(&mut inferred_ends, &[promoted], 150).is_empty());
    assert!(inferred_ends.expired(199 * SECOND_NS, clocks()).is_empty());
    let ends = inferred_ends.expired(200 * SECOND_NS, clocks());
    assert_eq!(
        cause_and_times(&ends[0]),
        (EndCause::Expired, Some(100), 200, None)
    );
}

#[test]
fn a_dump_shows_what_ended_early() {
    let (mut inferred_ends, event) = with_one();
    assert_eq!(inferred_ends.namespaces(), [NETNS]);
    // A dump from before its birth shows nothing.
    assert!(dump(&mut inferred_ends, &[], 99).is_empty());
    let ends = dump(&mut inferred_ends, &[], 120);
    assert_eq!(
        cause_and_times(&ends[0]),
        (EndCause::Killed, None, 120, None)
    );

    let (mut inferred_ends, _) = with_one();
    let ends = dump(&mut inferred_ends, &[], 159);
    assert_eq!(
        cause_and_times(&ends[0]),
        (EndCause::Expired, Some(59), 159, None)
    );

    let (mut inferred_ends, _) = with_one();
    let open = row(&event, TcpState::Established, Timer::Off, 0);
    let ends = dump(&mut inferred_ends, &[open], 120);
    assert_eq!(
        cause_and_times(&ends[0]),
        (EndCause::ReusedByConnect, None, 120, None)
    );

    let (mut inferred_ends, _) = with_one();
    let ends = inferred_ends.purge(NETNS, 130 * SECOND_NS, clocks());
    assert_eq!(
        cause_and_times(&ends[0]),
        (EndCause::Purged, None, 130, None)
    );
    assert!(inferred_ends.namespaces().is_empty());
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut inferred_ends = InferredEnds::new(1);
    for port in [1, 2, 3] {
        let mut event = birth(100);
        event.local = Some(([10, 0, 0, 1], port).into());
        inferred_ends.note(&event, clocks());
    }
    assert_eq!(inferred_ends.without_room, 2);
    assert_eq!(inferred_ends.expired(u64::MAX, clocks()).len(), 1);
}

#[test]
fn a_search_for_a_port_that_finds_one_has_taken_it() {
    let (mut inferred_ends, event) = with_one();
    let mut search = samples::port_alloc();
    (search.local, search.remote) = (event.local, event.remote);
    search.mono_ns = 105 * SECOND_NS;
    search.process = Some(samples::process(5, "taker"));
    assert!(inferred_ends.note(&search, clocks()).is_none(), "it failed");
    if let EventFacts::PortAlloc(facts) = &mut search.facts {
        facts.result = PortResult::Ok;
    }
    let end = inferred_ends.note(&search, clocks()).unwrap();
    assert_eq!(
        cause_and_times(&end),
        (EndCause::ReusedByConnect, Some(5), 105, Some(5))
    );
}

#[test]
fn where_a_setting_says_so_it_lives_for_another_time() {
    let dump = |inferred_ends: &mut InferredEnds, time_wait_s, at_s, sockets: &[SocketRow]| {
        let dump = SocketDump {
            time_wait_ns: time_wait_s * SECOND_NS,
            sockets,
            fin_timeout_ns: Some(60 * SECOND_NS),
            asked_ns: at_s * SECOND_NS,
        };
        inferred_ends.correct(NETNS, dump, clocks())
    };
    let (mut inferred_ends, _) = with_one();
    let ends = dump(&mut inferred_ends, 5, 107, &[]);
    assert_eq!(
        cause_and_times(&ends[0]),
        (EndCause::Expired, Some(5), 105, None)
    );
    // From then on the lifetime of the next one is known at its birth.
    assert!(inferred_ends.note(&birth(110), clocks()).is_none());
    assert!(inferred_ends.expired(114 * SECOND_NS, clocks()).is_empty());
    let ends = inferred_ends.expired(115 * SECOND_NS, clocks());
    assert_eq!(
        cause_and_times(&ends[0]),
        (EndCause::Expired, Some(5), 115, None)
    );
    // Reset, and increased, with one alive that no dump has shown.
    assert!(inferred_ends.note(&birth(120), clocks()).is_none());
    assert!(dump(&mut inferred_ends, 600, 120, &[]).is_empty());
    assert!(inferred_ends.expired(719 * SECOND_NS, clocks()).is_empty());
    let ends = inferred_ends.expired(720 * SECOND_NS, clocks());
    assert_eq!(
        cause_and_times(&ends[0]),
        (EndCause::Expired, Some(600), 720, None)
    );
    assert!(dump(&mut inferred_ends, 60, 721, &[]).is_empty());
    assert!(inferred_ends.note(&birth(730), clocks()).is_none());
    assert_eq!(inferred_ends.expired(790 * SECOND_NS, clocks()).len(), 1);
}

#[test]
fn the_wait_for_the_peers_fin_may_be_shorter() {
    let (mut inferred_ends, _) = with_one();
    let dump = SocketDump {
        time_wait_ns: TIME_WAIT_NS,
        sockets: &[],
        fin_timeout_ns: Some(5 * SECOND_NS),
        asked_ns: 107 * SECOND_NS,
    };
    let ends = inferred_ends.correct(NETNS, dump, clocks());
    assert_eq!(
        cause_and_times(&ends[0]),
        (EndCause::Expired, Some(5), 105, None)
    );
}
