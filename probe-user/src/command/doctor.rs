//! `twtrace doctor`

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::doctor::what_if::supposed::Supposed;
use twtrace_core::event::json;

use super::source::FigureSource;
use super::source::live::LiveOptions;
use super::source::measure::Measurement;
use super::source::summary::{Views, print_unmatched};
use crate::cli::DoctorArgs;
use crate::output::target::OutputTarget;
use crate::output::{diagnosis, fix_script};
use crate::privilege::Keep;
use crate::session::observer::Wants;

/// Exit code if a finding is as bad as `--fail-on` says.
const FOUND: u8 = 3;

/// Counts for a while, or to the end of past data, then diagnoses and prints.
pub async fn run(args: DoctorArgs) -> Result<ExitCode> {
    let supposed = match &*args.what_if {
        [] => None,
        changes => Some(Supposed::of(changes).context("--what-if")?),
    };
    let source = FigureSource::of(&args.from, &args.store);
    let command = &args.command.command;
    if let FigureSource::History(..) = source
        && (args.keep.order().is_some() || !command.is_empty())
    {
        bail!("--store reads what was counted: there is nothing to run or to record");
    }
    let target = OutputTarget::open(None, !command.is_empty())?;
    source.confine(&[]);
    let options = LiveOptions {
        filter: &args.filter,
        probing: &args.probing,
        wants: Wants::ALL,
        sample_interval: None,
        max_stacks: None,
        is_service: false,
        keep: Keep::Naming,
        command,
    };
    let measurement = Measurement {
        options,
        // A command ends it.
        duration: command.is_empty().then_some(args.duration),
        record: args.keep.order(),
        watch: None,
    };
    let gathered = source.gather(measurement).await?;
    let summaries = gathered.summaries.into_iter();
    let hosts: Vec<Views> = summaries
        .map(|host| host.into_views_supposing(supposed.as_ref()))
        .collect();
    print_unmatched(gathered.names.as_ref(), &args.filter, &hosts);
    let diagnoses: Vec<&Diagnosis> = hosts.iter().map(|host| &host.diagnosis).collect();
    if args.fix_script && diagnoses.len() > 1 {
        bail!("--fix-script is for one host: give --from one host's recording");
    }
    let code = exit_code(&args, &diagnoses, gathered.command_exit_code);
    print_all(target, &args, &diagnoses)?;
    gathered.outcome.map(|()| ExitCode::from(code))
}

/// The command's exit code, if that failed; else that of the worst finding.
fn exit_code(args: &DoctorArgs, diagnoses: &[&Diagnosis], of_command: Option<u8>) -> u8 {
    let worst = diagnoses.iter().filter_map(|host| host.worst()).max();
    match (of_command, args.fail_on, worst) {
        (Some(code @ 1..), ..) => code,
        (_, Some(level), Some(worst)) if worst >= level => FOUND,
        _ => 0,
    }
}

fn print_all(target: OutputTarget, args: &DoctorArgs, diagnoses: &[&Diagnosis]) -> Result<()> {
    let mut text = Vec::new();
    for (number, diagnosis) in diagnoses.iter().enumerate() {
        if args.json {
            json::append(&mut text, *diagnosis)?;
            continue;
        }
        if args.fix_script {
            text.extend(fix_script::render(diagnosis).into_bytes());
            continue;
        }
        if number > 0 {
            text.push(b'\n');
        }
        text.extend(diagnosis::render(diagnosis).into_bytes());
    }
    match target.print(|stream| stream.write_all(&text)) {
        // The diagnosis stands, even if the reader did not want all of it.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}
