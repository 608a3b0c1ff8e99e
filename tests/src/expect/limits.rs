//! The table of what a tier or a kernel can't know, with the reason. Everything else must be reported.

use serde_json::{Value, json};
use twtrace_wire::EventKind;

use super::{
    environment::{Facts, Question, Tier},
    event::{ByAccept, Check, Expected},
};

/// The effect of a limit on an event.
pub enum Effect {
    /// It is reported with these fields changed.
    Changed(Expected),
    /// It is not reported.
    Unseen,
}

/// One row of the table.
pub struct Limit {
    /// The capability whose tier must report this limit (`lost` is not null); `None` if the kernel itself does not have
    /// the information, and the choice of a tier loses nothing.
    pub owned_by: Option<Question>,
    /// Why it can't be known.
    pub reason: &'static str,
    /// Whether the limit applies.
    holds: fn(&Facts) -> bool,
    /// Its effect; `None` for events that it does not concern.
    effect: fn(&Expected) -> Option<Effect>,
}

fn changed(expected: &Expected, change: impl Fn(&mut Expected)) -> Option<Effect> {
    let mut other = expected.clone();
    change(&mut other);
    Some(Effect::Changed(other))
}

/// The table. Each row applies to the result of the row before.
pub const LIMITS: &[Limit] = &[
    Limit {
        owned_by: Some(Question::TimeWait),
        reason: "the kernel skips a kprobe while another program runs on that CPU: the birth is recovered \
                 from the states, and marked",
        holds: |facts| facts.tier(Question::TimeWait) == Tier::Kprobe,
        effect: |expected| match expected.kind {
            EventKind::TimeWait => changed(expected, |it| {
                it.checks.remove("inferred");
            }),
            _ => None,
        },
    },
    Limit {
        owned_by: Some(Question::TimeWait),
        reason: "a refused mini-socket starts no timer and is in no table: it is inferred from the one that is missing",
        holds: |facts| matches!(facts.tier(Question::TimeWait), Tier::Timer | Tier::Inferred),
        effect: |expected| match expected.kind {
            EventKind::TimeWaitOverflow => {
                changed(expected, |it| it.set("inferred", Check::Is(json!(true))))
            }
            _ => None,
        },
    },
    Limit {
        owned_by: Some(Question::ResetWithoutSocket),
        reason: "no hook sees a RST that no full socket sends",
        holds: |facts| facts.tier(Question::ResetWithoutSocket) == Tier::None,
        effect: |expected| {
            (expected.question == Question::ResetWithoutSocket).then_some(Effect::Unseen)
        },
    },
    Limit {
        owned_by: Some(Question::TimeWaitEnd),
        reason: "no hook sees mini-sockets go: that they went, and how, is presumed from what is there later",
        holds: |facts| facts.tier(Question::TimeWaitEnd) == Tier::Inferred,
        effect: |expected| match expected.kind {
            EventKind::TimeWaitEnd => changed(expected, |it| {
                for unknown in ["age_ns", "promoted_ns", "by", "by.pid", "by.comm"] {
                    it.checks.remove(unknown);
                }
                it.set("inferred", Check::Is(json!(true)));
            }),
            _ => None,
        },
    },
    Limit {
        owned_by: Some(Question::TimeWaitEnd),
        reason: "no hook sees mini-sockets go: of one whose birth was not seen nothing is known",
        holds: |facts| facts.tier(Question::TimeWaitEnd) == Tier::Inferred,
        effect: |expected| {
            let by_nobody = expected.checks.contains_key("process");
            (expected.kind == EventKind::TimeWaitEnd && by_nobody).then_some(Effect::Unseen)
        },
    },
    Limit {
        owned_by: Some(Question::TimeWaitEnd),
        reason: "a timer that stays in its bucket of the wheel is armed again without a trace: the moment of \
                 the peer's FIN may not be known",
        holds: |facts| facts.tier(Question::TimeWaitEnd) == Tier::Timer,
        effect: |expected| match expected.kind {
            EventKind::TimeWaitEnd => changed(expected, |it| {
                if let Some(Check::Between(low, high)) = it.checks.get("promoted_ns").cloned() {
                    it.set("promoted_ns", Check::NullOrBetween(low, high));
                }
            }),
            _ => None,
        },
    },
    Limit {
        owned_by: Some(Question::Accept),
        reason: "no hook sees who accept()s: only a closer can be named on the server's side",
        holds: |facts| facts.tier(Question::Accept) == Tier::None,
        effect: |expected| match expected.by_accept {
            None => None,
            Some(ByAccept::Opener) => changed(expected, without_opener),
            Some(ByAccept::OpenerAndProcess) => changed(expected, |it| {
                without_opener(it);
                without_process(it);
            }),
        },
    },
    Limit {
        owned_by: Some(Question::Port),
        reason: "a system call's duration is an upper bound of the search in it, and a connect()'s has the \
                 handshake in it",
        holds: |facts| facts.tier(Question::Port) == Tier::Syscall,
        effect: |expected| match expected.kind {
            EventKind::PortAlloc => {
                changed(expected, |it| it.set("exact", Check::Is(json!(false))))
            }
            _ => None,
        },
    },
    Limit {
        owned_by: Some(Question::Port),
        reason: "a system call does not tell what its search meets",
        holds: |facts| facts.tier(Question::Port) == Tier::Syscall,
        effect: without_refused_reuse,
    },
    Limit {
        owned_by: Some(Question::NoAddress),
        reason: "no hook sees a call that fails before it looks for a port",
        holds: |facts| facts.tier(Question::NoAddress) == Tier::None,
        effect: |expected| (expected.question == Question::NoAddress).then_some(Effect::Unseen),
    },
    Limit {
        owned_by: Some(Question::TimeWaitEnd),
        reason: "no hook is asked whether a TIME_WAIT may be reused",
        holds: |facts| {
            !matches!(
                facts.tier(Question::TimeWaitEnd),
                Tier::Fentry | Tier::Kprobe
            )
        },
        effect: without_refused_reuse,
    },
    Limit {
        owned_by: None,
        reason: "this kernel gives no reason for a RST (before 6.12)",
        holds: |facts| !facts.kernel.reset_reasons,
        effect: |expected| match expected.kernel_word {
            Some(_) => changed(expected, |it| {
                it.kernel_word = None;
                it.set("kernel_reason", Check::Is(Value::Null));
            }),
            None => None,
        },
    },
];

fn without_refused_reuse(expected: &Expected) -> Option<Effect> {
    let is_expected = expected.checks.contains_key("refused_reuse");
    is_expected
        .then(|| {
            changed(expected, |it| {
                it.set("refused_reuse", Check::Is(Value::Null))
            })
        })
        .flatten()
}

fn without_opener(expected: &mut Expected) {
    expected
        .checks
        .retain(|path, _| !path.starts_with("opener"));
    expected.set("opener", Check::Is(Value::Null));
}

fn without_process(expected: &mut Expected) {
    expected
        .checks
        .retain(|path, _| !path.starts_with("process"));
    expected.set("process", Check::Is(Value::Null));
    expected.set("unattributed", Check::Is(json!("unknown")));
}

/// What twtrace must report with these facts, and the limits that changed it.
pub struct Limited {
    pub events: Vec<Expected>,
    /// Reasons of the limits that applied.
    pub reasons: Vec<&'static str>,
    /// Limits that twtrace does not report.
    pub unsaid: Vec<String>,
}

/// Applies the table to the truth.
pub fn limit(truth: &[Expected], facts: &Facts) -> Limited {
    let mut limited = Limited {
        events: truth.to_vec(),
        reasons: Vec::new(),
        unsaid: Vec::new(),
    };
    for limit in LIMITS.iter().filter(|limit| (limit.holds)(facts)) {
        let mut used = false;
        let before = std::mem::take(&mut limited.events);
        for expected in before {
            match (limit.effect)(&expected) {
                None => limited.events.push(expected),
                Some(Effect::Changed(other)) => {
                    used |= other != expected;
                    limited.events.push(other);
                }
                Some(Effect::Unseen) => used = true,
            }
        }
        if used {
            limited.reasons.push(limit.reason);
            if let Some(question) = limit.owned_by
                && facts.lost(question).is_none()
            {
                limited.unsaid.push(format!(
                    "twtrace does not say what its tier {:?} loses for {question:?}: {}",
                    facts.tier(question),
                    limit.reason
                ));
            }
        }
    }
    for expected in &mut limited.events {
        if let Some(word) = expected.kernel_word.clone() {
            expected.set("kernel_reason", Check::EndsWith(word));
        }
    }
    limited
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::{Reason, TcpState, environment::Choice};

    fn facts(question: Question, tier: Tier, lost: Option<&str>) -> Facts {
        Facts {
            tiers: vec![Choice {
                question,
                tier,
                lost: lost.map(str::to_owned),
            }],
            ..Facts::default()
        }
    }

    #[test]
    fn an_inferring_tier_must_say_so() {
        let truth = [
            Expected::time_wait(TcpState::FinWait2),
            Expected::overflow(),
        ];
        let facts = facts(Question::TimeWait, Tier::Inferred, None);
        let limited = limit(&truth, &facts);
        let [birth, refusal] = &limited.events[..] else {
            panic!("{:?}", limited.events);
        };
        // Creations are derived from the kernel's table, a refusal from what is missing there.
        assert_eq!(birth, &truth[0]);
        assert_eq!(
            refusal.checks["event"],
            Check::Is(json!("time_wait_overflow"))
        );
        assert_eq!(refusal.checks["inferred"], Check::Is(json!(true)));
        assert_eq!(limited.unsaid.len(), 1, "{:?}", limited.unsaid);
    }

    #[test]
    fn what_no_hook_sees_is_not_expected() {
        let truth = [Expected::reset_without_socket(
            Reason::NoSocket,
            "NO_SOCKET",
        )];
        let facts = facts(Question::ResetWithoutSocket, Tier::None, Some("these"));
        let limited = limit(&truth, &facts);
        assert!(limited.events.is_empty());
        assert!(limited.unsaid.is_empty());
        assert_eq!(limited.reasons.len(), 1);
    }

    #[test]
    fn a_kernel_with_reasons_must_give_them() {
        let truth = [Expected::reset_sent(Reason::LingerZero, "TCP_STATE")];
        let mut facts = facts(Question::Reset, Tier::RawTracepoint, None);
        let without = limit(&truth, &facts);
        assert_eq!(
            without.events[0].checks["kernel_reason"],
            Check::Is(Value::Null)
        );
        facts.kernel.reset_reasons = true;
        let with = limit(&truth, &facts);
        assert_eq!(
            with.events[0].checks["kernel_reason"],
            Check::EndsWith("TCP_STATE".to_owned())
        );
    }
}
