//! Cost targets, beside the measured cost.

use std::fmt::Write as _;

use super::{
    pairs::Measured,
    spread::Spread,
    table::{cell, of_empty},
    tracer::TracerKind,
};

/// Connections per second at which `report` should take little of a core.
const RATE: f64 = 30_000.0;

/// A table of the targets whose tracers were measured; empty without `report`.
pub fn of(all: &[Measured]) -> String {
    let of_who = |who| all.iter().find(|measured| measured.subject.who == who);
    let Some(report) = of_who(TracerKind::Report) else {
        return String::new();
    };
    let mut rows: Vec<(&str, String, &str)> = Vec::new();
    if let Some(ratio) = of_empty(report, all) {
        let what = "BPF time for a connection, of that of empty programs on the same hooks";
        rows.push((what, format!("{ratio:.2}"), "at most 3"));
    }
    let peer = of_who(TracerKind::Tcpstates);
    if let Some(times) = peer.and_then(|peer| times_less(peer.bpf_ns(), report.bpf_ns())) {
        let what = "BPF time for a connection, of that of `tcpstates`";
        rows.push((what, format!("1/{times:.1}"), "at most 1/20"));
    }
    if let Some(spread) = report.ratio(|sample| sample.machine_ns) {
        let null =
            of_who(TracerKind::Nobody).and_then(|null| null.ratio(|sample| sample.machine_ns));
        let beside = null.map_or_else(String::new, |null| format!("; null pairs {null:.3}"));
        let what = "CPU time of the machine for a connection, of untraced";
        rows.push((what, format!("{spread:.3}{beside}"), "at most 1.07"));
    }
    if let Some(times) =
        peer.and_then(|peer| times_less(for_each_reported(peer), for_each_reported(report)))
    {
        let what = "own CPU time for a TIME_WAIT reported, of that of `tcpstates`";
        rows.push((what, format!("1/{times:.1}"), "at most 1/5"));
    }
    if let Some(own) = report.own_ns() {
        let what = "share of a core at 30,000 connections a second (from own CPU ns/conn)";
        rows.push((what, percent_of_core(own), "under 10 %"));
    }
    let mut text = String::from(
        "`twtrace report` by what was wanted:\n\n| what | measured | wanted |\n|---|---|---|\n",
    );
    for (what, measured, wanted) in rows {
        let _ = writeln!(text, "| {what} | {measured} | {wanted} |");
    }
    text.push('\n');
    text
}

/// How many times smaller the second is.
fn times_less(more: Option<Spread>, less: Option<Spread>) -> Option<f64> {
    Some(more?.median / less?.median)
}

/// CPU time of a tracer's process per TIME_WAIT that it reported.
fn for_each_reported(measured: &Measured) -> Option<Spread> {
    Spread::of(measured.pairs.iter().filter_map(|pair| {
        let reported = pair.traced.right().filter(|reported| *reported > 0)?;
        Some(pair.traced.tracer_ns / reported as f64)
    }))
}

fn percent_of_core(own_ns: Spread) -> String {
    let percent = |ns: f64| ns * RATE / 1e9 * 100.0;
    let spread = Spread {
        low: percent(own_ns.low),
        median: percent(own_ns.median),
        high: percent(own_ns.high),
    };
    format!("{} %", cell(Some(spread), 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bench::{
            load::{LoadKind, LoadResult},
            pairs::{RunSample, TracedPair},
            subject::Subject,
            tracer::Said,
        },
        sys::bpf::Runs,
    };

    /// 100 connections, of which `told` are reported.
    fn sample(machine_ns: f64, tracer_ns: f64, bpf_ns: u64, reported: u64) -> RunSample {
        RunSample {
            played: LoadResult {
                kind: LoadKind::Plain,
                connections: 100,
                births_client: 100,
                births_server: 0,
                resets: 0,
                elapsed_ns: 1_000_000,
            },
            machine_ns,
            tracer_ns,
            runs: vec![Runs {
                name: "x".to_owned(),
                time_ns: bpf_ns,
                count: 100,
            }],
            peak_kib: 1,
            map_bytes: 1,
            said: Some(Said {
                births_client: reported,
                ..Said::default()
            }),
        }
    }

    fn measured(who: TracerKind, traced: RunSample) -> Measured {
        let alone = sample(1_000_000.0, 0.0, 0, 0);
        Measured {
            subject: Subject::plain(who),
            pairs: vec![TracedPair {
                traced: traced.clone(),
                alone: [alone.clone(), alone],
            }],
            counted: vec![traced],
            trouble: None,
        }
    }

    #[test]
    fn what_is_wanted_is_reckoned_from_what_was_measured() {
        let all = [
            measured(TracerKind::Nobody, sample(1_010_000.0, 0.0, 0, 0)),
            measured(TracerKind::Empty, sample(1_050_000.0, 0.0, 100_000, 0)),
            measured(
                TracerKind::Report,
                sample(1_200_000.0, 100_000.0, 500_000, 100),
            ),
            measured(TracerKind::Tcpstates, sample(5e6, 500_000.0, 5_000_000, 50)),
        ];
        let text = of(&all);
        for row in [
            "empty programs on the same hooks | 5.00 | at most 3 |",
            "that of `tcpstates` | 1/10.0 | at most 1/20 |",
            "of untraced | 1.200 (1.200–1.200); null pairs 1.010 (1.010–1.010) | at most 1.07 |",
            // It reported half of them, for five times the cost.
            "reported, of that of `tcpstates` | 1/10.0 | at most 1/5 |",
            // One microsecond for each.
            "own CPU ns/conn) | 3.0 (3.0–3.0) % | under 10 % |",
        ] {
            assert!(text.contains(row), "{row} is not in\n{text}");
        }
        assert_eq!(of(&all[..2]), "");
        assert_eq!(of(&all[2..3]).lines().count(), 6 + 1);
    }
}
