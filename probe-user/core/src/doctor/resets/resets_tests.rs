use super::super::samples;
use super::*;
use crate::doctor::finding::Severity;
use crate::event::{Event, EventFacts, Process};
use crate::model::destination::Destination;
use crate::model::pairs::Pairs;
use twtrace_wire::{Side, TcpState, Unattributed};

/// One RST of a connection between these ends.
struct Rst {
    side: Side,
    direction: ResetDirection,
    reason: ResetReason,
    state: TcpState,
    age_ms: u64,
    idle_ms: u64,
    after_close_ms: Option<u64>,
    process: Option<Process>,
    unread_bytes: Option<u64>,
}

const SERVER: &str = "10.0.0.2:80";

fn rst(side: Side, direction: ResetDirection, reason: ResetReason, idle_ms: u64) -> Rst {
    let (pid, name) = match side {
        Side::Server => (8, "orders-api"),
        _ => (9, "checkout"),
    };
    Rst {
        side,
        direction,
        reason,
        state: TcpState::Established,
        age_ms: idle_ms + 10,
        idle_ms,
        after_close_ms: None,
        process: Some(crate::event::samples::process(pid, name)),
        unread_bytes: None,
    }
}

fn event(rst: &Rst, port: u16) -> Event {
    let mut event = crate::event::samples::reset();
    event.netns = Some(samples::NETNS);
    event.side = rst.side;
    event.process.clone_from(&rst.process);
    event.unattributed = rst.process.is_none().then_some(Unattributed::NoSocket);
    let (client, server) = (
        format!("10.0.0.1:{port}").parse().unwrap(),
        SERVER.parse().unwrap(),
    );
    let (local, remote) = match rst.side {
        Side::Client => (client, server),
        _ => (server, client),
    };
    (event.local, event.remote) = (Some(local), Some(remote));
    if let EventFacts::Reset(facts) = &mut event.facts {
        facts.direction = rst.direction;
        facts.reason = rst.reason;
        facts.state = Some(rst.state);
        facts.flow.connection_ns = Some(rst.age_ms * 1_000_000);
        // Data that comes too late is no data of the connection.
        let after_ms = rst.after_close_ms.unwrap_or(0);
        facts.flow.idle_ns = Some((rst.idle_ms + after_ms) * 1_000_000);
        facts.flow.send_idle_ns = facts.flow.idle_ns;
        facts.flow.awaits_answer = Some(true);
        facts.after_close_ns = rst.after_close_ms.map(|ms| ms * 1_000_000);
        facts.unread_bytes = rst.unread_bytes;
        // An upload.
        facts.flow.bytes_received = Some(match rst.side {
            Side::Server => 60_000,
            _ => 0,
        });
    }
    event
}

fn pairs_of(rsts: &[Rst], count: u16) -> Vec<PairRow> {
    let mut pairs = Pairs::default();
    for port in 0..count {
        for rst in rsts {
            pairs.apply(&event(rst, 40_000 + port));
        }
    }
    pairs.rows()
}

/// `count` connections with these RSTs, among `opened` that both ends opened.
fn facts(rsts: &[Rst], count: u16, opened: u64) -> DoctorFacts {
    let mut facts = samples::healthy();
    facts.pairs = pairs_of(rsts, count);
    let state = facts.state_mut();
    state.active_opens = state.active_opens.map(|before| before + opened);
    state.passive_opens = state.passive_opens.map(|before| before + opened);
    facts
}

/// The findings with how much each says has failed.
fn failed(findings: &[Finding]) -> Vec<(&'static str, serde_json::Value)> {
    let failed = |it: &Finding| (it.id, it.figures["share"]["failed"].clone());
    findings.iter().map(failed).collect()
}

fn ids(findings: &[Finding]) -> Vec<(&'static str, Severity)> {
    findings.iter().map(|it| (it.id, it.severity)).collect()
}

use ResetDirection::{Received, Sent};
use ResetReason::{DataAfterClose, NoSocket, Peer, Refused, UnreadData};

#[test]
fn both_ends_on_this_host_are_one_finding_of_the_server() {
    let ends = [
        rst(Side::Client, Received, Peer, 10),
        rst(Side::Server, Sent, UnreadData, 10),
    ];
    let facts_of = |count, opened| facts(&ends, count, opened);
    let findings = check(&facts_of(25, 50));
    assert_eq!(ids(&findings), [("request_not_read", Severity::Critical)]);
    assert_eq!(
        findings[0].title,
        "orders-api(8) on :80 closes before it has read what its clients send: 25 of 25 or more connections are reset"
    );
    assert!(findings[0].evidence[0].starts_with("25 of at least 25 connections, and at most 50"));
    assert!(
        findings[0]
            .evidence
            .last()
            .unwrap()
            .ends_with("checkout(9): 25")
    );
    // Too few, and a small share.
    assert!(check(&facts_of(4, 4)).is_empty());
    assert_eq!(
        ids(&check(&facts_of(25, 2_000))),
        [("request_not_read", Severity::Warning)]
    );
    assert_eq!(
        ids(&check(&facts_of(25, 100_000))),
        [("request_not_read", Severity::Notice)]
    );
    // What it explains is not reported again.
    let facts = facts_of(25, 50);
    let explained = explained(&facts, &explanations(&facts));
    assert_eq!(explained.of(Sent, UnreadData, "orders-api(8)"), 25);
    assert_eq!(explained.of(Received, Peer, "checkout(9)"), 25);
}

#[test]
fn a_keep_alive_race_has_the_servers_timeout() {
    let late = Rst {
        after_close_ms: Some(4),
        ..rst(Side::Server, Sent, DataAfterClose, 1_000)
    };
    let received = Rst {
        state: TcpState::CloseWait,
        ..rst(Side::Client, Received, Peer, 1_004)
    };
    let findings = check(&facts(&[late, received], 10, 10));
    assert_eq!(ids(&findings), [("keepalive_race", Severity::Critical)]);
    assert!(
        findings[0]
            .title
            .contains("closes idle connections after 1.00s while clients send: 10 of 10")
    );
    assert!(findings[0].evidence[0].contains("came 4.00ms after orders-api(8) had closed"));
    assert!(findings[0].to_do[0].contains("below 1.00s"));
    // Without idle time it is not a race.
    let early = Rst {
        after_close_ms: Some(4),
        ..rst(Side::Server, Sent, DataAfterClose, 3)
    };
    assert_eq!(
        ids(&check(&facts(&[early], 10, 10)))[0].0,
        "request_not_read"
    );
}

#[test]
fn a_server_elsewhere_is_seen_by_its_client() {
    let race = Rst {
        state: TcpState::CloseWait,
        ..rst(Side::Client, Received, Peer, 5_000)
    };
    let findings = check(&facts(&[race], 10, 1_000));
    assert_eq!(ids(&findings), [("keepalive_race", Severity::Warning)]);
    assert!(
        findings[0]
            .title
            .starts_with("10.0.0.2:80 closes idle connections after 5.00s")
    );
    let timeout = rst(Side::Client, Received, Peer, 60_000);
    let apart = |apart_ms: u64| {
        let mut facts = facts(&[], 0, 1_000);
        let mut pairs = Pairs::default();
        for number in 0..10 {
            let mut event = event(&timeout, 40_000 + number);
            event.mono_ns += u64::from(number) * apart_ms * 1_000_000;
            pairs.apply(&event);
        }
        facts.pairs = pairs.rows();
        check(&facts)
    };
    // All at one moment: whatever ended them, they had been opened together.
    assert_eq!(ids(&apart(10))[0].0, "reset_by_peer");
    let findings = apart(1_000);
    assert_eq!(ids(&findings), [("reset_by_timeout", Severity::Warning)]);
    assert!(
        findings[0]
            .title
            .ends_with("are reset when they are 60.0s idle")
    );
    assert!(findings[0].evidence[1].contains("no process of this host"));
    let soon = rst(Side::Client, Received, Peer, 10);
    assert_eq!(ids(&check(&facts(&[soon], 10, 10)))[0].0, "reset_by_peer");
    // Clients that go away are no fault of a server.
    let away = rst(Side::Server, Received, Peer, 10);
    assert!(check(&facts(&[away], 10, 10)).is_empty());
}

#[test]
fn a_client_that_gives_up_has_its_timeout() {
    let late = Rst {
        after_close_ms: Some(500),
        ..rst(Side::Client, Sent, DataAfterClose, 3_000)
    };
    let received = Rst {
        state: TcpState::CloseWait,
        ..rst(Side::Server, Received, Peer, 3_500)
    };
    let findings = check(&facts(&[late, received], 20, 100));
    assert_eq!(ids(&findings), [("client_gives_up", Severity::Warning)]);
    assert!(
        findings[0]
            .title
            .contains("to 10.0.0.2:80 after 3.00s, before the answer")
    );
}

#[test]
fn a_listener_that_closes_resets_what_it_has_not_accepted() {
    let mut facts = facts(
        &[rst(Side::Server, Sent, ResetReason::Aborted, 900)],
        10,
        10,
    );
    assert!(check(&facts).is_empty(), "it had answered");
    for row in &mut facts.pairs {
        row.counts.patterns.set_unanswered();
    }
    assert_eq!(
        ids(&check(&facts)),
        [("listener_closed", Severity::Critical)]
    );
}

#[test]
fn refused_connects_are_those_of_who_asks() {
    let client = rst(Side::Client, Received, Refused, 0);
    let kernel = Rst {
        process: None,
        state: TcpState::Close,
        ..rst(Side::Unknown, Sent, NoSocket, 0)
    };
    let findings = check(&facts(&[kernel, client], 40, 40));
    assert_eq!(ids(&findings), [("connection_refused", Severity::Critical)]);
    assert!(
        findings[0]
            .title
            .contains("checkout(9) was refused 40 times")
    );
    assert!(findings[0].evidence[1].contains("its kernel sent 40"));
    // As slow as a health check.
    let client = rst(Side::Client, Received, Refused, 0);
    let findings = check(&facts(&[client], 6, 6));
    assert_eq!(ids(&findings), [("connection_refused", Severity::Notice)]);
}

#[test]
fn what_no_socket_of_this_host_sent_came_from_between() {
    let mut facts = facts(&[rst(Side::Client, Received, Peer, 10)], 10, 10);
    for row in &mut facts.pairs {
        row.counts.patterns.set_same_host();
    }
    // Hooks do not see all RSTs that are sent: nothing is known of their sender.
    assert_eq!(ids(&check(&facts))[0].0, "reset_by_peer");
    use crate::hooks::{Choice, Question, Tier};
    let seen = [Question::Reset, Question::ResetWithoutSocket].map(|question| Choice {
        question,
        tier: Tier::Fentry,
        hooks: vec![],
        lost: None,
        refused: vec![],
    });
    facts.report.tiers.extend(seen);
    assert_eq!(ids(&check(&facts))[0].0, "reset_in_between");
    // Perhaps it is the sender, behind NAT.
    let clean = std::mem::take(&mut facts.pairs);
    facts.pairs = pairs_of(&[rst(Side::Server, Sent, ResetReason::Aborted, 10)], 1);
    facts.pairs.extend(clean.iter().cloned());
    assert_eq!(ids(&check(&facts))[0].0, "reset_by_peer");
    facts.pairs = clean;
    facts.sees_all = false;
    assert_eq!(ids(&check(&facts))[0].0, "reset_by_peer");
}

#[test]
fn a_closing_alert_of_tls_is_no_warning() {
    // The clients are elsewhere.
    let late = |idle_ms| Rst {
        after_close_ms: Some(4),
        ..rst(Side::Server, Sent, DataAfterClose, idle_ms)
    };
    for (idle_ms, id) in [(1_000, "keepalive_race"), (3, "request_not_read")] {
        let findings = check(&facts(&[late(idle_ms)], 10, 10));
        assert_eq!(ids(&findings), [(id, Severity::Notice)]);
        let evidence = findings[0].evidence.join(" ");
        assert!(evidence.contains("close_notify"), "{evidence}");
    }
    // A client here that had closed when the RST came; it has no finding of its own.
    let received = |state| Rst {
        state,
        ..rst(Side::Client, Received, Peer, 1_004)
    };
    let closed = facts(&[late(1_000), received(TcpState::LastAck)], 10, 10);
    assert_eq!(ids(&check(&closed)), [("keepalive_race", Severity::Notice)]);
    for state in [TcpState::FinWait1, TcpState::FinWait2, TcpState::LastAck] {
        assert!(check(&facts(&[received(state)], 200, 200)).is_empty());
    }
}

#[test]
fn a_health_check_that_only_connects_is_no_warning() {
    let late = Rst {
        after_close_ms: Some(1),
        ..rst(Side::Client, Sent, DataAfterClose, 3)
    };
    let mut facts = facts(&[late], 20, 20);
    assert_eq!(
        ids(&check(&facts)),
        [("client_gives_up", Severity::Critical)]
    );
    for row in &mut facts.pairs {
        row.counts.patterns.set_unanswered();
    }
    assert_eq!(ids(&check(&facts)), [("client_gives_up", Severity::Notice)]);
}

#[test]
fn the_number_of_findings_of_one_kind_is_bounded() {
    let mut facts = facts(&[rst(Side::Client, Received, Peer, 10)], 10, 500);
    let row = facts.pairs.remove(0);
    for port in 1..=14_u16 {
        let mut row = row.clone();
        row.destination =
            Destination::Remote(std::net::SocketAddr::new([10, 0, 0, 2].into(), port));
        facts.pairs.push(row);
    }
    let findings = check(&facts);
    assert_eq!(findings.len(), bounded::SHOWN);
    let last = findings[bounded::SHOWN - 1].evidence.last().unwrap();
    assert!(last.starts_with("4 more findings"), "{last}");
}

#[test]
fn a_rst_with_both_ends_here_is_explained_once() {
    let ends = [
        rst(Side::Client, Received, Peer, 10),
        rst(Side::Server, Sent, UnreadData, 10),
    ];
    let mut facts = facts(&ends, 25, 50);
    // Others of the same client, whose sender is not here.
    let more = pairs_of(&[rst(Side::Client, Received, Peer, 10)], 30);
    for row in &mut facts.pairs {
        if row.side == Side::Client {
            row.counts.add(&more[0].counts);
        }
    }
    let explained = explained(&facts, &explanations(&facts));
    assert_eq!(explained.of(Received, Peer, "checkout(9)"), 55);
}

#[path = "causes_tests.rs"]
mod causes;

#[path = "clients_tests.rs"]
mod clients;

#[path = "closing_alert_tests.rs"]
mod closing_alert;

#[path = "doubtful_tests.rs"]
mod doubtful;

#[path = "refused_tests.rs"]
mod refused;
