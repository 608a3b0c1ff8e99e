//! Compares the report's list of connections in CLOSE_WAIT with the truth.

use serde_json::Value;

use crate::{
    expect::compare::field,
    stage::finding::{ExpectedCloseWait, Played},
};

use super::judge::side_word;

/// The kernel reports ages in its ticks, of 10 ms at most.
const TICK_NS: u64 = 10_000_000;

/// Differences in the list, as far as it is about this namespace. Only for scenarios that leave connections in
/// CLOSE_WAIT.
pub fn judge(played: &Played, netns: u64, report: &Value) -> Vec<String> {
    if played.close_wait.is_empty() {
        return Vec::new();
    }
    let Some(rows) = report["close_wait"].as_array() else {
        return vec!["the report has no list \"close_wait\"".to_owned()];
    };
    let rows: Vec<&Value> = rows.iter().filter(|row| row["netns"] == netns).collect();
    let mut wrong: Vec<String> = played
        .close_wait
        .iter()
        .filter(|expected| !rows.iter().any(|row| fits(expected, row)))
        .map(|expected| format!("no row in close_wait for {expected:?}"))
        .collect();
    let unexpected = rows
        .iter()
        .filter(|row| !played.close_wait.iter().any(|expected| fits(expected, row)));
    wrong.extend(unexpected.map(|row| format!("a row in close_wait that nobody caused: {row}")));
    if rows.len() > played.close_wait.len() {
        wrong.push(format!("{} rows in close_wait", rows.len()));
    }
    wrong
}

fn fits(expected: &ExpectedCloseWait, row: &Value) -> bool {
    let who = match (&expected.pid, &expected.comm) {
        (Some(pid), Some(comm)) => {
            field(row, "process.pid") == *pid
                && field(row, "process.comm") == comm.as_str()
                && row["unattributed"].is_null()
        }
        _ => row["process"].is_null() && row["unattributed"] == "not_accepted",
    };
    let side = side_word(expected.side);
    let (given, other) = match side {
        "server" => ("local", "remote"),
        _ => ("remote", "local"),
    };
    let at_least_ns = row["oldest_ns"].as_u64();
    who && row["side"] == side
        && row[given] == expected.destination.as_str()
        && row[other].is_null()
        && row["count"] == expected.count
        && row["shared"] == expected.shared
        && at_least_ns.is_some_and(|age_ns| age_ns + TICK_NS >= expected.at_least_ns)
        && at_least_ns <= row["oldest_at_most_ns"].as_u64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::expect::Side;

    fn played() -> Played {
        Played {
            close_wait: vec![ExpectedCloseWait {
                pid: Some(5),
                comm: Some("leaky".to_owned()),
                side: Side::Server,
                destination: ":80".to_owned(),
                count: 3,
                shared: 0,
                at_least_ns: 1_000_000_000,
            }],
            ..Played::default()
        }
    }

    fn row() -> Value {
        json!({
            "process": {"pid": 5, "comm": "leaky"}, "unattributed": null, "netns": 42, "side": "server",
            "local": ":80", "remote": null, "count": 3, "shared": 0, "oldest_ns": 1_000_000_000,
            "oldest_at_most_ns": 1_100_000_000,
        })
    }

    fn judged(rows: &[Value]) -> usize {
        judge(&played(), 42, &json!({ "close_wait": rows })).len()
    }

    #[test]
    fn a_right_list_passes_and_others_do_not() {
        let mut elsewhere = row();
        elsewhere["netns"] = json!(43);
        assert_eq!(judged(&[row(), elsewhere]), 0);
        assert_eq!(judged(&[]), 1);
        for (name, value) in [
            ("count", json!(2)),
            ("local", json!(":81")),
            ("oldest_ns", json!(1)),
            ("oldest_at_most_ns", json!(5)),
            ("process", json!({"pid": 6, "comm": "leaky"})),
        ] {
            let mut wrong = row();
            wrong[name] = value;
            // The correct entry is missing, and this one is surplus.
            assert_eq!(judged(&[wrong]), 2, "{name}");
        }
        assert_eq!(judge(&played(), 42, &json!({})).len(), 1);
    }
}
