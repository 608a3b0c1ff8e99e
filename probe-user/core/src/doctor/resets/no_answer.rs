//! Servers that close in order, by FIN, without an answer to what their client has sent: no RST shows it.

use serde_json::json;
use twtrace_wire::Side;

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::{Finding, Severity};
use super::at_once::ended_then;
use super::both::{PAUSE_NS, length, range, timeout};
use super::group::{Group, processes, title};
use super::share::Share;
use super::{Explained, Explanation};
use crate::model::pairs::PairRow;

/// Finds it for one service.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    let unanswered = &group.counts.unanswered;
    if group.side != Side::Server {
        return None;
    }
    // Requests that one end cuts off at a moment have waited for about as long, too.
    let is_again = unanswered.at.is_again();
    let waited = timeout(&unanswered.waited).filter(|it| is_again && it.min_ns >= PAUSE_NS);
    let number = |row: &PairRow| -> u64 {
        let unanswered = &row.counts.unanswered;
        match has_ended(facts, row) {
            true => unanswered.count + unanswered.soon,
            false if waited.is_some() => unanswered.count,
            // What had answers before may end after a last word that wants none.
            false => unanswered.never,
        }
    };
    let sum = |of: &dyn Fn(&PairRow) -> u64| -> u64 { group.rows.iter().map(|row| of(row)).sum() };
    let count = sum(&number);
    let ended = sum(&|row| {
        if has_ended(facts, row) {
            number(row)
        } else {
            0
        }
    });
    let share = Share::of(facts, group, count);
    // A sink of logs or metrics that closes idle connections has never answered anything.
    let has_answered = unanswered.count > unanswered.never || !share.is_of_all();
    let severity = match ended > 0 || has_answered {
        true => share.severity()?,
        false => share.severity()?.min(Severity::Warning),
    };
    let rows = group.rows.iter();
    let who = processes(rows.map(|row| (row.process.as_deref(), number(row))));
    let name = title(&who);
    let place = group.destination;
    let after = waited.map_or_else(|| range(&unanswered.waited), length);
    let mut evidence = vec![format!(
        "{} of {place} in namespace {} were closed by the server {after} after its client's last data, without an answer to it: {}",
        share.words(),
        facts.name(group.netns),
        advice::list(&who)
    )];
    evidence.push(
        "all data had been read, so they ended by FIN: the client sees the end of the connection (\"empty reply from server\", \
         \"socket hang up\", \"upstream prematurely closed connection\")"
            .to_owned(),
    );
    if ended > 0 {
        evidence.push(format!(
            "{ended} were closed by processes that no longer run: they were killed, crashed, or ended by themselves"
        ));
    }
    if waited.is_some() {
        evidence.push(
            "the same time again and again is a timeout: of the server, or of what watches over its processes".to_owned(),
        );
    }
    if !has_answered {
        evidence.push(
            "it was seen to answer nothing at all: it hangs, or its protocol has no answers (as of logs and metrics)".to_owned(),
        );
    }
    let to_do = if ended > 0 {
        vec![
            "read its log for the end of its processes (gunicorn: WORKER TIMEOUT, max_requests; php-fpm: request_terminate_timeout), \
             and the kernel's log (dmesg) for a crash or the OOM killer"
                .to_owned(),
            "if a request takes longer than its timeout: find out what it waits for, or raise the timeout (gunicorn: --timeout)"
                .to_owned(),
        ]
    } else {
        vec![
            "read its log at these times: an error while it handles the request, a request that it rejects (nginx: return 444), or \
             a timeout (Go: WriteTimeout, which closes without an answer; a request that never came in whole)"
                .to_owned(),
            "see them one by one, with times and bytes: twtrace trace --event time_wait --side server".to_owned(),
        ]
    };
    Some(Explanation {
        finding: Finding {
            id: "request_not_answered",
            severity,
            title: match (waited, ended) {
                (Some(_), _) => format!(
                    "{name} on {place} closes connections {after} after a request, without an answer: {}",
                    share.short()
                ),
                (None, 1..) => format!(
                    "processes of {name} on {place} end without an answer to their requests: {}",
                    share.short()
                ),
                (None, 0) => format!(
                    "{name} on {place} closes connections without an answer to the request: {}",
                    share.short()
                ),
            },
            evidence,
            figures: json!({
                "netns": group.netns, "local": place.local(), "share": share.figures(),
                "waited_ns": waited.map(|it| it.max_ns), "by_ended_processes": ended, "closed_by": advice::figures(&who),
            }),
            to_do,
            settings: Vec::new(),
            do_not: vec![
                "keep-alive timeouts or lingering_close: these connections were not idle, and nothing was unread".to_owned(),
            ],
        },
        explains: Explained::default(),
    })
}

/// Whether the process of a row no longer ran after it had closed these.
fn has_ended(facts: &DoctorFacts, row: &PairRow) -> bool {
    let mut at = row.counts.unanswered.at;
    at.add_all(&row.counts.unanswered.soon_at);
    let (first_ns, last_ns) = at.range_ns();
    ended_then(facts, row, first_ns, last_ns)
}
