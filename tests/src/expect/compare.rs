//! Compares the reported events with the expected ones.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{
    contract,
    event::{Check, Expected},
};

/// Reads a field by its dotted path. A missing field reads as `null`.
pub fn field<'a>(event: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .fold(event, |value, name| value.get(name).unwrap_or(&Value::Null))
}

impl Check {
    fn passes(&self, value: &Value) -> bool {
        match self {
            Self::Is(expected) => value == expected,
            Self::OneOf(values) => values.contains(value),
            Self::Between(low, high) => value
                .as_u64()
                .is_some_and(|found| (*low..=*high).contains(&found)),
            Self::NullOrBetween(low, high) => {
                value.is_null() || Self::Between(*low, *high).passes(value)
            }
            Self::EndsWith(end) => value.as_str().is_some_and(|found| found.ends_with(end)),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Is(value) => value.to_string(),
            Self::OneOf(values) => {
                let words: Vec<String> = values.iter().map(Value::to_string).collect();
                words.join(" or ")
            }
            Self::Between(low, high) => format!("{low} to {high}"),
            Self::NullOrBetween(low, high) => format!("null, nor {low} to {high}"),
            Self::EndsWith(end) => format!("\"…{end}\""),
        }
    }
}

/// Whether an event is as expected.
fn is_match(expected: &Expected, event: &Value) -> bool {
    let mut checks = expected.checks.iter();
    checks.all(|(path, check)| check.passes(field(event, path)))
}

/// Fields of `event` that differ from what is expected.
fn differences(expected: &Expected, event: &Value) -> Vec<String> {
    expected
        .checks
        .iter()
        .filter_map(|(path, check)| {
            let found = field(event, path);
            (!check.passes(found)).then(|| format!("{path} is {found}, not {}", check.describe()))
        })
        .collect()
}

/// Compares as multisets: each expected event once, and nothing else. Returns the differences, in words.
///
/// Matches events one to one by a maximum matching, instead of taking the first that fits, so that a loose expectation
/// does not take the event of a strict one.
pub fn compare(expected: &[Expected], events: &[Value]) -> Vec<String> {
    let matched = match_up(expected, events);
    let mut wrong = Vec::new();
    let taken: HashSet<usize> = matched.iter().copied().flatten().collect();
    let mut spare: Vec<usize> = (0..events.len())
        .filter(|index| !taken.contains(index))
        .collect();
    for (wanted, found) in expected.iter().zip(&matched) {
        if found.is_some() {
            continue;
        }
        let nearest = spare
            .iter()
            .copied()
            .filter(|index| wanted.checks["event"].passes(field(&events[*index], "event")))
            .min_by_key(|index| differences(wanted, &events[*index]).len());
        match nearest {
            Some(index) => {
                spare.retain(|other| *other != index);
                wrong.push(format!(
                    "{}: {}",
                    describe(wanted),
                    differences(wanted, &events[index]).join("; ")
                ));
            }
            None => wrong.push(format!("{}: missing", describe(wanted))),
        }
    }
    for index in spare {
        wrong.push(format!("not expected: {}", events[index]));
    }
    for event in events {
        wrong.extend(contract::violations(event));
    }
    wrong
}

/// For each expected event, the index of its event: a maximum bipartite matching (augmenting paths).
fn match_up(expected: &[Expected], events: &[Value]) -> Vec<Option<usize>> {
    let by_ends = by_ends(events);
    let all: Vec<usize> = (0..events.len()).collect();
    let fits: Vec<Vec<usize>> = expected
        .iter()
        .map(|wanted| {
            let candidates = match ends(wanted) {
                Some(ends) => by_ends.get(&ends).map_or(&[][..], Vec::as_slice),
                None => &all,
            };
            let found = candidates.iter().copied();
            found
                .filter(|index| is_match(wanted, &events[*index]))
                .collect()
        })
        .collect();
    let mut owner: Vec<Option<usize>> = vec![None; events.len()];
    // The turn in which an event was tried last.
    let mut tried = vec![usize::MAX; events.len()];
    for wanted in 0..expected.len() {
        augment((wanted, wanted), &fits, &mut owner, &mut tried);
    }
    let mut matched = vec![None; expected.len()];
    for (event, wanted) in owner.iter().enumerate() {
        if let Some(wanted) = wanted {
            matched[*wanted] = Some(event);
        }
    }
    matched
}

/// Local and remote address.
type Ends<'a> = (&'a str, &'a str);

/// The events of each connection: without these, thousands of connections would be compared with each other.
fn by_ends(events: &[Value]) -> HashMap<Ends<'_>, Vec<usize>> {
    let mut found: HashMap<Ends<'_>, Vec<usize>> = HashMap::new();
    for (index, event) in events.iter().enumerate() {
        if let (Some(local), Some(remote)) = (event["local"].as_str(), event["remote"].as_str()) {
            found.entry((local, remote)).or_default().push(index);
        }
    }
    found
}

/// The connection of an expected event, if both of its ends are known.
fn ends(expected: &Expected) -> Option<Ends<'_>> {
    let end = |name: &str| match expected.checks.get(name)? {
        Check::Is(Value::String(address)) => Some(address.as_str()),
        _ => None,
    };
    Some((end("local")?, end("remote")?))
}

/// `turn` is the expected event that a place is being sought for, `wanted` the one that has to move for it.
fn augment(
    (wanted, turn): (usize, usize),
    fits: &[Vec<usize>],
    owner: &mut [Option<usize>],
    tried: &mut [usize],
) -> bool {
    for &event in &fits[wanted] {
        if std::mem::replace(&mut tried[event], turn) == turn {
            continue;
        }
        let free = match owner[event] {
            None => true,
            Some(other) => augment((other, turn), fits, owner, tried),
        };
        if free {
            owner[event] = Some(wanted);
            return true;
        }
    }
    false
}

/// The fields that identify an expected event to a reader.
fn describe(expected: &Expected) -> String {
    let names = [
        "event",
        "direction",
        "reason",
        "op",
        "result",
        "state",
        "process",
        "process.comm",
        "local",
        "remote",
    ];
    let parts: Vec<String> = names
        .iter()
        .filter_map(|name| Some(format!("{name}={}", expected.checks.get(*name)?.describe())))
        .collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::expect::{ExpectedProcess, Side, TcpState};

    fn event(pid: i32, inferred: bool) -> Value {
        json!({
            "ts": "2026-01-02T03:04:05.000000006Z", "mono_ns": 1, "event": "time_wait", "netns": 1,
            "local": "127.0.0.1:1", "remote": "127.0.0.1:2", "mapped": false, "side": "client",
            "process": {"pid": pid, "comm": "cl", "uid": 0}, "unattributed": null,
            "opener": {"pid": pid, "comm": "cl", "uid": 0}, "state": "fin_wait2", "from": "fin_wait2",
            "connection_ns": 5, "idle_ns": 5, "peer_silent_ns": 0, "send_idle_ns": 5, "bytes_sent": 0,
            "bytes_received": 0, "awaits_answer": null, "inferred": inferred,
        })
    }

    fn expected(pid: i32) -> Expected {
        Expected::time_wait(TcpState::FinWait2)
            .side(Side::Client)
            .process(ExpectedProcess {
                pid,
                comm: "cl".to_owned(),
            })
    }

    #[test]
    fn the_same_is_the_same() {
        let wrong = compare(
            &[expected(1), expected(2)],
            &[event(2, false), event(1, false)],
        );
        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn a_wrong_process_is_found() {
        let wrong = compare(&[expected(1)], &[event(3, false)]);
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains("process.pid is 3, not 1"), "{wrong:?}");
    }

    #[test]
    fn missing_doubled_and_unexpected_events_are_found() {
        assert!(compare(&[expected(1)], &[])[0].ends_with("missing"));
        assert_eq!(compare(&[], &[event(1, false)]).len(), 1);
        assert_eq!(
            compare(&[expected(1)], &[event(1, false), event(1, false)]).len(),
            1
        );
        assert_eq!(
            compare(&[expected(1), expected(1)], &[event(1, false)]).len(),
            1
        );
    }

    #[test]
    fn a_guess_is_not_taken_for_a_fact() {
        let wrong = compare(&[expected(1)], &[event(1, true)]);
        assert!(
            wrong[0].contains("inferred is true, not false"),
            "{wrong:?}"
        );
    }

    #[test]
    fn a_loose_expectation_does_not_rob_a_strict_one() {
        let loose = Expected::time_wait(TcpState::FinWait2);
        let wrong = compare(&[loose, expected(1)], &[event(1, false), event(2, false)]);
        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn bounds_and_ends_are_checked() {
        assert!(Check::Between(2, 4).passes(&json!(4)));
        assert!(!Check::Between(2, 4).passes(&json!(5)));
        assert!(!Check::Between(2, 4).passes(&Value::Null));
        assert!(Check::EndsWith("STATE".to_owned()).passes(&json!("TCP_STATE")));
        assert!(!Check::EndsWith("STATE".to_owned()).passes(&Value::Null));
    }
}
