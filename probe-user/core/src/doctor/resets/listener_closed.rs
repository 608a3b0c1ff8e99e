//! A listener that closes while connections wait in its queue.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::Finding;
use super::group::{Group, named_others, title};
use super::share::Share;
use super::{Explained, Explanation};
use crate::event::quantity::duration;

/// Finds it for one service.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    if group.side != Side::Server {
        return None;
    }
    let pattern = group.pattern(ResetDirection::Sent, ResetReason::Aborted)?;
    // A connection that was accepted, and then disconnected, mostly had an answer.
    if pattern.unanswered < pattern.count {
        return None;
    }
    let share = Share::of(facts, group, pattern.count);
    let severity = share.severity()?;
    let who = group.who(|counts| counts.deaths.reset_sent.of(ResetReason::Aborted));
    let name = title(&who);
    let place = group.destination;
    let mut evidence = vec![format!(
        "{} of {place} in namespace {} were reset (aborted) before anything was sent to them: the kernel does that to \
         connections that nobody has accepted when their listener closes",
        share.words(),
        facts.name(group.netns)
    )];
    if let Some((first, last)) = pattern.seen {
        let apart = duration(last.mono_ns.saturating_sub(first.mono_ns));
        evidence.push(format!(
            "the first and the last of these RSTs are {apart} apart"
        ));
    }
    evidence.extend(named_others("clients on this host", &pattern.other_ends));
    let mut explains = Explained::default();
    explains.add_group(group, ResetDirection::Sent, ResetReason::Aborted);
    Some(Explanation {
        finding: Finding {
            id: "listener_closed",
            severity,
            title: format!(
                "{name} closed its listener on {place} while connections waited: {} were reset",
                share.short()
            ),
            evidence,
            figures: json!({
                "netns": group.netns, "local": place.local(), "share": share.figures(),
                "resets_by": advice::figures(&who),
            }),
            to_do: vec![
                "when it stops, have it accept what is in its queue before it closes its listener, or hand the listener \
                 over (systemd socket units, nginx and haproxy reloads)"
                    .to_owned(),
                "take it out of the load balancer first, and let clients try a connect again that failed".to_owned(),
            ],
            settings: Vec::new(),
            do_not: vec![
                "a larger backlog: more connections would wait, and be reset".to_owned(),
            ],
        },
        explains,
    })
}
