//! One fixed port that is wanted and taken: who wants it, who has it, and the remedy of that case.

use serde_json::{Value, json};
use twtrace_wire::{PortOp, Side};

use super::advice::{self, NAMED};
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use crate::event::quantity::duration;
use crate::event::words::Word;
use crate::model::fixed_ports::{FixedPortHolder, FixedPortRow};
use crate::model::pairs;
use crate::model::port_holders::HolderKind;

/// Maximum number of findings in each namespace.
const SHOWN: usize = 10;

/// What is in the way of a call, which decides the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    /// Another socket listens, or is bound.
    Server,
    /// The process that wants it has it, as listener or bound.
    Own,
    /// A connection to itself.
    SelfConnected,
    /// An outgoing connection or its TIME_WAIT, or one that may be.
    Outgoing,
    /// A connection that a server accepted, or its TIME_WAIT.
    Incoming,
    /// The same connection of a connect() from a fixed port, or its TIME_WAIT.
    SameConnection,
}

impl Obstacle {
    const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Own => "own_socket",
            Self::SelfConnected => "connected_to_itself",
            Self::Outgoing => "outgoing",
            Self::Incoming => "incoming",
            Self::SameConnection => "same_connection",
        }
    }
}

/// One finding for each namespace, port and command that wants it.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut counted: Vec<(u32, usize)> = Vec::new();
    for row in &facts.report.fixed_ports {
        if row.netns_nth < facts.report.last_nth(row.netns) {
            continue;
        }
        let place = counted.iter().position(|(netns, _)| *netns == row.netns);
        let place = place.unwrap_or_else(|| {
            counted.push((row.netns, 0));
            counted.len() - 1
        });
        counted[place].1 += 1;
        if counted[place].1 <= SHOWN {
            findings.push(finding(facts, row));
        }
    }
    for (netns, count) in counted {
        let further = count.saturating_sub(SHOWN);
        let last = findings
            .iter_mut()
            .rfind(|finding| finding.figures["netns"] == netns);
        if let (1.., Some(last)) = (further, last) {
            last.evidence.push(format!(
                "{further} more fixed ports of this namespace were wanted and taken: see fixed_ports of twtrace report --json"
            ));
        }
    }
    findings
}

fn finding(facts: &DoctorFacts, row: &FixedPortRow) -> Finding {
    let who = who(row);
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
    let mut evidence = vec![wanted(row, &who)];
    evidence.extend(
        obstacles
            .iter()
            .take(NAMED)
            .map(|(it, holder)| had(row, *it, holder)),
    );
    evidence.extend(not_known(row, obstacles.is_empty()));
    if kinds.contains(&Obstacle::Outgoing) {
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
        do_not: do_not(is_connect, &obstacles),
    }
}

fn who(row: &FixedPortRow) -> String {
    match (&row.process, row.processes) {
        (Some(process), 0..=1) => pairs::name(process),
        (Some(process), more) => format!("{} ({more} times started)", pairs::name(process)),
        (None, _) => pairs::NOBODY.to_owned(),
    }
}

/// Such as `new-server(7) wanted 0.0.0.0:7777 in namespace 1: 4 bind() failed with EADDRINUSE within 900ms`.
fn wanted(row: &FixedPortRow, who: &str) -> String {
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
    let lasted = match row.lasted_ns {
        0 => String::new(),
        lasted_ns => format!(" within {}", duration(lasted_ns)),
    };
    format!(
        "{who} wanted {of} in namespace {}: {}{lasted}",
        row.netns,
        calls.join(", ")
    )
}

fn obstacle(
    facts: &DoctorFacts,
    row: &FixedPortRow,
    is_connect: bool,
    holder: &FixedPortHolder,
) -> Obstacle {
    match holder.kind {
        HolderKind::Listener | HolderKind::Bound if holder.is_own => Obstacle::Own,
        HolderKind::Listener | HolderKind::Bound => Obstacle::Server,
        _ if is_connect => Obstacle::SameConnection,
        _ if holder.is_self_connected => Obstacle::SelfConnected,
        _ => match holder.side {
            Side::Client => Obstacle::Outgoing,
            Side::Server => Obstacle::Incoming,
            // connect() chooses ports of the range; those of other connections are a server's.
            Side::Unknown if may_be_chosen(facts, row) => Obstacle::Outgoing,
            Side::Unknown => Obstacle::Incoming,
        },
    }
}

/// Whether connect() may choose the port by itself, as far as settings show.
fn may_be_chosen(facts: &DoctorFacts, row: &FixedPortRow) -> bool {
    facts.state(row.netns).is_none_or(|state| {
        state.ports.range.contains(row.port) && !state.ports.reserved.contains(row.port)
    })
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
            format!("{name} itself listens on {local} now{shared}")
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
            "who had it is not known: no socket in the way was found by {}; it was gone by then, or only bound, which \
             kernels before 6.8 do not list",
            checked(row)
        )),
        _ => None,
    }
}

fn to_do(
    facts: &DoctorFacts,
    row: &FixedPortRow,
    kinds: &[Obstacle],
    obstacles: &[(Obstacle, &FixedPortHolder)],
) -> Vec<String> {
    let port = row.port;
    let mut to_do: Vec<String> = kinds
        .iter()
        .flat_map(|kind| match kind {
            Obstacle::Server => vec![format!(
                "stop {}{}, or give one of both another port: nothing on this host is exhausted, and no setting helps (to \
                 share a port both have to set SO_REUSEPORT, as the same user)",
                first_name(obstacles, Obstacle::Server),
                if is_of_same_command(row, obstacles) {
                    ", an instance of the same program that still runs"
                } else {
                    ""
                }
            )],
            Obstacle::Own => vec![
                "nothing if it came to listen in the end; else look for a second bind() of the same port in this program: \
                 [::] without IPV6_V6ONLY also takes 0.0.0.0"
                    .to_owned(),
            ],
            Obstacle::SelfConnected => vec![
                reserve(facts, row),
                format!(
                    "end that connection (restart {}), and have the client check that its own address is not the peer's",
                    first_name(obstacles, Obstacle::SelfConnected)
                ),
            ],
            Obstacle::Outgoing => vec![
                reserve(facts, row),
                format!(
                    "until then: wait, or end the connection of {}; SO_REUSEADDR in the server alone does not help, since the \
                     client's socket does not have it",
                    first_name(obstacles, Obstacle::Outgoing)
                ),
            ],
            Obstacle::Incoming => vec![
                format!(
                    "set SO_REUSEADDR before bind() in the server that wants port {port}, in every release of it: the old \
                     instance's sockets must have had it as well, so it helps from the second restart on"
                ),
            ],
            Obstacle::SameConnection => same_connection(facts, row),
        })
        .collect();
    if kinds.is_empty() {
        to_do.push(format!(
            "list its sockets while it fails: {}",
            facts.command(row.netns, &format!("ss -tanp sport = :{port}"))
        ));
        if may_be_chosen(facts, row) {
            to_do.push(reserve(facts, row));
        }
        to_do.push(
            "set SO_REUSEADDR before bind() in servers: without it their own TIME_WAITs keep a new instance out"
                .to_owned(),
        );
    }
    to_do
}

fn is_of_same_command(row: &FixedPortRow, obstacles: &[(Obstacle, &FixedPortHolder)]) -> bool {
    obstacles.iter().any(|(_, holder)| {
        let both = row.process.as_ref().zip(holder.process.as_ref());
        both.is_some_and(|(one, other)| one.comm == other.comm)
    })
}

fn first_name(obstacles: &[(Obstacle, &FixedPortHolder)], of: Obstacle) -> String {
    let mut holders = obstacles.iter().filter(|(it, _)| *it == of);
    let process = holders.find_map(|(_, holder)| holder.process.as_ref());
    process.map_or_else(|| "what has it".to_owned(), pairs::name)
}

/// The list of reserved ports with this one added.
fn reserve(facts: &DoctorFacts, row: &FixedPortRow) -> String {
    let mut list = facts
        .state(row.netns)
        .map_or_else(String::new, |state| state.ports.reserved.to_string());
    if !list.is_empty() {
        list.push(',');
    }
    let command = format!(
        "sysctl -w net.ipv4.ip_local_reserved_ports={list}{}",
        row.port
    );
    format!(
        "keep connect() away from the port of a server (also in /etc/sysctl.d): {}",
        facts.command(row.netns, &command)
    )
}

fn same_connection(facts: &DoctorFacts, row: &FixedPortRow) -> Vec<String> {
    let is_live = row
        .holders
        .iter()
        .any(|holder| holder.kind == HolderKind::Connection);
    let mut to_do = vec![
        "leave the source port to connect() (no bind(), or bind() to port 0 with IP_BIND_ADDRESS_NO_PORT): one port can have \
         only one connection to a destination, and its TIME_WAIT counts"
            .to_owned(),
    ];
    if is_live {
        to_do.push("close the open connection first, or use it again".to_owned());
        return to_do;
    }
    let has_timestamps = facts
        .state(row.netns)
        .is_none_or(|state| state.ports.timestamps);
    to_do.push(if has_timestamps {
        "switch TCP timestamps on at the peer too: with them on both sides connect() takes over a TIME_WAIT of its own port"
            .to_owned()
    } else {
        format!(
            "switch TCP timestamps on, here and at the peer: connect() then takes over a TIME_WAIT of its own port: {}",
            facts.command(row.netns, "sysctl -w net.ipv4.tcp_timestamps=1")
        )
    });
    to_do
}

fn do_not(is_connect: bool, obstacles: &[(Obstacle, &FixedPortHolder)]) -> Vec<String> {
    let mut do_not = Vec::new();
    if is_connect {
        do_not.push(
            "net.ipv4.tcp_tw_reuse for this: it is about ports that connect() chooses".to_owned(),
        );
    } else {
        do_not.push(
            "net.ipv4.tcp_tw_reuse or a wider ip_local_port_range for this: both are about ports that connect() chooses"
                .to_owned(),
        );
    }
    if obstacles
        .iter()
        .any(|(_, holder)| holder.kind == HolderKind::TimeWait)
    {
        do_not.push(advice::NO_FIN_TIMEOUT.to_owned());
        do_not.push(advice::NO_LINGER.to_owned());
    }
    do_not
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
