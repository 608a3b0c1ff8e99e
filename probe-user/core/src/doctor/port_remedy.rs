//! What helps if a port is taken: it depends on who has it.

use super::port_obstacle::{Obstacle, may_be_chosen};
use crate::doctor::advice;
use crate::doctor::facts::DoctorFacts;
use crate::doctor::setting::{SettingChange, SettingName};
use crate::model::budget::ports::PortSet;
use crate::model::fixed_port_row::{FixedPortHolder, FixedPortRow};
use crate::model::namespace::NamespaceState;
use crate::model::pairs;
use crate::model::port_holders::HolderKind;

/// What to do, by what is in the way.
pub fn to_do(
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
            Obstacle::Outgoing if is_of_same_command(row, obstacles) => vec![
                format!(
                    "let connect() choose the port: {} binds its connections to port {} itself, and the last one still has it \
                     (curl: without --local-port; else a source port in its configuration)",
                    first_name(obstacles, Obstacle::Outgoing),
                    row.port
                ),
                "or give it a range of ports, or connect to several addresses".to_owned(),
            ],
            Obstacle::Outgoing => vec![
                reserve(facts, row),
                format!(
                    "until then: wait, or end the connection of {}; SO_REUSEADDR in the server alone does not help, since the \
                     client's socket does not have it",
                    first_name(obstacles, Obstacle::Outgoing)
                ),
            ],
            Obstacle::Incoming => vec![reuse_address(port)],
            Obstacle::UnknownSide => vec![
                format!("if it is an outgoing connection: {}", reserve(facts, row)),
                format!("if a server accepted it: {}", reuse_address(port)),
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

fn reuse_address(port: u16) -> String {
    format!(
        "set SO_REUSEADDR before bind() in the server that wants port {port}, in every release of it: the old instance's \
         sockets must have had it as well, so it helps from the second restart on"
    )
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

/// The list of reserved ports with this one added, as the kernel prints it.
fn reserved(facts: &DoctorFacts, row: &FixedPortRow) -> SettingChange {
    let state = facts.state(row.netns);
    let mut ports = state.map_or_else(PortSet::default, |state| state.ports.reserved.clone());
    ports.insert(row.port);
    facts.setting(row.netns, SettingName::ReservedPorts, ports)
}

fn reserve(facts: &DoctorFacts, row: &FixedPortRow) -> String {
    format!(
        "keep connect() away from the port of a server (also in /etc/sysctl.d): {}",
        facts.set(&reserved(facts, row))
    )
}

/// Settings that help.
pub fn settings(
    facts: &DoctorFacts,
    row: &FixedPortRow,
    kinds: &[Obstacle],
    obstacles: &[(Obstacle, &FixedPortHolder)],
) -> Vec<SettingChange> {
    let is_of_client =
        |kind: &Obstacle| matches!(kind, Obstacle::Outgoing | Obstacle::SelfConnected);
    let is_reserved = |state: &NamespaceState| state.ports.reserved.contains(row.port);
    let is_useless = !may_be_chosen(facts, row) || facts.state(row.netns).is_some_and(is_reserved);
    let binds_itself = kinds.contains(&Obstacle::Outgoing) && is_of_same_command(row, obstacles);
    if kinds.iter().any(is_of_client) && !is_useless && !binds_itself {
        vec![reserved(facts, row)]
    } else {
        Vec::new()
    }
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
            facts.set(&facts.setting(row.netns, SettingName::Timestamps, 1))
        )
    });
    to_do
}

/// What not to do.
pub fn do_not(is_connect: bool, obstacles: &[(Obstacle, &FixedPortHolder)]) -> Vec<String> {
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
