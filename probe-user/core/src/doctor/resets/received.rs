//! RSTs received whose sender was not seen on this host.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::Finding;
use super::both::{common, similar};
use super::group::{Group, title};
use super::share::Share;
use super::{Explained, Explanation, SOME};
use crate::event::timestamp::SECOND_NS;
use crate::hooks::{ResetsSeen, resets_seen};

/// What sent them, as far as known.
enum Cause {
    /// Something that gives connections up after a certain time.
    Timeout,
    /// Something that is neither end.
    Between,
    /// The client gave up waiting.
    Left,
    /// The peer, or something between.
    Peer,
}

/// Finds it for the clients of one destination, or for one service.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    let pattern = group.pattern(ResetDirection::Received, ResetReason::Peer)?;
    let failed = pattern.count.saturating_sub(pattern.settled());
    // After the peer's FIN it is the keep-alive race, if the connection was idle.
    if failed < SOME {
        return None;
    }
    let is_race = group.side == Side::Client && super::keepalive::find(facts, group).is_some();
    if is_race {
        return None;
    }
    let share = Share::of(facts, group, failed);
    let severity = share.severity()?;
    let who = group.who(|counts| counts.deaths.reset_received.of(ResetReason::Peer));
    let name = title(&who);
    let place = group.destination;
    let is_long = |it: &crate::model::resets::spread::Similar| it.min_ns >= SECOND_NS;
    // At one moment, connections that were opened together are of the same age, whatever ends them.
    let is_again = pattern.at.is_again();
    let idle = common(&pattern.quiet).filter(|it| is_again && is_long(it));
    let age = common(&pattern.age).filter(|it| is_again && is_long(it));
    let sees_senders = resets_seen(&facts.report.tiers) == ResetsSeen::All
        && facts.sees_all
        && !facts.report.has_inexact_pairs();
    let is_between =
        pattern.same_host == pattern.count && sees_senders && !group.has_unmatched_senders;
    // The client closed first, and the answer met nothing any more.
    let has_left = group.side == Side::Server && pattern.after_fin * 2 > failed;
    let is_lost = pattern.from_no_socket * 2 > failed;
    let towards = match group.side {
        Side::Server => "of",
        _ => "to",
    };
    let mut evidence = vec![format!(
        "{} {towards} {place} in namespace {} received a RST: {}",
        share.words(),
        facts.name(group.netns),
        advice::list(&who)
    )];
    let mut to_do = Vec::new();
    let what = match (idle, age) {
        _ if is_lost => None,
        (Some(idle), _) => Some(("idle", idle)),
        (None, Some(age)) => Some(("old", age)),
        (None, None) => None,
    };
    if is_lost {
        evidence.push(format!(
            "{} of these RSTs were sent by the kernel of a namespace here, on established connections: no socket there has their \
             addresses",
            pattern.from_no_socket
        ));
    } else if is_between {
        evidence.push(
            "both ends are in this namespace, and no socket here sent these RSTs: something between them did, such as a \
             firewall rule (REJECT with tcp-reset) or a program that writes packets"
                .to_owned(),
        );
        to_do.push(format!(
            "look for rules that reject: {}",
            facts.command(group.netns, "nft list ruleset")
        ));
    } else if pattern.same_host < pattern.count {
        evidence.push("no process of this host was seen sending them: the peer sent them, or a firewall, NAT or load balancer between, which may be this host itself".to_owned());
    }
    let (cause, title) = match what {
        None if is_lost => {
            to_do.push(
                "look for NAT or a load balancer on the way that no longer translates them: its table was flushed, is full, or takes \
                 the packets for INVALID (conntrack -S; net.netfilter.nf_conntrack_tcp_be_liberal)"
                    .to_owned(),
            );
            to_do.push(
                "or for a host that was restarted, or an address that has moved to another one"
                    .to_owned(),
            );
            let title = format!(
                "established connections of {name} {towards} {place} meet no socket at the other end: {}",
                share.short()
            );
            (Cause::Peer, title)
        }
        Some((_, waited)) if has_left => {
            let after = similar(waited);
            evidence.push(format!(
                "{} of them had been closed by the client before: {name} sent {after} after the client's last data, and the client \
                 no longer waited",
                pattern.after_fin
            ));
            to_do.push(format!(
                "find out why {name} takes {after} to answer, or raise the timeout of its clients above that"
            ));
            let title = format!(
                "clients of {name} on {place} have left when its answer comes after {after}: {}",
                share.short()
            );
            (Cause::Left, title)
        }
        Some((word, length)) => {
            let length = similar(length);
            evidence.push(format!(
                "the connections were {length} {word}, again and again: that is a timeout"
            ));
            to_do.push(format!(
                "find the timeout of {length} at the peer, or in the firewall, NAT or load balancer between; then let the \
                 idle timeout here be shorter, or send TCP keepalives more often (net.ipv4.tcp_keepalive_time, with \
                 SO_KEEPALIVE)"
            ));
            let title = match group.side {
                Side::Server => format!(
                    "clients of {name} on {place} reset connections that are {length} {word}"
                ),
                _ => format!(
                    "connections of {name} to {place} are reset when they are {length} {word}"
                ),
            };
            (Cause::Timeout, title)
        }
        None if is_between => (
            Cause::Between,
            format!(
                "something between {name} and {place} resets connections: {}",
                share.short()
            ),
        ),
        // A client that goes away is no fault of a server.
        None if group.side == Side::Client => {
            to_do.push(
                "read the log of the peer's program: it aborts, exits with connections open, or closes with data unread"
                    .to_owned(),
            );
            (
                Cause::Peer,
                format!("{place} resets connections of {name}: {}", share.short()),
            )
        }
        None => return None,
    };
    to_do.push("see them one by one, with ages and bytes: twtrace trace --event reset".to_owned());
    let mut explains = Explained::default();
    explains.add_group(group, ResetDirection::Received, ResetReason::Peer);
    Some(Explanation {
        finding: Finding {
            id: match cause {
                Cause::Timeout => "reset_by_timeout",
                Cause::Between => "reset_in_between",
                Cause::Left => "client_gives_up",
                Cause::Peer => "reset_by_peer",
            },
            severity,
            title,
            evidence,
            figures: json!({
                "netns": group.netns, "local": place.local(), "remote": place.remote(), "share": share.figures(),
                "idle_ns": idle.map(|it| it.max_ns), "age_ns": age.map(|it| it.max_ns),
                "after_fin": pattern.after_fin, "resets_by": advice::figures(&who),
            }),
            to_do,
            settings: Vec::new(),
            do_not: vec![
                "dropping RSTs in the firewall: the cause stays, and connections hang until they time out".to_owned(),
            ],
        },
        explains,
    })
}
