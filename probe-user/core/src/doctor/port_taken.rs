//! One fixed port that is wanted and taken: who wants it, who has it, and the remedy of that case.

use serde_json::{Value, json};
use twtrace_wire::{PortOp, Side};

use super::advice::{self, NAMED};
use super::bounded;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use super::port_obstacle::{Obstacle, may_be_chosen, obstacle};
use super::port_remedy::{do_not, settings, to_do};
use crate::event::Process;
use crate::event::quantity::duration;
use crate::event::words::Word;
use crate::model::fixed_port_row::{FixedPortHolder, FixedPortRow};
use crate::model::pairs;
use crate::model::port_holders::HolderKind;

/// One finding for each namespace, port and command that wants it.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    bounded::of_latest(
        facts,
        &facts.report.fixed_ports,
        |row| (row.netns, row.netns_nth),
        |row| finding(facts, row),
        "fixed ports of this namespace were wanted and taken: see fixed_ports of twtrace report --json",
    )
}

fn finding(facts: &DoctorFacts, row: &FixedPortRow) -> Finding {
    let who = advice::callers(row.process.as_ref(), row.processes);
    let is_connect = row.calls.iter().all(|call| call.op == PortOp::Connect);
    let mut obstacles: Vec<(Obstacle, &FixedPortHolder)> = row
        .holders
        .iter()
        .map(|holder| (obstacle(facts, row, is_connect, holder), holder))
        .collect();
    // A server's own connections have its port too: they are not what is in the way.
    if obstacles.iter().any(|(it, _)| *it <= Obstacle::Own) {
        obstacles.retain(|(it, _)| *it <= Obstacle::Own);
    }
    obstacles.sort_by_key(|(it, _)| *it);
    let mut kinds: Vec<Obstacle> = obstacles.iter().map(|(it, _)| *it).collect();
    kinds.dedup();
    let got_it = kinds == [Obstacle::Own] && !row.failed_after_check;
    let mut evidence = vec![wanted(facts, row, &who)];
    evidence.extend(
        obstacles
            .iter()
            .take(NAMED)
            .map(|(it, holder)| had(row, *it, holder)),
    );
    evidence.extend(not_known(row, obstacles.is_empty()));
    if kinds.contains(&Obstacle::Outgoing) || kinds.contains(&Obstacle::UnknownSide) {
        evidence.extend(in_range(facts, row));
    }
    Finding {
        id: "port_taken",
        severity: if got_it {
            Severity::Warning
        } else {
            Severity::Critical
        },
        title: if is_connect {
            format!("{who} can't connect from port {}: it is taken", row.port)
        } else {
            format!("{who} can't have port {}: it is taken", row.port)
        },
        evidence,
        figures: figures(row, &obstacles),
        to_do: to_do(facts, row, &kinds, &obstacles),
        settings: settings(facts, row, &kinds, &obstacles),
        do_not: do_not(is_connect, &obstacles),
    }
}

/// Such as `new-server(7) wanted 0.0.0.0:7777 in namespace 1: 4 bind() failed with EADDRINUSE within 900ms`.
fn wanted(facts: &DoctorFacts, row: &FixedPortRow, who: &str) -> String {
    let calls: Vec<String> = row
        .calls
        .iter()
        .map(|call| {
            format!(
                "{} {}() failed with {}",
                call.count,
                call.op.word(),
                call.errno
            )
        })
        .collect();
    let addresses: Vec<String> = row
        .addresses
        .iter()
        .take(NAMED)
        .map(|address| std::net::SocketAddr::new(*address, row.port).to_string())
        .collect();
    let of = if addresses.is_empty() {
        format!("port {}", row.port)
    } else {
        addresses.join(", ")
    };
    let lasted = advice::lasted(row.lasted_ns);
    format!(
        "{who} wanted {of} in namespace {}: {}{lasted}",
        facts.name(row.netns),
        calls.join(", ")
    )
}

fn in_range(facts: &DoctorFacts, row: &FixedPortRow) -> Option<String> {
    let range = facts.state(row.netns)?.ports.range;
    may_be_chosen(facts, row).then(|| {
        format!(
            "{} is in net.ipv4.ip_local_port_range ({range}), so connect() of any program may choose it",
            row.port
        )
    })
}

/// Who had it, in a sentence.
fn had(row: &FixedPortRow, obstacle: Obstacle, holder: &FixedPortHolder) -> String {
    let name = match (&holder.process, holder.unattributed) {
        (Some(process), _) => pairs::name(process),
        (None, Some(why)) => format!("an unknown process ({})", why.why()),
        (None, None) => "an unknown process".to_owned(),
    };
    let shared = match holder.shared_by {
        0 => String::new(),
        1 => " (another process has it open too)".to_owned(),
        more => format!(" ({more} other processes have it open too)"),
    };
    let towards = holder
        .remote
        .map_or_else(String::new, |remote| format!(" with {remote}"));
    let local = holder.local;
    match holder.kind {
        HolderKind::Listener if obstacle == Obstacle::Own => {
            let is_same = |wanted: &Process| {
                let holder = holder.process.as_ref();
                holder.is_some_and(|holder| holder.key.tgid == wanted.key.tgid)
            };
            if row.process.as_ref().is_some_and(is_same) {
                format!("{name} itself listens on {local} now{shared}")
            } else {
                format!("{name} listens on {local} now{shared}")
            }
        }
        HolderKind::Listener => format!("{name} listens on {local}{shared}"),
        HolderKind::Bound => format!(
            "{name} has a socket bound to {local} that neither listens nor is connected{shared}"
        ),
        HolderKind::Connection if holder.is_self_connected => format!(
            "{name} has a connection of {local} to itself{shared}: connect() to a port without a listener chose this \
             very port as its own"
        ),
        HolderKind::Connection => match holder.count {
            1 => format!("{name} has a connection from {local}{towards}{shared}"),
            more => format!("{name} has {more} connections from {local}, such as{towards}{shared}"),
        },
        HolderKind::TimeWait => time_waits(row, holder, &name, &towards),
    }
}

fn time_waits(row: &FixedPortRow, holder: &FixedPortHolder, name: &str, towards: &str) -> String {
    let (count, s) = (holder.count, if holder.count == 1 { "" } else { "s" });
    let of_side = match holder.side {
        Side::Client => " as client",
        Side::Server => " as server",
        Side::Unknown => "",
    };
    let towards = if count == 1 { towards } else { "" };
    let left = holder.left_ns.map_or_else(String::new, |left_ns| {
        format!(
            "; the last ends {} after {}",
            duration(left_ns),
            checked(row)
        )
    });
    format!(
        "{name} left {count} TIME_WAIT socket{s} on {}{towards}{of_side}{left}",
        holder.local
    )
}

fn checked(row: &FixedPortRow) -> String {
    match row.checked_ns {
        Some(ns @ 0..) => format!(
            "the check ({} after the first failure)",
            duration(ns.unsigned_abs())
        ),
        Some(ns) => format!(
            "the check ({} before the first failure)",
            duration(ns.unsigned_abs())
        ),
        None => "the check".to_owned(),
    }
}

/// Why it is not known who had it.
fn not_known(row: &FixedPortRow, is_empty: bool) -> Option<String> {
    match (&row.why, row.checked_ns) {
        (Some(why), _) => Some(format!("who had it is not known: {why}")),
        (None, None) => Some(
            "who had it is not known: the sockets of this port were not listed, or not recorded"
                .to_owned(),
        ),
        (None, Some(_)) if is_empty => Some(format!(
            "who had it is not known: no socket in the way was found by {}; it was closed by then, or only bound, which \
             kernels before 6.8 do not list",
            checked(row)
        )),
        _ => None,
    }
}

fn figures(row: &FixedPortRow, obstacles: &[(Obstacle, &FixedPortHolder)]) -> Value {
    let held_by: Vec<Value> = obstacles
        .iter()
        .map(|(it, holder)| {
            json!({
                "what": it.word(),
                "kind": holder.kind.word(),
                "process": holder.process.as_ref().map(pairs::name),
                "unattributed": holder.unattributed.map(|why| why.word()),
                "count": holder.count,
                "left_ns": holder.left_ns,
            })
        })
        .collect();
    json!({
        "netns": row.netns,
        "port": row.port,
        "process": row.process.as_ref().map(pairs::name),
        "processes": row.processes,
        "calls": row.calls,
        "held_by": held_by,
        "why": row.why,
    })
}

#[cfg(test)]
#[path = "port_taken_tests.rs"]
mod tests;
