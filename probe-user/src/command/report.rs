//! `twtrace report`

use std::process::ExitCode;

use anyhow::Result;

use super::measure::{Order, measure};
use crate::cli::ReportArgs;
use crate::output::table::By;
use crate::output::target::Target;
use crate::output::{json, table};

/// Counts until the end, then prints.
pub async fn run(args: ReportArgs) -> Result<ExitCode> {
    let ReportArgs { by, view: args } = args;
    let command = &args.command.command;
    let target = Target::open(args.output.output.as_deref(), !command.is_empty())?;
    let measured = measure(Order {
        duration: args.span.duration,
        filter: &args.filter,
        probing: &args.probing,
        wants_budgets: args.span.json || by.is_empty() || by.contains(&By::Budget),
        wants_diagnostics: false,
        command,
    })
    .await?;
    let text = if args.span.json {
        let mut text = Vec::new();
        json::append(&mut text, &measured.report)?;
        text
    } else {
        table::render(&measured.report, &by).into_bytes()
    };
    let printed = target.print(&text);
    let Some(code) = measured.command_exit_code else {
        return Ok(printed.map(|()| ExitCode::SUCCESS)?);
    };
    match printed {
        // The command's code stands, whether the reader wanted all of the report or not.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::from(code)),
    }
}
