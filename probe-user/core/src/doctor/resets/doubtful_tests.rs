//! RSTs whose cause is not certain: what must not be claimed.

use super::causes::{AT_MS, MS, all_at_once, at, facts_of, late, server_key, unread};
use super::*;
use crate::model::resets::ResetPattern;

fn client_key() -> ProcessKey {
    crate::event::samples::process(9, "checkout").key
}

/// Connections of a client that closed at a moment, after these times without an answer.
fn gave_up(reason: ResetReason, idle_ms: fn(u64) -> u64, apart_ms: u64) -> Vec<Event> {
    let one = |number: u16| {
        let after_ms = u64::from(reason == DataAfterClose) * 500;
        let rst = Rst {
            after_close_ms: (after_ms > 0).then_some(after_ms),
            age_ms: 60_000 + after_ms,
            ..rst(Side::Client, Sent, reason, idle_ms(u64::from(number)))
        };
        let mut event = event(&rst, 40_000 + number);
        event.mono_ns = (AT_MS + u64::from(number) * apart_ms + after_ms) * MS;
        event
    };
    (0..20).map(one).collect()
}

#[test]
fn a_client_that_times_out_and_exits_gave_up() {
    for reason in [DataAfterClose, ResetReason::LingerZero] {
        let mut facts = facts_of(&gave_up(reason, |number| 1_000 + number, 1), 20);
        facts.exited.insert(client_key(), at(AT_MS + 700));
        let findings = check(&facts);
        assert_eq!(
            ids(&findings),
            [("client_gives_up", Severity::Critical)],
            "{reason:?}"
        );
    }
    // It left at different times of its connections.
    let mut facts = facts_of(&gave_up(DataAfterClose, |number| number * 150, 1), 20);
    facts.exited.insert(client_key(), at(AT_MS + 700));
    assert!(check(&facts).is_empty());
}

#[test]
fn an_early_answer_is_no_limit_of_connections() {
    // 401 to a small request, whose body came after its head.
    let answered = |number: u16| {
        let rst = Rst {
            age_ms: 3,
            ..rst(Side::Server, Sent, UnreadData, 1)
        };
        let mut event = event(&rst, 40_000 + number);
        event.mono_ns += u64::from(number) * 1_000 * MS;
        if let EventFacts::Reset(facts) = &mut event.facts {
            facts.flow.send_idle_ns = Some(2 * MS);
            facts.flow.bytes_sent = Some(120);
            facts.flow.bytes_received = Some(300);
        }
        event
    };
    let events: Vec<Event> = (0..30).map(answered).collect();
    let findings = check(&facts_of(&events, 40));
    assert_eq!(ids(&findings), [("request_not_read", Severity::Critical)]);
    assert!(findings[0].to_do[0].starts_with("have the server read"));
    let to_do = findings[0].to_do.join(" ");
    assert!(to_do.contains("MaxStartups"), "{to_do}");
}

/// The RSTs of a client, each just after one of a client of the same process.
fn passed_on(reason: ResetReason, apart_ms: u64) -> Vec<Event> {
    let mut events = Vec::new();
    for (number, mut gave_up) in gave_up(reason, |_| 5_000, apart_ms).into_iter().enumerate() {
        let mut left = event(
            &rst(Side::Server, Received, Peer, 10),
            42_000 + number as u16,
        );
        left.process = Some(crate::event::samples::process(9, "checkout"));
        left.local = Some("10.0.0.1:8080".parse().unwrap());
        left.mono_ns = (AT_MS + number as u64 * apart_ms) * MS;
        gave_up.mono_ns += 2 * MS;
        events.push(left);
        events.push(gave_up);
    }
    events
}

#[test]
fn a_proxy_that_closes_by_rst_has_no_timeout_either() {
    for reason in [DataAfterClose, ResetReason::LingerZero] {
        let findings = check(&facts_of(&passed_on(reason, 1_000), 20));
        assert!(
            findings[0]
                .title
                .starts_with("clients of checkout(9) leave"),
            "{}",
            findings[0].title
        );
    }
}

#[test]
fn clients_that_leave_all_the_time_prove_nothing() {
    for reason in [DataAfterClose, ResetReason::LingerZero] {
        let findings = check(&facts_of(&passed_on(reason, 20), 20));
        assert!(
            findings[0].title.starts_with("checkout(9) closes its"),
            "{}",
            findings[0].title
        );
        let evidence = findings[0].evidence.join(" ");
        assert!(evidence.contains("by chance, or"), "{evidence}");
    }
}

#[test]
fn times_that_differ_by_a_second_are_no_timeout_of_a_client() {
    let events = gave_up(ResetReason::LingerZero, |number| 2_290 + number * 50, 1_000);
    let facts = facts_of(&events, 20);
    assert!(check(&facts).is_empty());
    assert_eq!(
        crate::doctor::linger::check(&facts)[0].id,
        "linger_on_client"
    );
}

#[test]
fn one_late_alert_makes_no_race_of_uploads() {
    let mut events = vec![late(39_000, 1_000, 4)];
    for number in 0..200_u16 {
        let mut upload = unread(40_000 + number, 200 + u64::from(number) * 40);
        upload.mono_ns += u64::from(number) * 1_000 * MS;
        events.push(upload);
    }
    let findings = check(&facts_of(&events, 200));
    assert_eq!(ids(&findings)[0].0, "request_not_read");
    assert_eq!(findings[0].figures["share"]["failed"], 200);
    assert_eq!(findings.len(), 1, "{findings:?}");
    // Nor of those with other pauses than the timeout.
    for number in 0..20_u16 {
        let mut late = late(50_000 + number, 1_000, 4);
        late.mono_ns += u64::from(number) * 1_000 * MS;
        events.push(late);
    }
    let findings = check(&facts_of(&events, 200));
    let failed = |id| {
        let mut found = findings.iter();
        let found = found.find(|it| it.id == id).unwrap();
        found.figures["share"]["failed"].as_u64().unwrap()
    };
    assert_eq!(failed("keepalive_race") + failed("request_not_read"), 221);
    assert!(failed("keepalive_race") <= 26, "{findings:?}");
}

/// The processes of one service.
fn of_worker(events: &mut [Event], pid: u32) {
    for event in events {
        event.process = Some(crate::event::samples::process(pid, "orders-api"));
    }
}

#[test]
fn single_rsts_of_several_workers_are_no_moment() {
    let mut events = Vec::new();
    for worker in 0..8_u16 {
        let mut one = [late(40_000 + worker, u64::from(worker) * 500, 5)];
        one[0].mono_ns += u64::from(worker) * 100 * MS;
        of_worker(&mut one, 100 + u32::from(worker));
        events.extend(one);
    }
    let mut facts = facts_of(&events, 40);
    let found = ids(&check(&facts));
    assert!(found.iter().all(|(id, _)| *id != "closed_at_once"));
    for worker in 0..8 {
        let key = crate::event::samples::process(100 + worker, "orders-api").key;
        facts.exited.insert(key, at(AT_MS + 1_000));
    }
    let found = check(&facts);
    assert!(
        found[0].title.starts_with("processes of orders-api (8"),
        "{found:?}"
    );
}

#[test]
fn workers_that_end_one_after_the_other_are_not_one_moment() {
    let mut first = all_at_once();
    of_worker(&mut first, 100);
    let mut second = all_at_once();
    of_worker(&mut second, 101);
    let both = |second: &[Event]| {
        let events: Vec<Event> = first.iter().chain(second).cloned().collect();
        check(&facts_of(&events, 80))
    };
    for event in &mut second {
        event.mono_ns += 500 * MS;
    }
    let findings = both(&second);
    assert!(
        findings[0].title.contains("closed 76"),
        "{}",
        findings[0].title
    );
    // Its connections began when those of the first one had been closed.
    for event in &mut second {
        if let EventFacts::Reset(facts) = &mut event.facts {
            let after_ns = facts.after_close_ns.unwrap_or(0);
            facts.flow.connection_ns = Some(300 * MS + after_ns);
        }
    }
    let found = ids(&both(&second));
    assert!(
        found.iter().all(|(id, _)| *id != "closed_at_once"),
        "{found:?}"
    );
}

#[test]
fn a_moment_explains_no_other_rsts() {
    let mut events = all_at_once();
    for number in 0..7 {
        let mut unread = unread(42_000 + number, 1);
        unread.mono_ns -= u64::from(number + 1) * 1_000 * MS;
        events.push(unread);
    }
    let mut facts = facts_of(&events, 60);
    facts.exited.insert(server_key(), at(AT_MS + 200));
    let findings = check(&facts);
    assert_eq!(findings[0].id, "process_ended");
    let evidence = findings[0].evidence.join(" ");
    assert!(
        evidence.contains("7 more RSTs of this service"),
        "{evidence}"
    );
    let explained = explained(&facts, &explanations(&facts));
    assert_eq!(explained.of(Sent, UnreadData, "orders-api(8)"), 8);
}

#[test]
fn what_was_received_last_may_be_no_request() {
    let mut events = all_at_once();
    for number in 0..10_u16 {
        let mut closed = crate::event::samples::time_wait();
        closed.netns = Some(samples::NETNS);
        closed.side = Side::Server;
        closed.process = Some(crate::event::samples::process(8, "orders-api"));
        closed.local = Some(SERVER.parse().unwrap());
        closed.remote = Some(format!("10.0.0.1:{}", 44_000 + number).parse().unwrap());
        closed.mono_ns = AT_MS * MS;
        if let EventFacts::TimeWait(facts) = &mut closed.facts {
            facts.flow.connection_ns = Some(9_000 * MS);
            facts.flow.idle_ns = Some(50 * MS);
            facts.flow.send_idle_ns = Some(500 * MS);
        }
        // The late ones of these moments have a TIME_WAIT too.
        events.extend(std::iter::repeat_n(closed, 4));
    }
    let mut facts = facts_of(&events, 90);
    facts.exited.insert(server_key(), at(AT_MS + 200));
    let title = &check(&facts)[0].title;
    assert!(title.contains("more may have lost a request"), "{title}");
}

#[test]
fn times_of_recordings_do_not_overflow() {
    let mut events = all_at_once();
    for event in &mut events {
        event.mono_ns = u64::MAX - 1_000;
    }
    let mut facts = facts_of(&events, 40);
    let exited_at = crate::event::Moment {
        mono_ns: u64::MAX - 500,
        ..Default::default()
    };
    facts.exited.insert(server_key(), exited_at);
    assert_eq!(ids(&check(&facts))[0].0, "process_ended");
}

#[test]
fn a_closing_alert_that_was_not_read_is_no_answer() {
    let unread = |state, pause_ms: u64| {
        let one = |number: u16| {
            let rst = Rst {
                state,
                ..rst(Side::Client, Sent, UnreadData, 2_000)
            };
            let mut event = event(&rst, 40_000 + number);
            if let EventFacts::Reset(facts) = &mut event.facts {
                facts.flow.send_idle_ns = Some((2_000 + pause_ms) * MS);
            }
            event
        };
        let events: Vec<Event> = (0..20).map(one).collect();
        ids(&check(&facts_of(&events, 20)))
    };
    assert!(unread(TcpState::CloseWait, 5_000).is_empty());
    for (state, pause_ms) in [(TcpState::CloseWait, 20), (TcpState::Established, 5_000)] {
        let found = unread(state, pause_ms);
        assert_eq!(found, [("answer_not_read", Severity::Notice)]);
    }
}

#[test]
fn a_storm_of_many_destinations_is_one() {
    let mut facts = facts_of(&[], 0);
    let one = |number: u16| event(&rst(Side::Client, Sent, UnreadData, 10), 40_000 + number);
    let events: Vec<Event> = (0..80).map(one).collect();
    let row = facts_of(&events, 0).pairs.remove(0);
    for port in 1..=20_u16 {
        let mut row = row.clone();
        row.destination =
            Destination::Remote(std::net::SocketAddr::new([10, 0, 0, 2].into(), port));
        facts.pairs.push(row);
    }
    let mut sums = samples::process("checkout");
    sums.process = Some(crate::event::samples::process(9, "checkout"));
    for _ in 0..20 * 80 {
        sums.counts.reset_sent.add(UnreadData);
    }
    facts.report.processes = vec![sums];
    assert_eq!(ids(&check(&facts)), [("reset_storm", Severity::Warning)]);
}

#[test]
fn a_limit_explains_no_other_rsts() {
    let refused = |number: u16, sent: u64| {
        let rst = Rst {
            age_ms: 1,
            ..rst(Side::Server, Sent, UnreadData, 0)
        };
        let mut event = event(&rst, 40_000 + number);
        event.mono_ns += u64::from(number) * 1_000 * MS;
        if let EventFacts::Reset(facts) = &mut event.facts {
            facts.flow.bytes_sent = Some(sent);
            facts.flow.bytes_received = Some(20);
        }
        event
    };
    let limited = (0..40).map(|number| refused(number, 0));
    let events: Vec<Event> = limited
        .chain((40..48).map(|number| refused(number, 4_000)))
        .collect();
    assert_eq!(
        failed(&check(&facts_of(&events, 48))),
        [
            ("connection_limit", 40.into()),
            ("request_not_read", 8.into())
        ]
    );
}

#[test]
fn what_others_explain_is_no_linger() {
    let mut events = gave_up(ResetReason::LingerZero, |number| 5_000 + number, 1_000);
    // These had an answer.
    for number in 0..5_u16 {
        let mut answered = event(
            &rst(Side::Client, Sent, ResetReason::LingerZero, 10),
            50_000 + number,
        );
        if let EventFacts::Reset(facts) = &mut answered.facts {
            facts.flow.send_idle_ns = Some(20 * MS);
            facts.flow.awaits_answer = None;
        }
        events.push(answered);
    }
    let facts = facts_of(&events, 25);
    let count = |pattern: &ResetPattern| pattern.count;
    assert_eq!(
        group::groups(&facts)[0].of_sent(ResetReason::LingerZero, count),
        25
    );
    assert_eq!(check(&facts)[0].figures["share"]["failed"], 20);
    let lingers = crate::doctor::linger::check(&facts);
    assert_eq!(lingers[0].figures["resets"], 5);
}
