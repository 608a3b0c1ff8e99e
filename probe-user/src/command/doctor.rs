//! `twtrace doctor`

use std::process::ExitCode;

use anyhow::{Result, bail};
use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::event::json;
use twtrace_core::model::tally::Tally;

use super::history;
use super::live::Order;
use super::measure::measure;
use super::print;
use super::replay::Replay;
use crate::cli::DoctorArgs;
use crate::output::diagnosis;
use crate::privilege::Keep;
use crate::session::observer::Wants;

/// There is a finding as bad as `--fail-on` says.
const FOUND: u8 = 3;

/// Counts for a while, or to the end of recordings, then judges, and prints.
pub async fn run(args: DoctorArgs) -> Result<ExitCode> {
    if args.from.is_given() {
        return replay(&args);
    }
    if let Some(directory) = &args.store.store {
        if args.keep.order().is_some() {
            bail!("--store reads what was counted: there is nothing to record");
        }
        let past = history::read(directory, &args.from, &args.filter)?;
        return print_all(&args, &[past.diagnosis]);
    }
    let order = Order {
        filter: &args.filter,
        probing: &args.probing,
        wants: Wants::ALL,
        look_interval: None,
        max_stacks: None,
        is_service: false,
        keep: Keep::Naming,
        command: &[],
    };
    let measured = measure(order, Some(args.duration), args.keep.order()).await?;
    let code = print_all(&args, &diagnoses(&[measured.tally]))?;
    measured.recorded.map(|()| code)
}

fn replay(args: &DoctorArgs) -> Result<ExitCode> {
    let counted = Replay::open(&args.from, &args.filter)?.count()?;
    let code = print_all(args, &diagnoses(&counted.tallies))?;
    counted.outcome.map(|()| code)
}

/// One for each host.
fn diagnoses(tallies: &[Tally]) -> Vec<Diagnosis> {
    let tallies = tallies.iter();
    tallies
        .map(|tally| Diagnosis::of(tally, tally.report()))
        .collect()
}

/// The exit code is that of the worst.
fn print_all(args: &DoctorArgs, diagnoses: &[Diagnosis]) -> Result<ExitCode> {
    let worst = diagnoses.iter().filter_map(Diagnosis::worst).max();
    let code = match (args.fail_on, worst) {
        (Some(level), Some(worst)) if worst >= level => ExitCode::from(FOUND),
        _ => ExitCode::SUCCESS,
    };
    let mut text = Vec::new();
    for (number, diagnosis) in diagnoses.iter().enumerate() {
        if args.json {
            json::append(&mut text, diagnosis)?;
            continue;
        }
        if number > 0 {
            text.push(b'\n');
        }
        text.extend(diagnosis::render(diagnosis).into_bytes());
    }
    match print(&text) {
        // The judgement stands, whether the reader wanted all of it or not.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(code),
        printed => Ok(printed.map(|()| code)?),
    }
}
