//! What clients do and meet.

use super::causes::{AT_MS, MS, facts_of};
use super::refused::{began, refusals};
use super::*;

#[test]
fn who_answers_again_was_down() {
    let events = |began_ms: Option<u64>| {
        let mut events = refusals();
        events.extend(began_ms.map(began));
        events
    };
    let down = check(&facts_of(&events(None), 40));
    assert_eq!(ids(&down), [("connection_refused", Severity::Critical)]);
    // It was taken before, not again.
    let before = check(&facts_of(&events(Some(AT_MS - 10)), 40));
    assert!(
        before[0].title.starts_with("nobody listened"),
        "{}",
        before[0].title
    );
    let again = check(&facts_of(&events(Some(AT_MS + 1_000)), 40));
    assert_eq!(ids(&again), [("connection_refused", Severity::Warning)]);
    assert!(
        again[0].title.contains("was down and answers again"),
        "{}",
        again[0].title
    );
}

#[test]
fn a_client_that_resets_after_a_timeout_has_one() {
    let events = |idle_ms: fn(u64) -> u64, awaits: bool| {
        let one = |number: u16| {
            let mut event = event(
                &rst(
                    Side::Client,
                    Sent,
                    ResetReason::LingerZero,
                    idle_ms(u64::from(number)),
                ),
                40_000 + number,
            );
            event.mono_ns += u64::from(number) * 1_000 * MS;
            if let EventFacts::Reset(facts) = &mut event.facts {
                let before_ns = if awaits { 0 } else { 5 * MS };
                facts.flow.send_idle_ns = facts.flow.idle_ns.map(|ns| ns + before_ns);
                facts.flow.awaits_answer = awaits.then_some(true);
                facts.flow.bytes_received = Some(if awaits { 0 } else { 600 });
            }
            event
        };
        (0..20).map(one).collect::<Vec<Event>>()
    };
    let all = |events: &[Event]| {
        let facts = facts_of(events, 20);
        let findings = check(&facts)
            .into_iter()
            .chain(crate::doctor::linger::check(&facts));
        findings.map(|it| (it.id, it.title)).collect::<Vec<_>>()
    };
    let found = all(&events(|number| 5_000 + number, true));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "client_gives_up");
    assert!(
        found[0]
            .1
            .contains("after 5.00s to 5.02s, before the answer"),
        "{found:?}"
    );
    // It had the answer; and it did not wait for the same time.
    assert_eq!(
        all(&events(|number| 5_000 + number, false))[0].0,
        "linger_on_client"
    );
    assert_eq!(
        all(&events(|number| number * 2_000, true))[0].0,
        "linger_on_client"
    );
}

#[test]
fn a_client_that_does_not_read_the_answer_is_a_notice() {
    let unread = |count: u16| {
        let event = |number| event(&rst(Side::Client, Sent, UnreadData, 10), 40_000 + number);
        let events: Vec<Event> = (0..count).map(event).collect();
        ids(&check(&facts_of(&events, 20)))
    };
    assert_eq!(unread(20), [("answer_not_read", Severity::Notice)]);
    assert!(unread(4).is_empty());
    assert_eq!(unread(2_000), [("answer_not_read", Severity::Warning)]);
}

/// The client had closed first: the RST ends its TIME_WAIT, and nobody here receives it.
#[test]
fn a_connection_with_a_time_wait_and_a_rst_counts_once() {
    let mut facts = facts(&[rst(Side::Server, Sent, UnreadData, 10)], 25, 25);
    let closed = samples::pair(Side::Client, "127.0.0.1:80", 25, 0);
    facts.pairs.push(closed);
    let findings = check(&facts);
    assert!(
        findings[0].title.contains(": 25 of 25 connections"),
        "{}",
        findings[0].title
    );
    // Those that were received are others.
    let both = [
        rst(Side::Client, Received, Peer, 10),
        rst(Side::Server, Sent, UnreadData, 10),
    ];
    facts.pairs.extend(pairs_of(&both, 25));
    let findings = check(&facts);
    assert!(
        findings[0].title.contains(": 50 of 50 connections"),
        "{}",
        findings[0].title
    );
}
