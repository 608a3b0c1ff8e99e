//! bind() and connect() that fail with EADDRNOTAVAIL since the host lacks an address, and not for want of a port.

use std::net::IpAddr;

use serde_json::json;
use twtrace_wire::PortOp;

use super::advice;
use super::bounded;
use super::by_ipv4;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use crate::event::words::Word;
use crate::model::missing_addresses::MissingAddressRow;
use crate::model::pairs;

/// Programs that go on with another address try the missing one less often.
const REPEATED: u64 = 3;

/// One finding for each namespace, call, address and command.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    bounded::of_latest(
        facts,
        &facts.report.missing_addresses,
        |row| (row.netns, row.netns_nth),
        |row| finding(facts, row),
        "of this namespace: see missing_addresses of twtrace report --json",
    )
}

fn finding(facts: &DoctorFacts, row: &MissingAddressRow) -> Finding {
    let who = advice::callers(row.process.as_ref(), row.processes);
    let by_ipv4 = connections_by_ipv4(facts, row);
    let lasted = advice::lasted(row.lasted_ns);
    let mut evidence = vec![
        format!(
            "{who}: {} {}() of {} in namespace {} failed with EADDRNOTAVAIL{lasted}",
            row.count,
            row.op.word(),
            row.address,
            facts.name(row.netns)
        ),
        "the kernel looked for no port: no pool of ports is exhausted by it".to_owned(),
    ];
    if is_probe(row) {
        evidence.push(
            "some runtimes (Go, for one) try such a bind() when they start, to see whether IPv6 works"
                .to_owned(),
        );
    }
    if by_ipv4 > 0 {
        evidence.push(format!(
            "by IPv4 it reaches port {}: {by_ipv4} connections have ended",
            row.address.port()
        ));
    }
    Finding {
        id: "no_address",
        severity: severity(row, by_ipv4),
        title: match row.op {
            PortOp::Connect => format!(
                "{who} can't connect to {}: it has no address to connect from",
                row.address
            ),
            PortOp::Bind | PortOp::Listen => format!(
                "{who} can't bind {}: it is no address of this host",
                row.address.ip()
            ),
        },
        evidence,
        figures: json!({
            "netns": row.netns,
            "process": row.process.as_ref().map(pairs::name),
            "processes": row.processes,
            "op": row.op.word(),
            "address": row.address,
            "count": row.count,
            "by_ipv4": by_ipv4,
        }),
        to_do: to_do(facts, row),
        settings: Vec::new(),
        do_not: vec![
            "widen net.ipv4.ip_local_port_range or set net.ipv4.tcp_tw_reuse for it: the same error has another cause here"
                .to_owned(),
        ],
    }
}

fn is_ipv6_loopback(row: &MissingAddressRow) -> bool {
    matches!(row.address.ip(), IpAddr::V6(address) if address.is_loopback())
}

/// Whether it may be a test of the host: bind() to any port of `::1`.
fn is_probe(row: &MissingAddressRow) -> bool {
    row.op == PortOp::Bind && is_ipv6_loopback(row) && row.address.port() == 0
}

/// Where IPv6 is switched off, `::1` is missing, and most programs go on with 127.0.0.1: it is not a failure if one tries
/// it a few times.
fn severity(row: &MissingAddressRow, by_ipv4: u64) -> Severity {
    let is_repeated = row.count >= REPEATED.saturating_mul(row.processes.max(1));
    match row.op {
        // A process for each request tries it once.
        PortOp::Connect if by_ipv4 > 0 || row.count < REPEATED => Severity::Notice,
        PortOp::Connect => Severity::Warning,
        _ if is_probe(row) => Severity::Notice,
        _ if is_ipv6_loopback(row) => match is_repeated {
            true => Severity::Warning,
            false => Severity::Notice,
        },
        _ if row.address.port() != 0 || is_repeated => Severity::Critical,
        _ => Severity::Warning,
    }
}

/// Connections of the same command to the same port by IPv4 that have ended.
fn connections_by_ipv4(facts: &DoctorFacts, row: &MissingAddressRow) -> u64 {
    match &row.process {
        Some(process) if row.op == PortOp::Connect => {
            by_ipv4::connections(facts, row.netns, &[process.comm], row.address)
        }
        _ => 0,
    }
}

fn to_do(facts: &DoctorFacts, row: &MissingAddressRow) -> Vec<String> {
    let command = |command: &str| facts.command(row.netns, command);
    match (row.op, is_ipv6_loopback(row)) {
        (PortOp::Connect, false) => vec![format!(
            "see which addresses it has: {}; add one of the same kind, or have the program use IPv4",
            command("ip -brief address")
        )],
        (_, true) => vec![
            "give the program 127.0.0.1 instead of ::1 or localhost".to_owned(),
            format!(
                "or, if IPv6 is switched off, switch it on for the loopback: {}",
                command("sysctl -w net.ipv6.conf.lo.disable_ipv6=0")
            ),
        ],
        (_, false) => vec![
            format!(
                "see which addresses it has: {}; correct the one that the program is configured with, or add it",
                command("ip -brief address")
            ),
            format!(
                "if the address moves between hosts (a virtual IP): {}",
                command(match row.address.ip() {
                    IpAddr::V4(_) => "sysctl -w net.ipv4.ip_nonlocal_bind=1",
                    IpAddr::V6(_) => "sysctl -w net.ipv6.ip_nonlocal_bind=1",
                })
            ),
        ],
    }
}

#[cfg(test)]
#[path = "no_address_tests.rs"]
mod tests;
