//! RSTs that look alike and have different causes.

use super::*;
use crate::event::Moment;
use twtrace_wire::ProcessKey;

pub const MS: u64 = 1_000_000;
/// CLOCK_MONOTONIC of a moment, milliseconds.
pub const AT_MS: u64 = 50_000;

pub fn at(mono_ms: u64) -> Moment {
    Moment {
        mono_ns: mono_ms * MS,
        ..Moment::default()
    }
}

pub fn server_key() -> ProcessKey {
    crate::event::samples::process(8, "orders-api").key
}

/// Facts of these events.
pub fn facts_of(events: &[Event], opened: u64) -> DoctorFacts {
    let mut facts = facts(&[], 0, opened);
    let mut pairs = Pairs::default();
    for event in events {
        pairs.apply(event);
    }
    facts.pairs = pairs.rows();
    facts
}

/// A connection that its server had closed at a moment, after such a pause, when data came.
pub fn late(port: u16, idle_ms: u64, after_ms: u64) -> Event {
    let rst = Rst {
        after_close_ms: Some(after_ms),
        age_ms: 60_000 + after_ms,
        state: TcpState::FinWait2,
        ..rst(Side::Server, Sent, DataAfterClose, idle_ms)
    };
    let mut event = event(&rst, port);
    event.mono_ns = (AT_MS + after_ms) * MS;
    event
}

/// One that it closed then over a request.
pub fn unread(port: u16, since_sent_ms: u64) -> Event {
    let mut event = event(&rst(Side::Server, Sent, UnreadData, 1), port);
    event.mono_ns = AT_MS * MS;
    if let EventFacts::Reset(facts) = &mut event.facts {
        facts.flow.connection_ns = Some(60_000 * MS);
        facts.flow.send_idle_ns = Some(since_sent_ms * MS);
    }
    event
}

/// Connections with any time without data, all closed at once.
pub fn all_at_once() -> Vec<Event> {
    let late = (0..30).map(|number| late(40_000 + number, u64::from(number) * 30, 5));
    late.chain((0..8).map(|number| unread(41_000 + number, 700)))
        .collect()
}

#[test]
fn a_reload_is_no_unread_request() {
    let facts = facts_of(&all_at_once(), 40);
    let findings = check(&facts);
    assert_eq!(ids(&findings), [("closed_at_once", Severity::Warning)]);
    assert!(
        findings[0]
            .title
            .contains("closed 38 connections at one moment"),
        "{}",
        findings[0].title
    );
    assert!(
        findings[0].evidence[2].contains("for 0ns to 870ms"),
        "{:?}",
        findings[0].evidence
    );
    // At several moments, it is none.
    let mut events = all_at_once();
    for (number, event) in events.iter_mut().enumerate() {
        event.mono_ns += number as u64 * 400 * MS;
    }
    let found = ids(&check(&facts_of(&events, 40)));
    assert!(
        found.iter().all(|(id, _)| *id != "closed_at_once"),
        "{found:?}"
    );
    // One timeout of connections that were used at the same time is none either.
    let alike: Vec<Event> = (0..30)
        .map(|number| late(40_000 + number, 5_000, 5))
        .collect();
    assert_eq!(ids(&check(&facts_of(&alike, 40)))[0].0, "keepalive_race");
}

#[test]
fn an_exit_is_known_by_the_process() {
    let mut facts = facts_of(&all_at_once(), 40);
    facts.exited.insert(server_key(), at(AT_MS + 200));
    let findings = check(&facts);
    assert_eq!(ids(&findings), [("process_ended", Severity::Warning)]);
    assert!(
        findings[0]
            .title
            .starts_with("orders-api(8) on :80 ended with 38 connections open: "),
        "{}",
        findings[0].title
    );
    let explained = explained(&facts, &explanations(&facts));
    assert_eq!(explained.of(Sent, DataAfterClose, "orders-api(8)"), 30);
    assert_eq!(explained.of(Sent, UnreadData, "orders-api(8)"), 8);
    // Long after, its exit proves nothing; nor does that of another process.
    facts.exited.insert(server_key(), at(AT_MS + 60_000));
    assert_eq!(ids(&check(&facts))[0].0, "closed_at_once");
    facts.exited.clear();
    let other = crate::event::samples::process(9, "orders-api").key;
    facts.exited.insert(other, at(AT_MS + 200));
    assert_eq!(ids(&check(&facts))[0].0, "closed_at_once");
    // It closed others later.
    let mut events = all_at_once();
    let mut later = unread(42_000, 700);
    later.mono_ns += 1_000 * MS;
    events.push(later);
    let mut facts = facts_of(&events, 40);
    facts.exited.insert(server_key(), at(AT_MS + 2_000));
    assert_eq!(ids(&check(&facts))[0].0, "closed_at_once");
}

#[test]
fn what_waits_for_an_exiting_server_ends_with_it() {
    // Established while the server ended.
    let waiting = |number: u16| {
        let rst = Rst {
            age_ms: 0,
            ..rst(Side::Server, Sent, ResetReason::Aborted, 0)
        };
        let mut event = event(&rst, 43_000 + number);
        event.mono_ns = (AT_MS + 20) * MS;
        event
    };
    let waiting: Vec<Event> = (0..40).map(waiting).collect();
    let mut events = all_at_once();
    events.extend(waiting.clone());
    let mut facts = facts_of(&events, 80);
    facts.exited.insert(server_key(), at(AT_MS + 200));
    let findings = check(&facts);
    assert_eq!(ids(&findings), [("process_ended", Severity::Warning)]);
    assert!(
        findings[0].title.contains("with 78 connections open"),
        "{}",
        findings[0].title
    );
    // It had accepted none: its queue is the matter.
    let mut facts = facts_of(&waiting, 40);
    facts.exited.insert(server_key(), at(AT_MS + 200));
    for row in &mut facts.pairs {
        row.counts.patterns.set_unanswered();
    }
    assert_eq!(
        ids(&check(&facts)),
        [("listener_closed", Severity::Critical)]
    );
}

#[test]
fn a_client_that_exits_is_no_finding() {
    let closed = |number: u16| {
        let rst = Rst {
            after_close_ms: Some(5),
            age_ms: 60_000,
            ..rst(Side::Client, Sent, DataAfterClose, 10)
        };
        let mut event = event(&rst, 40_000 + number);
        event.mono_ns = (AT_MS + 5) * MS;
        event
    };
    let events: Vec<Event> = (0..20).map(closed).collect();
    let mut facts = facts_of(&events, 40);
    assert_eq!(ids(&check(&facts))[0].0, "client_gives_up");
    let key = crate::event::samples::process(9, "checkout").key;
    facts.exited.insert(key, at(AT_MS + 10));
    assert!(check(&facts).is_empty());
    let explained = explained(&facts, &explanations(&facts));
    assert_eq!(explained.of(Sent, DataAfterClose, "checkout(9)"), 20);
}

#[test]
fn a_race_has_one_finding_also_where_requests_came_in_time() {
    let mut events = Vec::new();
    for number in 0..20_u16 {
        let mut late = late(40_000 + number, 1_000, 4);
        let mut unread = unread(41_000 + number, 1_000);
        late.mono_ns += u64::from(number) * 1_000 * MS;
        unread.mono_ns += u64::from(number) * 1_000 * MS;
        events.push(late);
        if number % 2 == 0 {
            events.push(unread);
        }
    }
    let facts = facts_of(&events, 40);
    let findings = check(&facts);
    assert_eq!(ids(&findings), [("keepalive_race", Severity::Warning)]);
    assert!(
        findings[0].title.contains("30 of 30"),
        "{}",
        findings[0].title
    );
    let explained = explained(&facts, &explanations(&facts));
    assert_eq!(explained.of(Sent, UnreadData, "orders-api(8)"), 10);
    // Requests that are not read without a pause are another matter.
    for number in 0..10 {
        let mut unread = unread(42_000 + number, 1);
        unread.mono_ns += u64::from(number) * 1_000 * MS;
        events.push(unread);
    }
    let facts = facts_of(&events, 40);
    assert_eq!(
        failed(&check(&facts)),
        [
            ("keepalive_race", 30.into()),
            ("request_not_read", 10.into())
        ]
    );
}

#[test]
fn a_limit_of_connections_is_no_unread_body() {
    let refused = |lasted_ms: u64, bytes_sent, bytes_received| {
        let at_close = |number: u16| {
            let rst = Rst {
                age_ms: lasted_ms,
                ..rst(Side::Server, Sent, UnreadData, 0)
            };
            let mut event = event(&rst, 40_000 + number);
            event.mono_ns += u64::from(number) * 1_000 * MS;
            if let EventFacts::Reset(facts) = &mut event.facts {
                facts.flow.bytes_sent = Some(bytes_sent);
                facts.flow.bytes_received = Some(bytes_received);
            }
            event
        };
        let events: Vec<Event> = (0..30).map(at_close).collect();
        ids(&check(&facts_of(&events, 40)))
    };
    for (sent, received) in [(0, 20), (36, 0)] {
        let found = refused(1, sent, received);
        assert_eq!(found, [("connection_limit", Severity::Critical)]);
    }
    // An upload, an early answer, a long one, and a connection that has lasted.
    for (lasted_ms, sent, received) in [(1, 0, 60_000), (1, 36, 20), (1, 4_000, 20), (2_000, 0, 20)]
    {
        let found = refused(lasted_ms, sent, received);
        assert_eq!(found, [("request_not_read", Severity::Critical)]);
    }
}

#[test]
fn rsts_of_a_listener_are_no_further_connections() {
    let mut events: Vec<Event> = (0..40)
        .map(|number| {
            let mut event = unread(40_000 + number, 1);
            event.mono_ns += u64::from(number) * 1_000 * MS;
            event
        })
        .collect();
    for number in 0..15 {
        let rst = Rst {
            state: TcpState::Listen,
            ..rst(Side::Server, Sent, ResetReason::Other, 0)
        };
        events.push(event(&rst, 40_000 + number));
    }
    let findings = check(&facts_of(&events, 0));
    assert!(
        findings[0].title.contains("40 of 40"),
        "{}",
        findings[0].title
    );
}

#[test]
fn a_proxy_passes_on_the_end_of_its_client() {
    let mut events = Vec::new();
    for number in 0..10_u16 {
        let begin_ms = AT_MS + u64::from(number) * 1_000;
        let mut left = event(&rst(Side::Server, Received, Peer, 10), 42_000 + number);
        left.process = Some(crate::event::samples::process(9, "checkout"));
        left.local = Some("10.0.0.1:8080".parse().unwrap());
        left.mono_ns = begin_ms * MS;
        let gave_up = Rst {
            after_close_ms: Some(500),
            ..rst(Side::Client, Sent, DataAfterClose, 3_000)
        };
        let mut gave_up = event(&gave_up, 40_000 + number);
        gave_up.mono_ns = (begin_ms + 502) * MS;
        events.push(left);
        events.push(gave_up);
    }
    let findings = check(&facts_of(&events, 20));
    assert_eq!(ids(&findings)[0].0, "client_gives_up");
    assert!(
        findings[0]
            .title
            .starts_with("clients of checkout(9) leave"),
        "{}",
        findings[0].title
    );
    assert_eq!(findings[0].figures["passed_on"], 10);
    // Its clients left, but at other times.
    for event in &mut events {
        if event.side == Side::Server {
            event.mono_ns -= 300 * MS;
        }
    }
    let findings = check(&facts_of(&events, 20));
    assert!(
        findings[0].title.starts_with("checkout(9) closes"),
        "{}",
        findings[0].title
    );
}

#[test]
fn a_timeout_that_is_checked_once_a_second_is_named() {
    let events: Vec<Event> = (0..40_u16)
        .map(|number| {
            let mut event = late(40_000 + number, 2_290 + u64::from(number) * 27, 50);
            event.mono_ns += u64::from(number) * 1_000 * MS;
            event
        })
        .collect();
    let findings = check(&facts_of(&events, 40));
    assert_eq!(ids(&findings)[0].0, "keepalive_race");
    let title = &findings[0].title;
    assert!(title.contains("after 2.29s or up to 1 s less"), "{title}");
    assert!(findings[0].evidence[1].contains("about once a second"));
    assert!(findings[0].to_do[0].contains("below 1.29s"));
}
