//! Two builds of twtrace side by side: this one's cost as a multiple of the other's.

use std::fmt::Write as _;

use super::{
    pairs::{Measured, RunSample},
    spread::Spread,
    table::cell,
};

/// A table of ratios, this build divided by the other; empty if no other build was measured.
pub fn of(all: &[Measured]) -> String {
    let mut text = String::new();
    for other in all.iter().filter(|one| one.subject.other_build.is_some()) {
        let this = all.iter().find(|this| {
            this.subject.other_build.is_none() && this.subject.differs_by_build_only(&other.subject)
        });
        if let Some(this) = this {
            let _ = writeln!(text, "| {} |", row(this, other).join(" | "));
        }
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "This build as a multiple of the other one, run by run:\n\n\
         | tracer | throughput | CPU of the machine | BPF ns/conn | BPF runs/conn | own CPU ns/conn |\n\
         |---|---|---|---|---|---|\n{text}\n"
    )
}

fn row(this: &Measured, other: &Measured) -> Vec<String> {
    // Of pairs, each of which is divided by the untraced runs beside it first.
    let of_pairs = |of: fn(&RunSample) -> f64| {
        let pairs = this.pairs.iter().zip(&other.pairs);
        Spread::of(pairs.map(|(this, other)| this.ratio(of) / other.ratio(of)))
    };
    let own = this.pairs.iter().zip(&other.pairs);
    let own = own.map(|(this, other)| this.traced.tracer_ns / other.traced.tracer_ns);
    let of_counted = |of: fn(&RunSample) -> f64| {
        let runs = this.counted.iter().zip(&other.counted);
        Spread::of(runs.map(|(this, other)| of(this) / of(other)))
    };
    vec![
        this.subject.title(),
        cell(of_pairs(|sample| 1.0 / sample.played.elapsed_ns as f64), 3),
        cell(of_pairs(|sample| sample.machine_ns), 3),
        cell(of_counted(RunSample::bpf_ns), 3),
        cell(of_counted(RunSample::bpf_runs), 3),
        cell(Spread::of(own), 3),
    ]
}
