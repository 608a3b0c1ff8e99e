//! Processes of a service that end one after the other, with connections open.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::{Finding, Severity};
use super::at_once::ended_then;
use super::group::{Group, processes, title};
use super::share::Share;
use super::{Explained, Explanation, SOME};
use crate::model::pairs::PairRow;

const REASONS: [ResetReason; 2] = [ResetReason::UnreadData, ResetReason::DataAfterClose];

/// RSTs of a process over unread or late data, if it has ended: all of them were sent then.
fn of_ended(facts: &DoctorFacts, row: &PairRow) -> u64 {
    let patterns = REASONS
        .into_iter()
        .filter_map(|reason| row.counts.patterns.of(ResetDirection::Sent, reason));
    let mut count = 0;
    for pattern in patterns {
        let (first_ns, last_ns) = pattern.at.range_ns();
        if !ended_then(facts, row, first_ns, last_ns) {
            return 0;
        }
        count += pattern.count;
    }
    count
}

/// Finds it for one service, if most of its RSTs over unread or late data were sent by processes that ended.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    let rows = group.rows.iter();
    let ended: Vec<(&PairRow, u64)> = rows
        .map(|row| (*row, of_ended(facts, row)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let count: u64 = ended.iter().map(|(_, count)| count).sum();
    let all: u64 = REASONS.into_iter().map(|reason| group.sent(reason)).sum();
    if group.side != Side::Server || count < SOME || count * 2 <= all {
        return None;
    }
    let share = Share::of(facts, group, count);
    let severity = share.severity()?.min(Severity::Warning);
    let who = processes(
        ended
            .iter()
            .map(|(row, count)| (row.process.as_deref(), *count)),
    );
    let name = title(&who);
    let place = group.destination;
    let mut explains = Explained::default();
    for (row, _) in &ended {
        for reason in REASONS {
            let sent = row.counts.deaths.reset_sent.of(reason);
            explains.add(
                ResetDirection::Sent,
                reason,
                super::name(row.answerable()),
                sent,
            );
        }
    }
    let mut evidence = vec![
        format!(
            "{} of {place} in namespace {} were reset by processes that no longer run, as they ended: {}",
            share.words(),
            facts.name(group.netns),
            advice::list(&who)
        ),
        "a request that had come, or came then, was not read, and its client sees \"connection reset by peer\"".to_owned(),
    ];
    evidence.extend(group.clients_here(&REASONS));
    Some(Explanation {
        finding: Finding {
            id: "process_ended",
            severity,
            title: format!(
                "processes of {name} on {place} end with connections open: {} are reset",
                share.short()
            ),
            evidence,
            figures: json!({
                "netns": group.netns, "local": place.local(), "share": share.figures(), "connections": count,
                "within_ns": null, "resets_by": advice::figures(&who),
            }),
            to_do: vec![
                "read its log for why they end: a limit of requests for each process (gunicorn: max_requests; php-fpm: \
                 pm.max_requests), a timeout, a crash or the OOM killer (dmesg)"
                    .to_owned(),
                "raise that limit, or have connections end with the last answer (no keep-alive to clients, or a proxy before it \
                 that tries again)"
                    .to_owned(),
            ],
            settings: Vec::new(),
            do_not: vec![
                "keep-alive timeouts or lingering_close: no timeout and no unread body has caused this".to_owned(),
            ],
        },
        explains,
    })
}
