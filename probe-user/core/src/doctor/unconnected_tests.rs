use twtrace_wire::{AbortReason, TcpState};

use super::*;
use crate::doctor::samples;
use crate::event::samples::process;
use crate::event::{EventFacts, samples as events};
use crate::model::pairs::Pairs;

const REMOTE: &str = "10.0.0.2:5432";

fn facts(reasons: &[(AbortReason, u64)], answered: u64, waiting: Option<(u64, u8)>) -> DoctorFacts {
    let mut facts = samples::healthy();
    let mut pairs = Pairs::default();
    let at_remote = |mut event: crate::event::Event| {
        event.netns = Some(samples::NETNS);
        event.side = Side::Client;
        event.remote = REMOTE.parse().ok();
        event.process = Some(process(7, "app"));
        event
    };
    for (reason, count) in reasons {
        for _ in 0..*count {
            let mut event = at_remote(events::abort());
            if let EventFacts::Abort(abort) = &mut event.facts {
                abort.reason = *reason;
                abort.state = Some(TcpState::SynSent);
            }
            pairs.apply(&event);
        }
    }
    for _ in 0..answered {
        pairs.apply(&at_remote(events::time_wait()));
    }
    facts.pairs = pairs.rows();
    facts.unacknowledged = waiting
        .map(|(count, retransmits)| UnacknowledgedRow {
            netns: samples::NETNS,
            remote: REMOTE.parse().unwrap(),
            is_connecting: true,
            process: Some(process(7, "app")),
            count,
            retransmits,
        })
        .into_iter()
        .collect();
    facts
}

fn severity(
    reasons: &[(AbortReason, u64)],
    answered: u64,
    waiting: Option<(u64, u8)>,
) -> Option<Severity> {
    check(&facts(reasons, answered, waiting))
        .first()
        .map(|finding| finding.severity)
}

#[test]
fn what_does_not_answer_is_named() {
    let found = check(&facts(&[(AbortReason::Unanswered, 4)], 0, Some((2, 2))));
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].title,
        "10.0.0.2:5432 does not answer: 6 connects of app(7) failed or wait"
    );
    assert_eq!(found[0].severity, Severity::Critical);
    assert!(found[0].evidence[0].ends_with("app(7): 6"), "{found:?}");
    let found = check(&facts(&[(AbortReason::Other, 5)], 0, None));
    assert_eq!(
        found[0].title,
        "10.0.0.2:5432 can't be reached, an ICMP message says: 5 connects of app(7) failed or wait"
    );
}

#[test]
fn a_lost_packet_is_no_finding() {
    let gave_up = |count| [(AbortReason::Unanswered, count)];
    assert_eq!(severity(&[], 0, Some((1, 1))), None);
    assert_eq!(severity(&gave_up(1), 40, None), None);
    assert_eq!(severity(&[], 0, Some((1, 3))), Some(Severity::Notice));
    assert_eq!(
        severity(&[(AbortReason::Timeout, 1)], 0, None),
        Some(Severity::Notice)
    );
    assert_eq!(severity(&gave_up(5), 40, None), Some(Severity::Warning));
    // Somebody destroyed it.
    assert_eq!(severity(&[(AbortReason::Destroyed, 9)], 0, None), None);
}
