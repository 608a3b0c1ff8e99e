//! Tables in Markdown.

use std::fmt::Write as _;

use super::{
    pairs::{Measured, RunSample},
    spread::Spread,
    tracer::TracerKind,
};

/// `-` if there is no value.
pub fn cell(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(|| "-".to_owned(), |spread| format!("{spread:.digits$}"))
}

/// A row for each tracer.
pub fn of(all: &[Measured]) -> String {
    let mut text = String::from(
        "| tracer | throughput | CPU of the machine | BPF ns/conn | of empty | BPF runs/conn | own CPU ns/conn | peak MiB | maps MiB | seen | wrong | lost |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for measured in all {
        let _ = writeln!(text, "| {} |", row(measured, all).join(" | "));
    }
    text.push('\n');
    for measured in all {
        if let Some(trouble) = &measured.trouble {
            let _ = writeln!(text, "{}: {trouble}\n", measured.subject.title());
        }
    }
    text
}

/// Time in programs, as a multiple of the time of empty programs on the same hooks.
pub fn of_empty(measured: &Measured, all: &[Measured]) -> Option<f64> {
    let same = |other: &&Measured| {
        other.subject.who == TracerKind::Empty && other.subject.options == measured.subject.options
    };
    let is_ours =
        measured.subject.who.peer().is_none() && measured.subject.who != TracerKind::Empty;
    let empty = all.iter().find(same).filter(|_| is_ours)?;
    Some(measured.bpf_ns()?.median / empty.bpf_ns()?.median)
}

fn row(measured: &Measured, all: &[Measured]) -> Vec<String> {
    let most = |of: &dyn Fn(&RunSample) -> f64| {
        let value = measured.samples().map(of).fold(0.0, f64::max);
        if value > 0.0 {
            format!("{:.1}", value / 1_048_576.0)
        } else {
            "-".to_owned()
        }
    };
    let mut row = vec![
        measured.subject.title(),
        cell(
            measured.ratio(|sample| 1.0 / sample.played.elapsed_ns as f64),
            3,
        ),
        cell(measured.ratio(|sample| sample.machine_ns), 3),
        cell(measured.bpf_ns(), 0),
        of_empty(measured, all).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
        cell(measured.bpf_runs(), 1),
    ];
    if measured.subject.who == TracerKind::Nobody {
        row.extend(vec!["-".to_owned(); 6]);
        return row;
    }
    row.push(cell(measured.own_ns(), 0));
    row.push(most(&|sample| sample.peak_kib as f64 * 1024.0));
    row.push(most(&|sample| sample.map_bytes as f64));
    let truth: u64 = measured
        .samples()
        .map(|sample| sample.played.births_client + sample.played.births_server)
        .sum();
    let said: Vec<_> = measured
        .samples()
        .filter_map(|sample| Some((sample.right()?, sample.said.as_ref()?)))
        .collect();
    if said.is_empty() {
        row.extend(vec!["-".to_owned(); 3]);
        return row;
    }
    let right: u64 = said.iter().map(|(right, _)| right).sum();
    row.push(match truth {
        0 => right.to_string(),
        truth => format!("{:.2} %", right as f64 * 100.0 / truth as f64),
    });
    row.push(
        said.iter()
            .map(|(_, said)| said.wrong)
            .sum::<u64>()
            .to_string(),
    );
    row.push(
        said.iter()
            .map(|(_, said)| said.lost)
            .sum::<u64>()
            .to_string(),
    );
    row
}

/// Time of each program.
pub fn programs(all: &[Measured]) -> String {
    let mut text = String::new();
    for measured in all
        .iter()
        .filter(|measured| measured.subject.who == TracerKind::Report)
    {
        let Some(sample) = measured.counted.last() else {
            continue;
        };
        let _ = writeln!(
            text,
            "Programs of {}:\n\n| program | runs/conn | ns a run | ns/conn |\n|---|---|---|---|",
            measured.subject.title()
        );
        let mut runs = sample.runs.clone();
        runs.sort_by_key(|runs| std::cmp::Reverse(runs.time_ns));
        for runs in runs {
            let _ = writeln!(
                text,
                "| {} | {:.2} | {:.0} | {:.0} |",
                runs.name,
                sample.each(runs.count as f64),
                runs.time_ns as f64 / runs.count as f64,
                sample.each(runs.time_ns as f64)
            );
        }
        text.push('\n');
    }
    text
}
