//! Many connections that one process closed at once: it ended, or it stopped to serve.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::{Finding, Severity};
use super::both::rounded;
use super::group::{Group, named_others, title};
use super::keepalive::LIKE_CLOSE_NOTIFY;
use super::share::Share;
use super::{Explained, Explanation, SOME};
use crate::event::quantity::duration;
use crate::event::timestamp::SECOND_NS;
use crate::model::pairs::{PairCounts, PairRow};
use crate::model::resets::closings::ClosedAtOnce;

/// The part of the RSTs of a service that one moment has to explain, in percent.
const MOST_PERCENT: u64 = 80;
/// Processes of one service that stop within this time stop together, nanoseconds.
const TOGETHER_NS: u64 = SECOND_NS;
/// A process that was seen to have exited this soon after it closed its connections closed them by its exit, or just before it,
/// nanoseconds.
const EXITED_NS: u64 = 3 * SECOND_NS;
/// Reasons of RSTs that a closing process sends.
pub const REASONS: [ResetReason; 4] = [
    ResetReason::UnreadData,
    ResetReason::DataAfterClose,
    ResetReason::LingerZero,
    ResetReason::Aborted,
];

/// What happened at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The processes no longer run.
    Exited,
    /// They closed connections of all kinds, which no timeout does.
    Closed,
}

/// A moment that explains nearly all RSTs of a group.
pub struct AtOnce {
    moment: ClosedAtOnce,
    ending: Ending,
}

/// The moment that explains the RSTs of a group, if it is known what happened then.
pub fn of(facts: &DoctorFacts, group: &Group<'_>) -> Option<AtOnce> {
    let moments = || {
        let rows = group.rows.iter();
        rows.map(|row| (*row, row.counts.closings.most()))
            .filter(|(_, (moment, _))| moment.resets > 0)
    };
    let (_, (greatest, _)) = moments().max_by_key(|(_, (moment, _))| moment.resets)?;
    let is_together =
        |moment: &ClosedAtOnce| moment.first_ns.abs_diff(greatest.first_ns) <= TOGETHER_NS;
    let mut sum = ClosedAtOnce::default();
    let mut have_exited = true;
    for (row, (moment, is_last)) in moments().filter(|(_, (moment, _))| is_together(moment)) {
        sum.join(&moment);
        have_exited &= is_last && has_exited(facts, row, &moment);
    }
    let sent = &group.counts.deaths.reset_sent;
    let all: u64 = REASONS.into_iter().map(|reason| sent.of(reason)).sum();
    if sum.resets < SOME || sum.resets * 100 < all * MOST_PERCENT {
        return None;
    }
    // Connections that nobody had accepted, and no others: the listener closed.
    let has_served = sum.connections() > sum.aborted;
    let is_of_listener = sum.aborted * 2 > sum.resets;
    let ending = match (have_exited, sum.is_no_timeout()) {
        (true, _) if has_served => Ending::Exited,
        (false, true) if group.side == Side::Server && !is_of_listener => Ending::Closed,
        _ => return None,
    };
    Some(AtOnce {
        moment: sum,
        ending,
    })
}

/// Whether a process was seen to have exited just after a moment.
fn has_exited(facts: &DoctorFacts, row: &PairRow, moment: &ClosedAtOnce) -> bool {
    let process = row.process.as_ref();
    let exited = process.and_then(|process| facts.exited.get(&process.key));
    exited
        .is_some_and(|at| moment.first_ns <= at.mono_ns && at.mono_ns <= moment.last_ns + EXITED_NS)
}

/// The finding for one service. That clients exit with connections open is no fault: these have none, and no other.
pub fn find(facts: &DoctorFacts, group: &Group<'_>, at_once: &AtOnce) -> Option<Explanation> {
    let mut explains = Explained::default();
    for reason in REASONS {
        explains.add_group(group, ResetDirection::Sent, reason);
    }
    let AtOnce { moment, ending } = at_once;
    let met_open = group.of_sent(ResetReason::DataAfterClose, |pattern| pattern.met_open);
    let failed = moment.lost();
    let certain = met_open
        .saturating_add(moment.resets - moment.late)
        .saturating_add(moment.unanswered)
        .min(failed);
    let share = Share::of(facts, group, failed);
    let severity = match group.side {
        Side::Server => share.severity_of(certain)?.min(Severity::Warning),
        _ => return None,
    };
    let who = group.who(|counts: &PairCounts| {
        REASONS
            .into_iter()
            .map(|reason| counts.deaths.reset_sent.of(reason))
            .sum()
    });
    let name = title(&who);
    let place = group.destination;
    let connections = moment.connections();
    let lost = match certain >= failed {
        true => format!("{failed} requests were lost"),
        false => format!("{} were reset", moment.resets),
    };
    let mut evidence = vec![format!(
        "{name} in namespace {} closed {connections} connections of {place} within {}: all were open, or waited for accept(), when the first was closed",
        facts.name(group.netns),
        duration(moment.length_ns()),
    )];
    evidence.push(match ending {
        Ending::Exited => format!(
            "{name} closed nothing afterwards, and no longer runs: stopped, reloaded, restarted, killed or crashed"
        ),
        Ending::Closed => "it still runs, or its end was not seen: a reload, a stop, or a command that closes connections"
            .to_owned(),
    });
    if let Some((min_ns, max_ns)) = moment.idle_ns
        && moment.is_no_timeout()
    {
        evidence.push(format!(
            "they had been without data for {} to {}: no timeout has closed them",
            rounded(min_ns),
            rounded(max_ns)
        ));
    }
    evidence.push(format!(
        "{} lost a request: {} were reset, as their clients had sent one or sent one then; {} had one without an answer, and \
         ended without a RST",
        share.words(),
        moment.resets,
        failed - moment.resets.min(failed)
    ));
    if met_open == 0 && moment.late > 0 {
        evidence.push(LIKE_CLOSE_NOTIFY.to_owned());
    }
    let patterns = REASONS
        .into_iter()
        .filter_map(|reason| group.pattern(ResetDirection::Sent, reason));
    evidence.extend(named_others(
        "clients on this host",
        patterns.flat_map(|it| &it.other_ends),
    ));
    let figures = json!({
        "netns": group.netns, "local": place.local(), "share": share.figures(), "connections": connections,
        "within_ns": moment.length_ns(), "resets_by": advice::figures(&who),
    });
    Some(Explanation {
        finding: finding(
            *ending,
            severity,
            &name,
            place.to_string(),
            (connections, &lost),
            evidence,
            figures,
        ),
        explains,
    })
}

fn finding(
    ending: Ending,
    severity: Severity,
    name: &str,
    place: String,
    (connections, lost): (u64, &str),
    evidence: Vec<String>,
    figures: serde_json::Value,
) -> Finding {
    let (title, first) = match ending {
        Ending::Exited => (
            format!("{name} on {place} ended with {connections} connections open: {lost}"),
            "see why it ended: its log, journalctl, and the kernel's log (dmesg) for a crash or the OOM killer",
        ),
        Ending::Closed => (
            format!(
                "{name} on {place} closed {connections} connections at one moment, as a reload or a stop does: {lost}"
            ),
            "see what happened then: a reload, a restart, a command such as redis' CLIENT KILL",
        ),
    };
    Finding {
        id: match ending {
            Ending::Exited => "process_ended",
            Ending::Closed => "closed_at_once",
        },
        severity,
        title,
        evidence,
        figures,
        to_do: vec![
            first.to_owned(),
            "for planned restarts: take it out of the load balancer first, and let it finish the requests that arrive (nginx: -s \
             quit, worker_shutdown_timeout; systemd: KillSignal, TimeoutStopSec)"
                .to_owned(),
            "have clients try a request again that failed on a connection they had used before, if it may be repeated".to_owned(),
        ],
        settings: Vec::new(),
        do_not: vec!["keep-alive timeouts or lingering_close: no timeout and no unread body has caused this".to_owned()],
    }
}
