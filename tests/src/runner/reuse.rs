//! Compares what a report says of TIME_WAITs that connects reused or could not reuse.

use serde_json::{Value, json};

use crate::{
    expect::{
        compare::field,
        environment::{Facts, Question, Tier},
    },
    stage::finding::{Played, ReuseTruth},
};

/// Differences. Only for scenarios that report the truth of it.
pub fn judge(played: &Played, facts: &Facts, netns: u64, report: &Value) -> Vec<String> {
    let ends = facts.tier(Question::TimeWaitEnd);
    let by_hook = |tier| matches!(tier, Tier::Fentry | Tier::Kprobe);
    let sees_refused = by_hook(ends) && by_hook(facts.tier(Question::Port));
    let mut wrong = Vec::new();
    let is_exact = sees_refused && !is_skipped(report);
    if report["exact"]["refused_reuse"] != is_exact {
        wrong.push(format!(
            "exact is {}, the reasons are {}",
            report["exact"], report["inexact"]
        ));
    }
    for truth in &played.reuse {
        let expected = json!({
            "taken": truth.taken,
            "hindered": if sees_refused { truth.hindered } else { 0 },
            "refused": if sees_refused { json!(truth.refused) } else { json!({}) },
        });
        for (list, row) in [
            ("processes", of_process(truth, report)),
            ("destinations", of_destination(truth, netns, report)),
        ] {
            let counted = row.map(|row| &row["reuse"]);
            // If ends are presumed, it is not always known which process reused a tuple.
            if list == "processes" && ends == Tier::Inferred {
                continue;
            }
            if counted.unwrap_or(&Value::Null) != &expected {
                wrong.push(format!(
                    "reuse in {list} is {counted:?} for {truth:?}, not {expected}"
                ));
            }
        }
    }
    wrong
}

/// Whether the report says that the kernel skipped a program which would have counted some, and the kernel also says
/// so.
fn is_skipped(report: &Value) -> bool {
    let is_counted = |program: &Value| {
        rows(report, "recursion_misses")
            .any(|row| row["program"] == *program && row["count"].as_u64() > Some(0))
    };
    let is_about_reuse = |row: &&Value| {
        let mut figures = row["figures"].as_array().into_iter().flatten();
        figures.any(|figures| figures == "refused_reuse")
    };
    rows(report, "inexact")
        .filter(is_about_reuse)
        .any(|row| is_counted(&row["by"]))
}

fn rows<'a>(report: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    report[list].as_array().into_iter().flatten()
}

fn of_process<'a>(truth: &ReuseTruth, report: &'a Value) -> Option<&'a Value> {
    rows(report, "processes").find(|row| field(row, "process.comm") == truth.comm.as_str())
}

fn of_destination<'a>(truth: &ReuseTruth, netns: u64, report: &'a Value) -> Option<&'a Value> {
    let remote = truth.destination.to_string();
    rows(report, "destinations").find(|row| {
        row["netns"] == netns && row["side"] == "client" && row["remote"] == remote.as_str()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::environment::Choice;

    fn facts(ends: Tier) -> Facts {
        let choice = |question, tier| Choice {
            question,
            tier,
            lost: None,
        };
        Facts {
            tiers: vec![
                choice(Question::TimeWaitEnd, ends),
                choice(Question::Port, Tier::Fentry),
            ],
            ..Facts::default()
        }
    }

    #[test]
    fn a_tier_tells_what_it_sees_and_no_more() {
        let played = Played {
            reuse: vec![ReuseTruth {
                comm: "c2".to_owned(),
                destination: "127.0.0.1:80".parse().unwrap(),
                taken: 4,
                hindered: 2,
                refused: [("disabled".to_owned(), 8)].into(),
            }],
            ..Played::default()
        };
        let report = |seen: bool, reuse: Value| {
            json!({
                "exact": {"refused_reuse": seen},
                "processes": [{"process": {"comm": "c2"}, "reuse": reuse}],
                "destinations": [
                    {"netns": 7, "side": "client", "remote": "127.0.0.1:80", "reuse": reuse},
                ],
            })
        };
        let all = json!({"taken": 4, "hindered": 2, "refused": {"disabled": 8}});
        let some = json!({"taken": 4, "hindered": 0, "refused": {}});
        let right = |tier, report: Value| judge(&played, &facts(tier), 7, &report).is_empty();
        assert!(right(Tier::Fentry, report(true, all.clone())));
        assert!(!right(Tier::Fentry, report(true, some.clone())));
        assert!(!right(Tier::Fentry, report(false, all.clone())));
        assert!(right(Tier::Timer, report(false, some)));
        assert!(!right(Tier::Timer, report(false, all)));
    }
}
