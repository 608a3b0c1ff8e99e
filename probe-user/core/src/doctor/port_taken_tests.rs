//! Findings for each kind of holder.

use super::*;
use crate::doctor::samples;
use crate::event::errno::Errno;
use crate::model::budget::ports::PortRange;
use crate::model::fixed_port_row::FixedPortCalls;
use crate::model::port_holders::NoPortHolder;

const PORT: u16 = 7_777;

fn row(op: PortOp, errno: i32) -> FixedPortRow {
    FixedPortRow {
        netns: samples::NETNS,
        netns_nth: 0,
        port: PORT,
        process: samples::process("new-server").process,
        unattributed: None,
        processes: 1,
        calls: vec![FixedPortCalls {
            op,
            errno: Errno(errno as u16),
            count: 4,
        }],
        addresses: vec!["0.0.0.0".parse().unwrap()],
        lasted_ns: 900_000_000,
        checked_ns: Some(40_000_000),
        why: None,
        holders: Vec::new(),
        failed_after_check: true,
    }
}

fn holder(kind: HolderKind) -> FixedPortHolder {
    FixedPortHolder {
        kind,
        process: samples::process("old").process,
        shared_by: 0,
        unattributed: None,
        side: Side::Unknown,
        count: 1,
        local: "127.0.0.1:7777".parse().unwrap(),
        remote: Some("10.0.0.9:80".parse().unwrap()),
        left_ns: None,
        is_self_connected: false,
        is_own: false,
    }
}

fn found(row: FixedPortRow, holders: Vec<FixedPortHolder>) -> Finding {
    let mut facts = samples::healthy();
    facts.state_mut().ports.range = PortRange {
        low: 32_768,
        high: 60_999,
    };
    found_with(facts, row, holders)
}

fn found_with(mut facts: DoctorFacts, row: FixedPortRow, holders: Vec<FixedPortHolder>) -> Finding {
    facts.report.fixed_ports = vec![FixedPortRow { holders, ..row }];
    let mut findings = check(&facts);
    assert_eq!(findings.len(), 1);
    findings.remove(0)
}

fn bind() -> FixedPortRow {
    row(PortOp::Bind, libc::EADDRINUSE)
}

#[test]
fn time_waits_of_an_old_server_ask_for_reuseaddr() {
    let finding = found(
        bind(),
        vec![FixedPortHolder {
            side: Side::Server,
            count: 5,
            left_ns: Some(58_000_000_000),
            ..holder(HolderKind::TimeWait)
        }],
    );
    assert_eq!(finding.severity, Severity::Critical);
    assert_eq!(
        finding.title,
        "new-server(7) can't have port 7777: it is taken"
    );
    assert_eq!(
        finding.evidence,
        [
            "new-server(7) wanted 0.0.0.0:7777 in namespace 42: 4 bind() failed with EADDRINUSE within 900ms",
            "old(7) left 5 TIME_WAIT sockets on 127.0.0.1:7777 as server; the last ends 58.0s after the check (40.0ms after \
             the first failure)",
        ]
    );
    assert!(finding.to_do[0].starts_with("set SO_REUSEADDR"));
    assert_eq!(finding.figures["held_by"][0]["what"], "incoming");
}

#[test]
fn outgoing_connections_ask_for_a_reserved_port() {
    let mut facts = samples::healthy();
    facts.state_mut().ports.range = PortRange {
        low: 7_000,
        high: 8_000,
    };
    facts.state_mut().ports.reserved = "7100".parse().unwrap();
    let finding = found_with(facts, bind(), vec![holder(HolderKind::Connection)]);
    assert_eq!(
        finding.evidence[1],
        "old(7) has a connection from 127.0.0.1:7777 with 10.0.0.9:80"
    );
    assert!(finding.evidence[2].contains("(7000-8000)"));
    assert!(finding.to_do[0].ends_with("net.ipv4.ip_local_reserved_ports=7100,7777"));
    assert_eq!(finding.figures["held_by"][0]["what"], "unknown_side");
    assert!(finding.to_do[1].contains("set SO_REUSEADDR"));
    // The side of a TIME_WAIT is known from its creation, whatever the range is.
    let finding = found(
        bind(),
        vec![FixedPortHolder {
            side: Side::Client,
            ..holder(HolderKind::TimeWait)
        }],
    );
    assert_eq!(finding.figures["held_by"][0]["what"], "outgoing");
}

/// `curl --local-port` again: nobody else wants the port.
#[test]
fn a_client_that_binds_its_port_itself_needs_no_reserved_port() {
    let mut facts = samples::healthy();
    facts.state_mut().ports.range = PortRange {
        low: 7_000,
        high: 8_000,
    };
    let finding = found_with(
        facts,
        bind(),
        vec![FixedPortHolder {
            side: Side::Client,
            process: samples::process("new-server").process,
            ..holder(HolderKind::TimeWait)
        }],
    );
    assert!(finding.to_do[0].starts_with("let connect() choose the port"));
    assert!(finding.settings.is_empty());
}

#[test]
fn many_connections_or_those_of_the_program_itself_are_a_servers() {
    let in_range = || {
        let mut facts = samples::healthy();
        facts.state_mut().ports.range = PortRange {
            low: 7_000,
            high: 8_000,
        };
        facts
    };
    let connection = || holder(HolderKind::Connection);
    for holders in [
        vec![FixedPortHolder {
            count: 2,
            ..connection()
        }],
        vec![FixedPortHolder {
            process: samples::process("new-server").process,
            ..connection()
        }],
        vec![
            connection(),
            FixedPortHolder {
                side: Side::Server,
                ..holder(HolderKind::TimeWait)
            },
        ],
    ] {
        let finding = found_with(in_range(), bind(), holders);
        assert_eq!(finding.figures["held_by"][0]["what"], "incoming");
        assert!(finding.to_do[0].starts_with("set SO_REUSEADDR"));
    }
}

#[test]
fn a_server_is_named_and_its_connections_are_not() {
    let finding = found(
        bind(),
        vec![
            FixedPortHolder {
                remote: None,
                ..holder(HolderKind::Listener)
            },
            holder(HolderKind::Connection),
            holder(HolderKind::TimeWait),
        ],
    );
    assert_eq!(finding.evidence[1..], ["old(7) listens on 127.0.0.1:7777"]);
    assert!(finding.to_do[0].starts_with("stop old(7), or give"));
}

#[test]
fn a_process_that_got_the_port_is_warned_of() {
    let own = || {
        vec![FixedPortHolder {
            is_own: true,
            ..holder(HolderKind::Listener)
        }]
    };
    let row = FixedPortRow {
        failed_after_check: false,
        ..bind()
    };
    assert_eq!(found(row, own()).severity, Severity::Warning);
    assert_eq!(found(bind(), own()).severity, Severity::Critical);
}

#[test]
fn a_connection_to_itself_is_called_so() {
    let finding = found(
        bind(),
        vec![FixedPortHolder {
            is_self_connected: true,
            ..holder(HolderKind::Connection)
        }],
    );
    assert!(finding.evidence[1].contains("to itself"), "{finding:?}");
    assert!(finding.to_do[0].contains("ip_local_reserved_ports"));
}

#[test]
fn a_connect_from_a_fixed_port_asks_for_none() {
    let connect = || row(PortOp::Connect, libc::EADDRNOTAVAIL);
    let finding = found(connect(), vec![holder(HolderKind::TimeWait)]);
    assert_eq!(
        finding.title,
        "new-server(7) can't connect from port 7777: it is taken"
    );
    assert!(finding.to_do[0].starts_with("leave the source port"));
    assert!(finding.to_do[1].contains("at the peer too"));
    let live = found(connect(), vec![holder(HolderKind::Connection)]);
    assert!(live.to_do[1].starts_with("close the open connection"));
}

#[test]
fn what_is_not_known_is_said() {
    let unknown = FixedPortHolder {
        process: None,
        unattributed: Some(NoPortHolder::NotSeen),
        ..holder(HolderKind::TimeWait)
    };
    let finding = found(bind(), vec![unknown]);
    assert!(
        finding.evidence[1].contains("an unknown process (it was created before tracing began")
    );
    for (row, says) in [
        (
            FixedPortRow {
                checked_ns: None,
                ..bind()
            },
            "not recorded",
        ),
        (bind(), "only bound"),
        (
            FixedPortRow {
                why: Some("not permitted".to_owned()),
                ..bind()
            },
            "not known: not permitted",
        ),
    ] {
        let finding = found(row, Vec::new());
        assert!(finding.evidence[1].contains(says), "{:?}", finding.evidence);
        assert!(finding.to_do[0].contains("ss -tanp sport = :7777"));
    }
}

#[test]
fn many_ports_are_counted() {
    let mut facts = samples::healthy();
    facts.report.fixed_ports = (1..=14)
        .map(|port| FixedPortRow { port, ..bind() })
        .collect();
    let findings = check(&facts);
    assert_eq!(findings.len(), bounded::SHOWN);
    assert!(
        findings[9]
            .evidence
            .last()
            .unwrap()
            .starts_with("4 more fixed ports")
    );
}
