//! Connects that are refused: nobody listens there.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side, Unattributed};

use super::super::advice;
use super::super::by_ipv4;
use super::super::facts::DoctorFacts;
use super::super::finding::{Finding, Severity};
use super::group::{Group, title};
use super::share::Share;
use super::{Explained, Explanation};
use crate::event::Timestamp;
use crate::event::quantity::duration;
use crate::model::destination::Destination;
use crate::model::resets::ResetPattern;

/// Health checks try again at this rate or below, per second and destination.
const CHECKS_PER_S: f64 = 1.0;

/// Finds it for the clients of one destination.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    if group.side != Side::Client {
        return None;
    }
    let refused = group.received(ResetReason::Refused);
    let share = Share::of(facts, group, refused);
    let by_share = share.severity()?;
    let per_s = refused as f64 / facts.seconds();
    let is_slow = per_s <= CHECKS_PER_S;
    let again = answers_again(facts, group);
    let who = group.who(|counts| counts.deaths.reset_received.of(ResetReason::Refused));
    let name = title(&who);
    let place = group.destination;
    let pattern = group.pattern(ResetDirection::Received, ResetReason::Refused);
    let by_kernel = pattern.map_or(0, by_kernel);
    let is_interrupted = group.counts.outage.is_some_and(|it| it.is_interrupted());
    let is_here =
        pattern.is_some_and(|pattern| pattern.same_host == pattern.count) || by_kernel > 0;
    let mut evidence = vec![format!(
        "{refused} connects to {place} from namespace {} were refused (ECONNREFUSED), {}: {}",
        facts.name(group.netns),
        advice::rate(per_s),
        advice::list(&who)
    )];
    evidence.push(match (by_kernel, is_here) {
        (1.., _) => format!("nobody listens on that port of this host: its kernel sent {by_kernel} of these RSTs"),
        (0, true) => "the address is one of this host: nobody listens there, or a firewall rule answers with a RST".to_owned(),
        (0, false) => "the address is not one of this namespace: nobody listens there, or a firewall answers with a RST".to_owned(),
    });
    if let Some((first, last)) = pattern.and_then(|pattern| pattern.seen) {
        let apart = duration(last.mono_ns.saturating_sub(first.mono_ns));
        evidence.push(match (again, group.counts.time_wait) {
            (true, _) => format!(
                "it was down from {} to {} or longer (UTC), and answers again",
                time(first.ts),
                time(last.ts)
            ),
            (false, 0) => format!(
                "the first and the last are {apart} apart; no other connection to it was seen to end"
            ),
            (false, others) => format!(
                "the first and the last are {apart} apart; {others} other connections to it ended in order"
            ),
        });
    }
    if is_interrupted {
        evidence.push(
            "connections were established between two of them: only some are refused, by one of several servers behind that \
             address, by a limit in a firewall, or as the service starts and ends again and again"
                .to_owned(),
        );
    }
    let by_ipv4 = by_ipv4(facts, group);
    let goes_on = by_ipv4 * 2 >= refused;
    if goes_on {
        evidence.push(format!(
            "by IPv4 the same port is reached: {by_ipv4} connections have ended. localhost is ::1 first, and most programs then try \
             127.0.0.1"
        ));
    }
    if is_slow {
        evidence.push(
            "at this rate it may be a health check or a client that waits for the service"
                .to_owned(),
        );
    }
    let mut explains = Explained::default();
    explains.add_group(group, ResetDirection::Received, ResetReason::Refused);
    if by_kernel > 0 {
        let kernel = format!(
            "({})",
            crate::event::words::Word::word(Unattributed::NoSocket)
        );
        explains.add(
            ResetDirection::Sent,
            ResetReason::NoSocket,
            kernel,
            by_kernel,
        );
    }
    let show = match group.destination {
        Destination::Remote(remote) => {
            format!("ss -ltnp 'sport = :{}'", remote.port())
        }
        _ => "ss -ltnp".to_owned(),
    };
    let start = "start the service, or let it listen on that address; if it has moved, change the clients' configuration";
    let look = format!(
        "see whether something listens: {}",
        facts.command(group.netns, &show)
    );
    let mut to_do = match (by_kernel, is_here) {
        _ if goes_on => vec![
            "nothing, or give the clients 127.0.0.1 instead of localhost, or let the service listen on ::1 too".to_owned(),
        ],
        _ if again => vec![
            "nothing, if it was restarted on purpose; else see in its log why it was down".to_owned(),
            "for restarts without refused connects: let the next instance take over the listener (systemd socket units, reloads \
             of nginx and haproxy), or take it out of the load balancer first"
                .to_owned(),
        ],
        (1.., _) => vec![start.to_owned(), look],
        (0, true) => vec![
            look,
            format!(
                "if it does, look for a firewall rule that rejects: {}",
                facts.command(group.netns, "nft list ruleset")
            ),
            format!("else: {start}"),
        ],
        (0, false) if group.counts.time_wait > 0 => vec![
            "look for a firewall rule that rejects, on the way or there: other connections to it were taken".to_owned(),
            format!("if it runs no longer: {start}"),
        ],
        (0, false) => vec![
            start.to_owned(),
            "if it runs there, look for a firewall rule that rejects, on the way or there"
                .to_owned(),
        ],
    };
    if is_interrupted {
        let some = "find out which of the servers behind that address refuses, or whether the service starts again and again";
        to_do.insert(0, some.to_owned());
    }
    Some(Explanation {
        finding: Finding {
            id: "connection_refused",
            severity: match (is_slow || goes_on, again) {
                (true, _) => Severity::Notice,
                (false, true) => by_share.min(Severity::Warning),
                (false, false) => by_share,
            },
            title: if again {
                format!("{place} was down and answers again: {name} was refused {refused} times")
            } else if is_interrupted {
                format!("{place} refuses some connections: {name} was refused {refused} times")
            } else if by_kernel > 0 {
                format!("nobody listened on {place}: {name} was refused {refused} times")
            } else {
                format!("{name} was refused {refused} times by {place}: no listener, or a firewall")
            },
            evidence,
            figures: json!({
                "netns": group.netns, "remote": place.remote(), "refused": refused,
                "per_s": (per_s * 1e3).round() / 1e3, "on_this_host": is_here, "answers_again": again, "share": share.figures(),
                "refused_by_kernel": by_kernel, "clients_by": advice::figures(&who),
            }),
            to_do,
            settings: Vec::new(),
            do_not: vec![
                "settings of local ports or TIME_WAIT: the connects got a port, and were answered"
                    .to_owned(),
            ],
        },
        explains,
    })
}

/// Whether connections are taken again, and none was between two refusals: they were seen; or the refusals are those of this
/// host's kernel, and a new listener has the address.
fn answers_again(facts: &DoctorFacts, group: &Group<'_>) -> bool {
    let pattern = group.pattern(ResetDirection::Received, ResetReason::Refused);
    let (Some(pattern), Some(outage)) = (pattern, group.counts.outage) else {
        return false;
    };
    let (Some((_, last)), Destination::Remote(remote)) = (pattern.seen, group.destination) else {
        return false;
    };
    let is_of_kernel = by_kernel(pattern) == pattern.count;
    let is_local = is_of_kernel && pattern.same_host == pattern.count;
    let listens = is_local && facts.listens_since(group.netns, remote, last.mono_ns);
    !outage.is_interrupted() && (outage.is_over() || listens)
}

/// Connections by IPv4 of the clients that were refused at `::1`.
fn by_ipv4(facts: &DoctorFacts, group: &Group<'_>) -> u64 {
    let Destination::Remote(remote) = group.destination else {
        return 0;
    };
    // A process for each connection has one of each: the command counts.
    let rows = group.rows.iter().filter_map(|row| row.process.as_ref());
    let mut commands = Vec::new();
    for process in rows {
        if !commands.contains(&process.comm) {
            commands.push(process.comm);
        }
    }
    match remote.ip().is_loopback() {
        true => by_ipv4::connections(facts, group.netns, &commands, remote),
        false => 0,
    }
}

/// Refusals that this host's kernel sent.
fn by_kernel(pattern: &ResetPattern) -> u64 {
    let ends = pattern.other_ends.iter();
    ends.filter(|end| end.unattributed == Some(Unattributed::NoSocket))
        .map(|end| end.count)
        .sum()
}

/// Time of day, such as `14:03:07`.
fn time(at: Timestamp) -> String {
    let mut text = at.time_of_day_us();
    text.truncate("14:03:07".len());
    text
}
