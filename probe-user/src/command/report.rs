//! `twtrace report`

use std::process::ExitCode;

use anyhow::Result;

use super::live::Order;
use super::measure::measure;
use crate::cli::ReportArgs;
use crate::output::table::By;
use crate::output::target::Target;
use crate::output::{json, table};
use crate::session::observer::Wants;

/// Counts until the end, then prints.
pub async fn run(args: ReportArgs) -> Result<ExitCode> {
    let ReportArgs { by, view: args } = args;
    let command = &args.command.command;
    let target = Target::open(args.output.output.as_deref(), !command.is_empty())?;
    let order = Order {
        filter: &args.filter,
        probing: &args.probing,
        wants: Wants {
            sockets: args.span.json || by.is_empty() || by.contains(&By::Budget),
            namespaces: false,
        },
        look_interval: None,
        command,
    };
    let measured = measure(order, args.span.duration).await?;
    let report = measured.tally.report();
    let text = if args.span.json {
        let mut text = Vec::new();
        json::append(&mut text, &report)?;
        text
    } else {
        table::render(&report, &by).into_bytes()
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
