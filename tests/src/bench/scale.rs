//! Whether the cost of an event depends on the number of processes and destinations.

use std::fmt::Write as _;

use anyhow::Result;

use super::{
    meter::BpfStatistics,
    pairs::{self, RunSample},
    spread::Spread,
    table::cell,
    tracer::{Setup, TracerKind},
};

/// TIME_WAITs of the memory section: all are alive at the same time, since a TIME_WAIT lasts one minute.
const MANY: u64 = 1_000_000;
const MANY_TUPLES: u32 = 100_000;
const MANY_PROCESSES: u64 = 10_000;
/// The base of all comparisons.
const FEW_TUPLES: u32 = 16;

fn load(connections: u64, processes: u64, tuples: u32) -> Vec<String> {
    format!("--connections {connections} --processes {processes} --tuples {tuples}")
        .split(' ')
        .map(str::to_owned)
        .collect()
}

/// A table of costs by number.
pub fn measure(setup: &Setup, connections: u64, rounds: u32) -> Result<String> {
    let statistics = BpfStatistics::keep()?;
    statistics.set(true)?;
    // At most the number of ports of one destination; and ten times that.
    let few = connections.min(40_000);
    let settings = [
        (few, 1, FEW_TUPLES),
        (few, 100, FEW_TUPLES),
        (few, MANY_PROCESSES.min(few / 4), FEW_TUPLES),
        (few, 1, 1),
        (few, 1, 1_000),
        (few * 10, 1, FEW_TUPLES),
        (few * 10, MANY_PROCESSES, FEW_TUPLES),
        // A destination without a connection would also be counted.
        (few * 10, 1, MANY_TUPLES.min(few as u32 * 10)),
    ];
    let mut samples: Vec<Vec<RunSample>> = vec![Vec::new(); settings.len()];
    for _ in 0..rounds {
        for (setting, samples) in settings.iter().zip(&mut samples) {
            let (connections, processes, tuples) = *setting;
            eprintln!("bench: scale, {processes} processes, {tuples} destinations");
            let load = load(connections, processes, tuples);
            samples.push(pairs::sample(TracerKind::Report, setup, &load)?);
        }
    }
    let mut text = format!(
        "### Many processes, many destinations\n\n`twtrace report`, by number of client processes, which live one after \
         the other, and of destinations. `of one` is the figure before it as a multiple of that of one process and \
         {FEW_TUPLES} destinations with as many connections; what there is more of own CPU time, for each process or \
         destination, is `for one more`.\n\n\
         | connections | processes | destinations | BPF of one | own CPU of one | own CPU ns for one more | BPF ns/conn | \
         own CPU ns/conn | peak MiB | seen | lost |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut one = (0.0, 0.0);
    for ((connections, processes, tuples), samples) in settings.iter().zip(&samples) {
        let (bpf, own) = (median(samples, RunSample::bpf_ns), median(samples, own_ns));
        if (*processes, *tuples) == (1, FEW_TUPLES) {
            one = (bpf, own);
        }
        let many = (*processes).max(u64::from(*tuples));
        let each = if many > u64::from(FEW_TUPLES) {
            format!("{:.0}", (own - one.1) * *connections as f64 / many as f64)
        } else {
            "-".to_owned()
        };
        let _ = write!(
            text,
            "| {connections} | {processes} | {tuples} | {:.2} | {:.2} | {each} |",
            bpf / one.0,
            own / one.1,
        );
        text += &tail(samples);
    }
    text.push('\n');
    Ok(text)
}

/// CPU time of the tracer per connection.
fn own_ns(sample: &RunSample) -> f64 {
    sample.each(sample.tracer_ns)
}

fn median(samples: &[RunSample], of: fn(&RunSample) -> f64) -> f64 {
    Spread::of(samples.iter().map(of)).map_or(0.0, |spread| spread.median)
}

fn tail(samples: &[RunSample]) -> String {
    let peak_kib = samples
        .iter()
        .map(|sample| sample.peak_kib)
        .max()
        .unwrap_or(0);
    let truth: u64 = samples
        .iter()
        .map(|sample| sample.played.births_client)
        .sum();
    let right: u64 = samples.iter().filter_map(RunSample::right).sum();
    let lost: u64 = samples
        .iter()
        .filter_map(|sample| Some(sample.said.as_ref()?.lost))
        .sum();
    format!(
        " {} | {} | {:.1} | {:.2} % | {lost} |\n",
        cell(Spread::of(samples.iter().map(RunSample::bpf_ns)), 0),
        cell(Spread::of(samples.iter().map(own_ns)), 0),
        peak_kib as f64 / 1024.0,
        right as f64 * 100.0 / truth as f64,
    )
}

/// A million live TIME_WAITs; a tenth of that if runs are short.
pub fn memory(setup: &Setup, connections: u64) -> Result<String> {
    let statistics = BpfStatistics::keep()?;
    statistics.set(true)?;
    let many = MANY.min(connections * 25);
    let mut text = format!(
        "### {many} TIME_WAITs alive, {MANY_TUPLES} destinations\n\n\
         | options | BPF ns/conn | own CPU ns/conn | peak MiB | seen | lost | maps MiB |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for options in ["", "--max-sockets 2097152"] {
        eprintln!("bench: memory {options}");
        let mut setup = setup.clone();
        setup
            .options
            .extend(options.split_whitespace().map(str::to_owned));
        let sample = pairs::sample(TracerKind::Report, &setup, &load(many, 1, MANY_TUPLES))?;
        let maps = sample.map_bytes as f64 / 1_048_576.0;
        let row = tail(&[sample]);
        let _ = writeln!(
            text,
            "| {} |{} {maps:.1} |",
            if options.is_empty() {
                "defaults"
            } else {
                options
            },
            row.trim_end()
        );
    }
    text.push('\n');
    Ok(text)
}
