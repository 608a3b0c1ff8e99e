//! Checks everything that was reported of a scenario once more when the trace has ended.
//!
//! A scenario is over when its fence was reported. Events of its namespace after that must also belong to the scenario
//! (some are known only seconds later), or be what the end of its processes does to their open sockets.

use std::{collections::HashSet, net::SocketAddr};

use serde_json::Value;

use super::{judge, stage_process::Namespace, trace::Ended};
use crate::{
    expect::environment::{Facts, Question, Tier},
    stage::finding::{Ending, Played},
};

/// A scenario that passed.
pub struct Accepted {
    pub name: String,
    /// Where it was played.
    pub namespace: Namespace,
    /// What had to be reported.
    pub truth: Box<Played>,
    /// What existed when its processes ended.
    pub ending: Ending,
}

/// Differences that remain.
pub fn judge(accepted: &[Accepted], facts: &Facts, ended: &Ended) -> Vec<String> {
    accepted
        .iter()
        .flat_map(|scenario| {
            let events = ended.events(scenario.namespace);
            let wrong = judge_one(scenario, facts, events);
            wrong
                .into_iter()
                .map(|wrong| format!("{}: {wrong}", scenario.name))
        })
        .collect()
}

fn judge_one(scenario: &Accepted, facts: &Facts, events: Vec<Value>) -> Vec<String> {
    let ending = &scenario.ending;
    let (before, after): (Vec<Value>, Vec<Value>) = events
        .into_iter()
        .partition(|event| event["mono_ns"].as_u64() < Some(ending.at_ns));
    let mut wrong = judge::judge_events(&scenario.truth, facts, &before);
    // If ends are presumed, a TIME_WAIT that ended early (by a late RST, in a crowd) is assumed to live until then.
    let presumed: HashSet<Ends> = match facts.tier(Question::TimeWaitEnd) {
        Tier::Inferred => before.iter().filter_map(ends).collect(),
        _ => HashSet::new(),
    };
    let unexplained = after.iter().filter(|event| {
        let is_presumed = event["inferred"] == true
            && goes_by_itself(event)
            && ends(event).is_some_and(|ends| presumed.contains(&ends));
        !is_presumed && !is_of_ending(event, ending)
    });
    wrong.extend(unexplained.map(|event| format!("not by the end of its processes: {event}")));
    wrong
}

/// Local and remote address of a connection.
type Ends = (SocketAddr, SocketAddr);

fn ends(event: &Value) -> Option<Ends> {
    let address = |end: &str| event[end].as_str()?.parse().ok();
    Some((address("local")?, address("remote")?))
}

/// Whether a TIME_WAIT ended in a way that needs no action of a process.
fn goes_by_itself(event: &Value) -> bool {
    ["expired", "purged"]
        .iter()
        .any(|cause| event["cause"] == *cause)
}

/// Whether the end of the processes can have caused it: it is about a connection that was open at either end, or an
/// existing TIME_WAIT has expired or was removed with its namespace.
fn is_of_ending(event: &Value, ending: &Ending) -> bool {
    let Some((local, remote)) = ends(event) else {
        return false;
    };
    let goes_by_itself = goes_by_itself(event);
    ending.sockets.iter().any(|left| {
        let is_it = (left.local, left.remote) == (local, remote);
        let is_its_peer = (left.remote, left.local) == (local, remote);
        if left.is_mini {
            is_it && goes_by_itself
        } else {
            is_it || is_its_peer
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{expect::environment::Choice, stage::finding::Left};

    const CLIENT: &str = "127.0.0.1:40000";
    const SERVER: &str = "127.0.0.1:80";

    fn event(local: &str, remote: &str, cause: Value) -> Value {
        json!({"mono_ns": 9, "local": local, "remote": remote, "cause": cause})
    }

    fn ending(is_mini: bool) -> Ending {
        Ending {
            at_ns: 5,
            sockets: vec![Left {
                local: CLIENT.parse().unwrap(),
                remote: SERVER.parse().unwrap(),
                is_mini,
            }],
        }
    }

    #[test]
    fn open_connections_may_end_in_any_way_and_at_either_end() {
        for (local, remote) in [(CLIENT, SERVER), (SERVER, CLIENT)] {
            for cause in [json!("killed"), Value::Null] {
                assert!(is_of_ending(&event(local, remote, cause), &ending(false)));
            }
        }
        let other = event("127.0.0.1:40001", SERVER, Value::Null);
        assert!(!is_of_ending(&other, &ending(false)));
        let nobody = json!({"mono_ns": 9, "local": CLIENT, "remote": null});
        assert!(!is_of_ending(&nobody, &ending(false)));
    }

    #[test]
    fn a_time_wait_that_nobody_has_open_goes_by_itself_alone() {
        let killed = event(CLIENT, SERVER, json!("killed"));
        assert!(!is_of_ending(&killed, &ending(true)));
        let expired = event(CLIENT, SERVER, json!("expired"));
        assert!(is_of_ending(&expired, &ending(true)));
        assert!(!is_of_ending(
            &event(CLIENT, SERVER, Value::Null),
            &ending(true)
        ));
    }

    #[test]
    fn a_presumed_time_wait_goes_by_itself_if_it_was_told() {
        let tier = |tier| Facts {
            tiers: vec![Choice {
                question: Question::TimeWaitEnd,
                tier,
                lost: None,
            }],
            ..Facts::default()
        };
        let unexplained = |facts: &Facts, remote: &str, cause: &str| {
            let mut birth = event(CLIENT, SERVER, Value::Null);
            birth["mono_ns"] = json!(1);
            let mut end = event(CLIENT, remote, json!(cause));
            end["inferred"] = json!(true);
            let mut scenario = scenario();
            scenario.ending.sockets.clear();
            let wrong = judge_one(&scenario, facts, vec![birth, end]);
            let unexplained = wrong.iter().filter(|wrong| wrong.starts_with("not by"));
            unexplained.count()
        };
        assert_eq!(unexplained(&tier(Tier::Inferred), SERVER, "purged"), 0);
        assert_eq!(unexplained(&tier(Tier::Inferred), SERVER, "killed"), 1);
        assert_eq!(unexplained(&tier(Tier::Inferred), CLIENT, "purged"), 1);
        assert_eq!(unexplained(&tier(Tier::Fentry), SERVER, "purged"), 1);
    }

    fn scenario() -> Accepted {
        Accepted {
            name: "a".to_owned(),
            namespace: Namespace::default(),
            truth: Box::new(Played {
                alternatives: vec![Vec::new()],
                ..Played::default()
            }),
            ending: ending(false),
        }
    }

    #[test]
    fn what_came_late_but_happened_before_is_the_scenarios() {
        let scenario = scenario();
        let wrong = |mono_ns: u64| {
            let mut event = event(CLIENT, SERVER, Value::Null);
            event["event"] = json!("reset");
            event["mono_ns"] = json!(mono_ns);
            judge_one(&scenario, &Facts::default(), vec![event]).len()
        };
        assert!(wrong(4) > 0);
        assert_eq!(wrong(5), 0);
    }
}
