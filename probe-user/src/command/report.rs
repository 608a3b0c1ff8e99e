//! `twtrace report`

use std::process::ExitCode;

use anyhow::Result;

use super::live::Order;
use super::measure::measure;
use super::replay::Replay;
use crate::cli::ReportArgs;
use crate::model::report::Report;
use crate::output::table::By;
use crate::output::target::Target;
use crate::output::{json, table};
use crate::session::observer::Wants;

/// Counts until the end, or to the end of recordings, then prints.
pub async fn run(args: ReportArgs) -> Result<ExitCode> {
    if args.view.from.is_given() {
        return replay(&args);
    }
    let ReportArgs { by, keep, view } = &args;
    let command = &view.command.command;
    let target = Target::open(view.output.output.as_deref(), !command.is_empty())?;
    let order = Order {
        filter: &view.filter,
        probing: &view.probing,
        wants: Wants {
            sockets: view.span.json || by.is_empty() || by.contains(&By::Budget),
            namespaces: false,
        },
        look_interval: None,
        command,
    };
    let measured = measure(order, view.span.duration, keep.order()).await?;
    let mut text = Vec::new();
    append(&mut text, &measured.tally.report(), &args)?;
    let printed = target.print(&text);
    let Some(code) = measured.command_exit_code else {
        printed?;
        measured.recorded?;
        return Ok(ExitCode::SUCCESS);
    };
    match printed {
        // The command's code stands, whether the reader wanted all of the report or not.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    measured.recorded?;
    Ok(ExitCode::from(code))
}

fn replay(args: &ReportArgs) -> Result<ExitCode> {
    let view = &args.view;
    let target = Target::open(view.output.output.as_deref(), false)?;
    let counted = Replay::open(&view.from, &view.filter)?.count();
    let mut text = Vec::new();
    for (number, tally) in counted.tallies.iter().enumerate() {
        if number > 0 && !view.span.json {
            text.push(b'\n');
        }
        append(&mut text, &tally.report(), args)?;
    }
    target.print(&text)?;
    counted.outcome.map(|()| ExitCode::SUCCESS)
}

fn append(text: &mut Vec<u8>, report: &Report, args: &ReportArgs) -> Result<()> {
    match args.view.span.json {
        true => json::append(text, report)?,
        false => text.extend(table::render(report, &args.by).into_bytes()),
    }
    Ok(())
}
