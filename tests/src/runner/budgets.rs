//! Compares the port pools in a report with what then happened.

use serde_json::{Value, json};

use crate::stage::finding::BudgetTruth;

/// How far the predicted time may be off, as a fraction of it.
const TOLERANCE: f64 = 0.2;
const DAY_S: f64 = 86_400.0;

/// Differences; empty if there are none.
pub fn judge(truth: &[BudgetTruth], netns: u64, report: &Value, rows: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for budget in truth {
        let (pool, destination) = match budget.destination {
            Some(destination) => ("connect", json!(destination.to_string())),
            None => ("bind", Value::Null),
        };
        let found = rows.iter().find(|row| {
            row["netns"] == netns
                && row["pool"] == pool
                && row["destination"] == destination
                && row["socket_range"] == budget.own_range
        });
        match found {
            None => wrong.push(format!("no budget of {pool} for {destination}")),
            Some(row) => {
                wrong.extend(figures(budget, row));
                let Some(ran_out_ns) = budget.ran_out_ns else {
                    continue;
                };
                match left_s(report, ran_out_ns) {
                    Some(left_s) => wrong.extend(prediction(left_s, row)),
                    None => wrong.push(format!("the report ends at {}", report["end"])),
                }
            }
        }
    }
    wrong
}

fn figures(budget: &BudgetTruth, row: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must_be = |field: &str, value: u64| {
        if row[field] != value {
            wrong.push(format!("{field} is not {value}: {row}"));
        }
    };
    must_be("capacity", budget.capacity);
    must_be("failures", budget.failures);
    if let Some(time_wait) = budget.time_wait {
        must_be("time_wait", time_wait);
        must_be("time_wait_reusable", 0);
        must_be("live", 0);
        let free = budget.capacity - time_wait;
        must_be("free", free);
        if (row["outlook"] == "full") != (free == 0) {
            wrong.push(format!("{free} are free: {row}"));
        }
    }
    wrong
}

fn prediction(left_s: f64, row: &Value) -> Option<String> {
    let predicted_s = row["full_in_ns"].as_f64().map(|ns| ns / 1e9);
    let is_near = predicted_s.is_some_and(|predicted_s| {
        row["outlook"] == "runs_out" && (predicted_s - left_s).abs() <= left_s * TOLERANCE
    });
    if is_near {
        println!("     predicted {predicted_s:.2?} s, it was {left_s:.2} s");
        None
    } else {
        Some(format!("ports ran out {left_s:.2} s later: {row}"))
    }
}

/// Seconds from the end of the report to a time of CLOCK_REALTIME, less than a day later.
fn left_s(report: &Value, moment_ns: u64) -> Option<f64> {
    let (_, time) = report["end"].as_str()?.strip_suffix('Z')?.split_once('T')?;
    let mut end_s = 0.0;
    for part in time.split(':') {
        end_s = end_s * 60.0 + part.parse::<f64>().ok()?;
    }
    Some((moment_ns as f64 / 1e9 - end_s).rem_euclid(DAY_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_counted_over_midnight() {
        let report = json!({"end": "2026-01-01T23:59:59.500000000Z"});
        assert_eq!(left_s(&report, 86_401 * 1_000_000_000), Some(1.5));
    }

    #[test]
    fn a_prediction_may_be_off_by_a_fifth() {
        let row = |full_in_ns: u64| json!({"outlook": "runs_out", "full_in_ns": full_in_ns});
        assert_eq!(prediction(10.0, &row(8_100_000_000)), None);
        assert!(prediction(10.0, &row(7_900_000_000)).is_some());
        assert!(prediction(10.0, &json!({"outlook": "never", "full_in_ns": null})).is_some());
    }
}
