//! Refusals: whether the service answers again.

use super::causes::{AT_MS, MS, at, facts_of};
use super::*;
use crate::model::listener::ListenerSample;

/// 40 refusals by this host's kernel, 10 ms apart.
pub fn refusals() -> Vec<Event> {
    let mut events = Vec::new();
    for number in 0..40_u16 {
        let kernel = Rst {
            process: None,
            state: TcpState::Close,
            ..rst(Side::Unknown, Sent, NoSocket, 0)
        };
        for rst in [kernel, rst(Side::Client, Received, Refused, 0)] {
            let mut event = event(&rst, 40_000 + number);
            event.mono_ns = (AT_MS + u64::from(number) * 10) * MS;
            events.push(event);
        }
    }
    events
}

/// A connection of another process that began then.
pub fn began(began_ms: u64) -> Event {
    let mut closed = crate::event::samples::time_wait();
    closed.netns = Some(samples::NETNS);
    closed.side = Side::Client;
    closed.remote = Some(SERVER.parse().unwrap());
    if let EventFacts::TimeWait(facts) = &mut closed.facts {
        facts.flow.connection_ns = Some(100 * MS);
    }
    closed.mono_ns = (began_ms + 100) * MS;
    closed
}

fn listener(local: &str, v6only: Option<bool>) -> ListenerSample {
    ListenerSample {
        netns: samples::NETNS,
        cookie: 1,
        local: local.parse().unwrap(),
        v6only,
        queued: 0,
        backlog: 128,
        drops: None,
        holders: Vec::new(),
    }
}

#[test]
fn who_refuses_only_some_does_not_answer_again() {
    let mut events = refusals();
    for number in 0..39 {
        events.push(began(AT_MS + number * 10 + 5));
    }
    events.push(began(AT_MS + 5_000));
    let findings = check(&facts_of(&events, 80));
    assert_eq!(findings[0].figures["answers_again"], false);
    assert!(
        findings[0].title.contains("refuses some connections"),
        "{}",
        findings[0].title
    );
    assert!(!findings[0].to_do[0].starts_with("nothing"));
    // One between two refusals is enough; one just after the last is too early to tell.
    for began_ms in [AT_MS + 200, AT_MS + 395] {
        let mut events = refusals();
        events.push(began(began_ms));
        let findings = check(&facts_of(&events, 80));
        assert_eq!(findings[0].figures["answers_again"], false, "{began_ms}");
    }
}

#[test]
fn only_a_listener_that_takes_the_address_answers_again() {
    let severity = |listener: ListenerSample, at_ms: u64, is_local: bool| {
        let mut facts = facts_of(&refusals(), 40);
        if is_local {
            for row in &mut facts.pairs {
                row.counts.patterns.set_same_host();
            }
        }
        facts.new_listeners = Some((vec![listener], at(at_ms)));
        ids(&check(&facts))[0].1
    };
    let after_ms = AT_MS + 1_000;
    for (local, v6only) in [
        ("0.0.0.0:80", None),
        (SERVER, None),
        ("[::]:80", Some(false)),
    ] {
        let found = severity(listener(local, v6only), after_ms, true);
        assert_eq!(found, Severity::Warning, "{local}");
    }
    for (local, v6only) in [
        ("[::]:80", Some(true)),
        ("[::]:80", None),
        ("0.0.0.0:81", None),
        ("10.0.0.3:80", None),
    ] {
        let found = severity(listener(local, v6only), after_ms, true);
        assert_eq!(found, Severity::Critical, "{local}");
    }
    // Another host, as a container is; and a sample that is older than the last refusal.
    let any = || listener("0.0.0.0:80", None);
    assert_eq!(severity(any(), after_ms, false), Severity::Critical);
    assert_eq!(severity(any(), AT_MS + 100, true), Severity::Critical);
}
