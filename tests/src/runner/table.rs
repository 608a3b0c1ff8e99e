//! Compares TIME_WAITs of a report by source and destination with the kernel's own list of sockets.

use serde_json::Value;

use super::judge::side_word;
use crate::{
    expect::Side,
    stage::finding::{Played, TableRow},
};

/// One row: source and destination, and the number.
type TableLine = (String, u64);

/// Differences in the destinations and port pools of this namespace. Only for scenarios with a table.
pub fn judge(played: &Played, netns: u64, report: &Value) -> Vec<String> {
    if played.table.is_empty() {
        return Vec::new();
    }
    let destinations = lines(report, "destinations", netns, |row| {
        let side = row["side"].as_str()?;
        let end = if side == "server" { "local" } else { "remote" };
        Some(format!("{side} {}", row[end].as_str()?))
    });
    let by_destination = sum(played.table.iter().map(|row| {
        let key = format!("{} {}", side_word(row.side), row.destination);
        (key, row.count)
    }));
    let budgets = lines(report, "budgets", netns, |row| {
        let (source, destination) = (row["source"].as_str()?, row["destination"].as_str()?);
        Some(format!("{source} {destination}"))
    });
    let is_clients = |row: &&TableRow| row.side == Side::Client;
    let by_source = sum(played.table.iter().filter(is_clients).map(|row| {
        let key = format!("{} {}", row.source, row.destination);
        (key, row.count)
    }));
    [
        ("destinations", destinations, by_destination),
        ("budgets", budgets, by_source),
    ]
    .into_iter()
    .filter(|(_, counted, kernel)| counted != kernel)
    .map(|(name, counted, kernel)| format!("{name} are {counted:?}, /proc/net/tcp has {kernel:?}"))
    .collect()
}

fn lines(
    report: &Value,
    list: &str,
    netns: u64,
    key: impl Fn(&Value) -> Option<String>,
) -> Vec<TableLine> {
    let rows = report[list].as_array().into_iter().flatten();
    let mut lines: Vec<TableLine> = rows
        .filter(|row| row["netns"] == netns && row["time_wait"] != 0)
        .map(|row| {
            let key = key(row).unwrap_or_else(|| row.to_string());
            (key, row["time_wait"].as_u64().unwrap_or(0))
        })
        .collect();
    // A row that appears twice must not be added up: the kernel's rows are.
    lines.sort();
    lines
}

fn sum(lines: impl Iterator<Item = TableLine>) -> Vec<TableLine> {
    let mut sums = std::collections::BTreeMap::new();
    for (key, count) in lines {
        *sums.entry(key).or_insert(0) += count;
    }
    sums.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn played() -> Played {
        let row = |source: &str, destination: &str, side, count| TableRow {
            source: source.parse().unwrap(),
            destination: destination.to_owned(),
            side,
            count,
        };
        Played {
            table: vec![
                row("10.0.0.1", "10.0.0.9:80", Side::Client, 2),
                row("10.0.0.2", "10.0.0.9:80", Side::Client, 3),
                row("10.0.0.1", ":22", Side::Server, 1),
            ],
            ..Played::default()
        }
    }

    fn report(to_first: u64, servers: u64) -> Value {
        json!({
            "destinations": [
                {"netns": 7, "side": "server", "local": ":22", "remote": null, "time_wait": servers},
                {"netns": 7, "side": "client", "local": null, "remote": "10.0.0.9:80", "time_wait": 5},
                {"netns": 7, "side": "client", "local": null, "remote": "10.0.0.9:81", "time_wait": 0},
                {"netns": 8, "side": "client", "local": null, "remote": "10.0.0.9:80", "time_wait": 9},
            ],
            "budgets": [
                {"netns": 7, "source": "10.0.0.2", "destination": "10.0.0.9:80", "time_wait": 3},
                {"netns": 7, "source": "10.0.0.1", "destination": "10.0.0.9:80", "time_wait": to_first},
            ],
        })
    }

    #[test]
    fn each_line_must_be_the_kernels() {
        assert_eq!(judge(&played(), 7, &report(2, 1)), Vec::<String>::new());
        assert_eq!(judge(&played(), 7, &report(1, 1)).len(), 1);
        assert_eq!(judge(&played(), 7, &report(2, 0)).len(), 1);
        assert_eq!(judge(&played(), 8, &report(2, 1)).len(), 2);
        assert_eq!(judge(&Played::default(), 7, &report(1, 0)).len(), 0);
    }
}
