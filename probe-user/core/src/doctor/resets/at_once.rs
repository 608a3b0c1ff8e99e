//! Many connections that one process closed at once: it ended, or it stopped to serve.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::{Finding, Severity};
use super::both::{PAUSE_NS, common, rounded};
use super::group::{Group, processes, title};
use super::keepalive::LIKE_CLOSE_NOTIFY;
use super::share::Share;
use super::{Explained, Explanation, SOME};
use crate::event::quantity::duration;
use crate::event::timestamp::SECOND_NS;
use crate::model::pairs::PairRow;
use crate::model::resets::ResetPattern;
use crate::model::resets::closings::{ClosedAtOnce, Several};

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
pub struct AtOnce<'a> {
    moment: ClosedAtOnce,
    ending: Ending,
    /// The processes, and what each of them closed.
    rows: Vec<(&'a PairRow, ClosedAtOnce)>,
    /// Number of RSTs of the group that were at other times.
    others: u64,
    /// Number of such moments that explain the RSTs together.
    moments: u64,
    /// Number of RSTs that they explain.
    all: u64,
}

impl AtOnce<'_> {
    /// Adds the RSTs of that moment, or of all moments, and no others.
    pub fn explain(&self, all: &mut Explained) {
        for (row, moment) in &self.rows {
            for reason in REASONS {
                let who = super::name(row.answerable());
                let count = match self.moments {
                    1 => moment.of(reason),
                    _ => row.counts.deaths.reset_sent.of(reason),
                };
                all.add(ResetDirection::Sent, reason, who, count);
            }
        }
    }

    /// Connections that each row closed with SO_LINGER 0 then.
    pub fn lingers(&self) -> impl Iterator<Item = (&PairRow, u64)> {
        let rows = self.rows.iter();
        rows.map(|(row, moment)| (*row, moment.of(ResetReason::LingerZero)))
    }
}

/// The moment that explains the RSTs of a group, if it is known what happened then.
pub fn of<'a>(facts: &DoctorFacts, group: &Group<'a>) -> Option<AtOnce<'a>> {
    if has_waited(group) {
        return None;
    }
    // A process that closed only some proves nothing: it may have done so at that time by chance.
    let moments = group.rows.iter().map(|row| {
        let exited_at = exited_at(facts, row);
        (*row, row.counts.closings.most(exited_at))
    });
    let mut moments: Vec<_> = moments
        .filter(|(_, (moment, _))| moment.resets >= SOME)
        .collect();
    moments.sort_by_key(|(_, (moment, _))| std::cmp::Reverse(moment.resets));
    let (_, (greatest, _)) = *moments.first()?;
    let mut sum = ClosedAtOnce::default();
    let mut have_exited = true;
    let mut rows = Vec::new();
    for (row, (moment, is_last)) in moments {
        let is_together = moment.first_ns.abs_diff(greatest.first_ns) <= TOGETHER_NS;
        if rows.is_empty() || (is_together && sum.overlaps(&moment)) {
            sum.join(&moment);
            have_exited &= is_last && has_exited(facts, row, &moment);
            rows.push((row, moment));
        }
    }
    let sent = &group.counts.deaths.reset_sent;
    let all: u64 = REASONS.into_iter().map(|reason| sent.of(reason)).sum();
    // As by a command that one process is given several times.
    let several = group.rows.iter().map(|row| row.counts.closings.several());
    let several = several.filter(|it| it.moments > 1);
    let several = several.fold(Several::default(), |sum, it| Several {
        moments: sum.moments + it.moments,
        resets: sum.resets + it.resets,
    });
    let is_one = sum.resets * 100 >= all * MOST_PERCENT;
    let are_several = several.moments > 1 && several.resets * 100 >= all * MOST_PERCENT;
    if !is_one && !are_several {
        return None;
    }
    // Connections that nobody had accepted, and no others: the listener closed.
    let has_served = sum.connections() > sum.aborted;
    let is_of_listener = sum.aborted * 2 > sum.resets;
    let ending = match (have_exited, sum.is_no_timeout()) {
        (true, _) if has_served && is_one => Ending::Exited,
        (false, true) if group.side == Side::Server && !is_of_listener => Ending::Closed,
        _ => return None,
    };
    Some(AtOnce {
        moment: sum,
        ending,
        rows,
        others: all.saturating_sub(sum.resets),
        moments: if is_one { 1 } else { several.moments },
        all: if is_one { sum.resets } else { all },
    })
}

/// Whether a client closed its connections after the same time without data: that is a timeout, also if it then exited.
fn has_waited(group: &Group<'_>) -> bool {
    let mut patterns = REASONS
        .into_iter()
        .filter_map(|reason| group.pattern(ResetDirection::Sent, reason));
    let has_timeout = |pattern: &ResetPattern| {
        common(&pattern.quiet).is_some_and(|waited| waited.min_ns >= PAUSE_NS)
    };
    group.side == Side::Client && patterns.any(has_timeout)
}

/// When a process was seen to have exited, CLOCK_MONOTONIC in nanoseconds.
fn exited_at(facts: &DoctorFacts, row: &PairRow) -> Option<u64> {
    let process = row.process.as_ref()?;
    facts.exited.get(&process.key).map(|at| at.mono_ns)
}

/// Whether a process was seen to have exited just after a moment.
fn has_exited(facts: &DoctorFacts, row: &PairRow, moment: &ClosedAtOnce) -> bool {
    let until_ns = moment.last_ns.saturating_add(EXITED_NS);
    exited_at(facts, row).is_some_and(|at_ns| (moment.first_ns..=until_ns).contains(&at_ns))
}

/// Whether the process of a row was seen to have exited at the time of all of these events of it, the first and the last:
/// CLOCK_MONOTONIC in nanoseconds. A TIME_WAIT begins only once the peer has closed, too.
pub fn ended_then(facts: &DoctorFacts, row: &PairRow, first_ns: u64, last_ns: u64) -> bool {
    exited_at(facts, row).is_some_and(|at_ns| {
        first_ns.saturating_add(EXITED_NS) >= at_ns && last_ns <= at_ns.saturating_add(EXITED_NS)
    })
}

/// The finding for one service, which has closed them itself.
pub fn find(facts: &DoctorFacts, group: &Group<'_>, at_once: &AtOnce<'_>) -> Option<Explanation> {
    let mut explains = Explained::default();
    at_once.explain(&mut explains);
    let AtOnce { moment, ending, .. } = at_once;
    let met_open = group.of_sent(ResetReason::DataAfterClose, ResetPattern::certain);
    let failed = moment.lost().max(at_once.all);
    let late = group.sent(ResetReason::DataAfterClose);
    let certain = match at_once.moments {
        1 => met_open
            .min(moment.late)
            .saturating_add(moment.resets - moment.late),
        _ => met_open
            .min(late)
            .saturating_add(at_once.all.saturating_sub(late)),
    };
    let certain = certain.min(failed);
    let share = Share::of(facts, group, failed);
    let severity = match group.side {
        Side::Server => share.severity_of(certain)?.min(Severity::Warning),
        _ => return None,
    };
    let rows = at_once.rows.iter();
    let who = processes(rows.map(|(row, moment)| (row.process.as_deref(), moment.resets)));
    let name = title(&who);
    let place = group.destination;
    let connections = moment.connections();
    let in_order = failed.saturating_sub(moment.resets);
    let lost = match in_order {
        0 => format!("{} were reset", moment.resets),
        1.. => format!(
            "{} were reset, and {in_order} more may have lost a request",
            moment.resets
        ),
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
        Ending::Closed => "it still runs, or its end was not seen: a reload, a stop, a command that closes connections, or one answer \
            to all of them, such as 503 when what it needs has failed"
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
        "{} may have lost a request: {} were reset, in most cases as their clients had sent data that was not read, or sent some \
         then; {in_order} ended without a RST, and had received data last",
        share.words(),
        moment.resets
    ));
    if at_once.moments > 1 {
        evidence.push(format!(
            "there were {} such moments, with {} RSTs of this service in all: the greatest is described",
            at_once.moments, at_once.all
        ));
    } else if at_once.others > 0 {
        evidence.push(format!(
            "{} more RSTs of this service were at other times: this is not their cause",
            at_once.others
        ));
    }
    if met_open == 0 && moment.late > 0 {
        evidence.push(LIKE_CLOSE_NOTIFY.to_owned());
    }
    evidence.extend(group.clients_here(&REASONS));
    let figures = json!({
        "netns": group.netns, "local": place.local(), "share": share.figures(), "connections": connections,
        "within_ns": moment.length_ns(), "resets_by": advice::figures(&who),
    });
    Some(Explanation {
        finding: finding(
            *ending,
            severity,
            match at_once.moments {
                1 => format!(
                    "{name} on {place} closed {connections} connections at one moment, as a reload or a stop does: {lost}"
                ),
                moments => format!(
                    "{name} on {place} closed many connections at once, {moments} times: {} were reset",
                    at_once.all
                ),
            },
            format!("{name} on {place} ended with {connections} connections open: {lost}"),
            evidence,
            figures,
        ),
        explains,
    })
}

fn finding(
    ending: Ending,
    severity: Severity,
    if_closed: String,
    if_ended: String,
    evidence: Vec<String>,
    figures: serde_json::Value,
) -> Finding {
    let (title, first) = match ending {
        Ending::Exited => (
            if_ended,
            "see why it ended: its log, journalctl, and the kernel's log (dmesg) for a crash or the OOM killer",
        ),
        Ending::Closed => (
            if_closed,
            "see what happened then: a reload, a restart, a command such as redis' CLIENT KILL, an error that all clients got",
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
        do_not: vec![match ending {
            Ending::Exited => "keep-alive timeouts or lingering_close: no timeout and no unread body has caused this".to_owned(),
            Ending::Closed => "keep-alive timeouts: none has closed these connections".to_owned(),
        }],
    }
}
