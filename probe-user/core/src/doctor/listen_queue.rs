//! Listeners whose queue overflows.

use serde_json::json;
use twtrace_wire::{ResetReason, Side};

use super::advice;
use super::facts::{DoctorFacts, NamespaceFacts};
use super::finding::{Finding, Severity};
use super::setting::{SettingChange, SettingName};
use crate::model::destination::Destination;
use crate::model::listener::{ListenerSample, OverflownListener};
use crate::model::pairs::{self, PairCounts};

/// From this part of all connections on clients notice it.
const MUCH: f64 = 0.01;
/// From this part on most find it full.
const MOST: f64 = 0.5;
/// Fewer are too few for most.
const MANY: u64 = 20;

/// One finding for each namespace.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let namespaces = facts.namespaces.iter();
    namespaces
        .filter_map(|(netns, it)| finding(facts, *netns, it))
        .collect()
}

fn growth(before: Option<u64>, now: Option<u64>) -> u64 {
    now.zip(before)
        .map_or(0, |(now, before)| now.saturating_sub(before))
}

fn finding(facts: &DoctorFacts, netns: u32, it: &NamespaceFacts) -> Option<Finding> {
    // Without a first sample the increase is not known.
    let before = it.before.as_ref()?;
    let overflows = growth(before.listen_overflows, it.now.listen_overflows);
    let drops = growth(before.listen_drops, it.now.listen_drops);
    // Older recordings do not have it.
    let accepted = it.now.passive_opens.zip(before.passive_opens);
    let accepted = accepted.map(|(now, before)| now.saturating_sub(before));
    if overflows == 0 {
        return None;
    }
    let aborts = it.now.abort_on_overflow;
    let listeners: Vec<&OverflownListener> = facts
        .overflown
        .iter()
        .filter(|listener| listener.now.netns == netns)
        .collect();
    let effect = match aborts {
        Some(true) => {
            "net.ipv4.tcp_abort_on_overflow is 1: a client whose handshake was complete gets a RST"
        }
        _ => "their clients try again after a second or more, or time out",
    };
    let taken = accepted.map_or(String::new(), |accepted| format!(", {accepted} were taken"));
    let mut evidence = vec![format!(
        "{overflows} connections found the queue of a listener full (ListenOverflows), {drops} were dropped in all \
         (ListenDrops){taken}: {effect}"
    )];
    evidence.extend(
        listeners
            .iter()
            .take(advice::NAMED)
            .map(|listener| of_listener(facts, listener)),
    );
    let resetting = resetting(facts, netns);
    if listeners.is_empty() {
        evidence.extend(candidates(facts, netns));
    }
    if !resetting.is_empty() {
        evidence.push(format!(
            "RSTs sent by listeners: {}",
            advice::list(&resetting)
        ));
    }
    let whose = match listeners.first() {
        Some(first) => format!("{} on {}", holders(facts, first), first.now.local),
        None => match resetting.first() {
            Some((name, _)) => name.clone(),
            None => format!("a listener of namespace {}", facts.name(netns)),
        },
    };
    let share =
        accepted.map(|accepted| overflows as f64 / overflows.saturating_add(accepted) as f64);
    Some(Finding {
        id: "listen_queue_overflow",
        severity: match share {
            Some(MOST..) if overflows >= MANY => Severity::Critical,
            Some(MUCH..) | None => Severity::Warning,
            Some(_) => Severity::Notice,
        },
        title: format!("{whose} does not accept fast enough: its queue is full"),
        evidence,
        figures: json!({
            "netns": netns, "listen_overflows": overflows, "listen_drops": drops, "passive_opens": accepted,
            "abort_on_overflow": aborts,
            "listeners": listeners.iter().map(|listener| json!({
                "local": listener.now.local.to_string(), "dropped": listener.dropped,
                "backlog": listener.now.backlog,
                "processes": listener.now.holders.iter().map(pairs::name).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        }),
        to_do: to_do(facts, netns, &listeners, aborts),
        settings: match aborts {
            Some(true) => vec![default_back(facts, netns)],
            _ => Vec::new(),
        },
        do_not: match aborts {
            Some(true) => vec![
                "TCP settings of the clients: their connects were answered, and then reset".to_owned(),
            ],
            _ => vec![
                "net.ipv4.tcp_abort_on_overflow: clients then get a RST in place of a second chance".to_owned(),
            ],
        },
    })
}

/// Such as `gunicorn(7)`, or `nginx(7) and 3 more`.
fn holders(facts: &DoctorFacts, listener: &OverflownListener) -> String {
    let holders = &listener.now.holders;
    match holders.first() {
        // It has ended since; who acted on that port is known from events.
        None => match acting(facts, &listener.now).first() {
            Some((name, _)) => name.clone(),
            None => pairs::NOBODY.to_owned(),
        },
        Some(first) if holders.len() == 1 => pairs::name(first),
        Some(first) => format!("{} and {} more", pairs::name(first), holders.len() - 1),
    }
}

/// The processes that closed or reset connections of a listener's port.
fn acting(facts: &DoctorFacts, listener: &ListenerSample) -> Vec<(String, u64)> {
    let port = Destination::LocalPort(listener.local.port());
    facts.processes(
        |row| {
            row.netns == listener.netns
                && row.side == Side::Server
                && row.destination == port
                && row.process.is_some()
        },
        PairCounts::events,
    )
}

fn of_listener(facts: &DoctorFacts, listener: &OverflownListener) -> String {
    let now = &listener.now;
    format!(
        "{} on {} dropped {}; its backlog is {} (Send-Q), {} wait in its queue now (Recv-Q)",
        holders(facts, listener),
        now.local,
        listener.dropped,
        now.backlog,
        now.queued
    )
}

/// Which listener it may have been, where none that is still open dropped any.
fn candidates(facts: &DoctorFacts, netns: u32) -> Option<String> {
    let ended = facts.ended_listeners.iter().filter(|it| it.netns == netns);
    let mut ended: Vec<String> = ended
        .map(|it| match acting(facts, it).first() {
            Some((name, _)) => format!("{} ({name})", it.local),
            None => it.local.to_string(),
        })
        .collect();
    ended.sort_unstable();
    ended.dedup();
    let (what, names) = if ended.is_empty() {
        let servers = facts
            .pairs
            .iter()
            .filter(|row| row.netns == netns && row.side == Side::Server && row.process.is_some());
        let mut servers: Vec<String> = servers
            .filter_map(|row| {
                let process = row.process.as_deref()?;
                let port = row.destination.local()?;
                Some(format!("{port} ({})", pairs::name(process)))
            })
            .collect();
        servers.sort_unstable();
        servers.dedup();
        ("servers that were seen", servers)
    } else {
        ("closed by then", ended)
    };
    let first = &names[..names.len().min(advice::NAMED)];
    (!first.is_empty()).then(|| {
        format!(
            "no listener that was open at the end had dropped any; {what}: {}{}",
            first.join(", "),
            advice::more(names.len())
        )
    })
}

/// The processes whose listeners sent RSTs.
fn resetting(facts: &DoctorFacts, netns: u32) -> Vec<(String, u64)> {
    if !facts.aborts_on_overflow(netns) {
        return Vec::new();
    }
    facts.processes(
        |row| row.netns == netns && row.process.is_some(),
        |counts| {
            let patterns = &counts.patterns;
            patterns.of_sent(ResetReason::Other, |pattern| pattern.of_listener)
        },
    )
}

/// tcp_abort_on_overflow as it is by default.
fn default_back(facts: &DoctorFacts, netns: u32) -> SettingChange {
    facts.setting(netns, SettingName::AbortOnOverflow, 0)
}

fn to_do(
    facts: &DoctorFacts,
    netns: u32,
    listeners: &[&OverflownListener],
    aborts: Option<bool>,
) -> Vec<String> {
    let mut to_do = Vec::new();
    if listeners.is_empty() {
        to_do.push(format!(
            "find the listener, whose Recv-Q reaches its Send-Q: {}",
            facts.command(netns, "ss -ltnp")
        ));
    }
    to_do.push(
        "have it accept faster (more workers, no blocking work in its loop); then raise the backlog of its listen(), \
         which net.core.somaxconn bounds (nginx: backlog= of listen; gunicorn: --backlog)"
            .to_owned(),
    );
    if aborts == Some(true) {
        to_do.push(format!(
            "set the default back, so that clients try again: {}",
            facts.set(&default_back(facts, netns))
        ));
    }
    to_do
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::event::samples::process;

    #[test]
    fn growth_is_told_and_old_overflows_are_not() {
        let mut facts = samples::healthy();
        assert!(check(&facts).is_empty());
        facts.state_mut().listen_overflows = Some(8);
        facts.state_mut().listen_drops = Some(11);
        let findings = check(&facts);
        assert_eq!(
            findings[0].figures,
            json!({"netns": 42, "listen_overflows": 3, "listen_drops": 4, "passive_opens": 0,
                   "abort_on_overflow": false, "listeners": []})
        );
        assert!(findings[0].to_do[0].contains("ss -ltnp"));
        assert!(findings[0].do_not[0].contains("tcp_abort_on_overflow"));
        // A few of very many.
        facts.state_mut().passive_opens = Some(10_000);
        assert_eq!(check(&facts)[0].severity, Severity::Notice);
        // Recordings of earlier versions do not say how many were taken.
        facts.state_mut().passive_opens = None;
        facts.state_mut().listen_overflows = Some(1_000);
        let finding = &check(&facts)[0];
        assert_eq!(finding.severity, Severity::Warning);
        assert!(!finding.evidence[0].contains("were taken"));
        for namespace in facts.namespaces.values_mut() {
            namespace.before = None;
        }
        assert!(check(&facts).is_empty());
    }

    #[test]
    fn the_listener_is_named_and_the_setting_is_as_it_is() {
        let mut facts = samples::healthy();
        facts.state_mut().listen_overflows = Some(45);
        facts.state_mut().abort_on_overflow = Some(true);
        facts.overflown = vec![OverflownListener {
            now: ListenerSample {
                netns: samples::NETNS,
                cookie: 1,
                local: "127.0.0.1:8080".parse().unwrap(),
                v6only: None,
                queued: 3,
                backlog: 2,
                drops: Some(40),
                holders: vec![process(9, "slow-app")],
            },
            dropped: 40,
        }];
        let finding = &check(&facts)[0];
        assert_eq!(
            finding.title,
            "slow-app(9) on 127.0.0.1:8080 does not accept fast enough: its queue is full"
        );
        assert!(finding.evidence[0].contains("gets a RST"));
        assert!(finding.evidence[1].contains("its backlog is 2 (Send-Q)"));
        assert!(finding.to_do[1].contains("tcp_abort_on_overflow=0"));
        assert!(!finding.do_not[0].contains("tcp_abort_on_overflow"));
        assert_eq!(finding.severity, Severity::Critical);
        // Its process has ended, and had closed connections of that port.
        let mut ended = facts.overflown[0].now.clone();
        ended.holders.clear();
        facts.overflown[0].now.holders.clear();
        facts.pairs = vec![samples::pair(Side::Server, "8080", 3, 0)];
        assert!(
            check(&facts)[0]
                .title
                .starts_with("nginx(7) on 127.0.0.1:8080")
        );
        // The listener has ended, too, and may have been another one.
        facts.overflown.clear();
        let evidence = |facts: &DoctorFacts| check(facts).remove(0).evidence;
        assert!(evidence(&facts)[1].ends_with("servers that were seen: :8080 (nginx(7))"));
        facts.ended_listeners = vec![ended];
        assert!(evidence(&facts)[1].ends_with("closed by then: 127.0.0.1:8080 (nginx(7))"));
    }
}
