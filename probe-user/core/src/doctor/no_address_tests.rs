use twtrace_wire::{PortOp, Side};

use super::*;
use crate::doctor::samples;
use crate::event::samples::process;

fn row(op: PortOp, address: &str, count: u64) -> MissingAddressRow {
    MissingAddressRow {
        netns: samples::NETNS,
        netns_nth: 0,
        process: Some(process(7, "nginx")),
        unattributed: None,
        processes: 1,
        op,
        address: address.parse().unwrap(),
        count,
        lasted_ns: 2_000_000_000,
    }
}

fn found_with(mut facts: DoctorFacts, rows: Vec<MissingAddressRow>) -> Vec<Finding> {
    facts.report.missing_addresses = rows;
    check(&facts)
}

fn found(row: MissingAddressRow) -> Finding {
    found_with(samples::healthy(), vec![row]).remove(0)
}

#[test]
fn a_server_without_its_address_fails() {
    let finding = found(row(PortOp::Bind, "10.9.9.9:80", 1));
    assert_eq!(finding.severity, Severity::Critical);
    assert_eq!(
        finding.title,
        "nginx(7) can't bind 10.9.9.9: it is no address of this host"
    );
    assert!(finding.evidence[0].contains("1 bind() of 10.9.9.9:80 in namespace"));
    assert!(finding.to_do[1].contains("net.ipv4.ip_nonlocal_bind=1"));
}

#[test]
fn it_is_as_severe_as_it_is_likely_to_fail() {
    for (op, address, count, severity) in [
        (PortOp::Bind, "10.9.9.9:0", 2, Severity::Warning),
        (PortOp::Bind, "10.9.9.9:0", 3, Severity::Critical),
        // A runtime tests the host, or a daemon goes on with 127.0.0.1.
        (PortOp::Bind, "[::1]:0", 30, Severity::Notice),
        (PortOp::Bind, "[::1]:5432", 1, Severity::Notice),
        (PortOp::Bind, "[::1]:5432", 3, Severity::Warning),
        (PortOp::Bind, "[2001:db8::9]:80", 1, Severity::Critical),
        (PortOp::Connect, "[::1]:9092", 2, Severity::Notice),
        (PortOp::Connect, "[::1]:9092", 12, Severity::Warning),
    ] {
        let finding = found(row(op, address, count));
        assert_eq!(finding.severity, severity, "{address} {count}");
    }
}

#[test]
fn each_process_may_try_it() {
    let started_often = |op, address| MissingAddressRow {
        processes: 10,
        ..row(op, address, 20)
    };
    let bind = started_often(PortOp::Bind, "[::1]:5432");
    assert_eq!(found(bind).severity, Severity::Notice);
    // Nothing shows that these go on by IPv4.
    let connect = || started_often(PortOp::Connect, "[::1]:9092");
    assert_eq!(found(connect()).severity, Severity::Warning);
    let mut facts = samples::healthy();
    let closed_by_server = samples::pair(Side::Server, "9092", 20, 0);
    facts.pairs.push(closed_by_server);
    let finding = found_with(facts, vec![connect()]).remove(0);
    assert_eq!(finding.severity, Severity::Notice);
}

#[test]
fn a_program_that_goes_on_by_ipv4_does_not_fail() {
    let connects = || vec![row(PortOp::Connect, "[::1]:9092", 12)];
    let mut facts = samples::healthy();
    facts
        .pairs
        .push(samples::pair(Side::Client, "127.0.0.1:9092", 12, 0));
    let finding = found_with(facts, connects()).remove(0);
    assert_eq!(finding.severity, Severity::Notice);
    assert!(finding.evidence[2].contains("12 connections"));
    // Those to another port are others.
    let mut facts = samples::healthy();
    facts
        .pairs
        .push(samples::pair(Side::Client, "127.0.0.1:9093", 12, 0));
    let finding = found_with(facts, connects()).remove(0);
    assert_eq!(finding.severity, Severity::Warning);
}

#[test]
fn findings_are_bounded_for_each_namespace() {
    let rows = (0..14).map(|number| row(PortOp::Bind, &format!("10.9.9.{number}:80"), 1));
    let findings = found_with(samples::healthy(), rows.collect());
    assert_eq!(findings.len(), 10);
    assert!(
        findings[9].evidence[2].starts_with("4 more of this namespace"),
        "{:?}",
        findings[9].evidence
    );
}
