//! `twtrace doctor`

use std::process::ExitCode;

use anyhow::{Result, bail};
use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::event::json;

use super::print;
use super::source::FigureSource;
use super::source::live::LiveOptions;
use super::source::measure::Measurement;
use crate::cli::DoctorArgs;
use crate::output::diagnosis;
use crate::privilege::Keep;
use crate::session::observer::Wants;

/// Exit code if a finding is as bad as `--fail-on` says.
const FOUND: u8 = 3;

/// Counts for a while, or to the end of past data, then diagnoses and prints.
pub async fn run(args: DoctorArgs) -> Result<ExitCode> {
    let source = FigureSource::of(&args.from, &args.store);
    if let FigureSource::History(..) = source
        && args.keep.order().is_some()
    {
        bail!("--store reads what was counted: there is nothing to record");
    }
    let options = LiveOptions {
        filter: &args.filter,
        probing: &args.probing,
        wants: Wants::ALL,
        sample_interval: None,
        max_stacks: None,
        is_service: false,
        keep: Keep::Naming,
        command: &[],
    };
    let measurement = Measurement {
        options,
        duration: Some(args.duration),
        record: args.keep.order(),
    };
    let gathered = source.gather(measurement).await?;
    let summaries = gathered.summaries.into_iter();
    let diagnoses: Vec<Diagnosis> = summaries
        .map(|summary| summary.into_views().diagnosis)
        .collect();
    let code = print_all(&args, &diagnoses)?;
    gathered.outcome.map(|()| code)
}

/// The exit code is that of the worst finding.
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
        // The diagnosis stands, even if the reader did not want all of it.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(code),
        printed => Ok(printed.map(|()| code)?),
    }
}
