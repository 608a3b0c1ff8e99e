//! `twtrace report`

use anyhow::Result;

use super::measure::{Order, measure};
use super::print;
use crate::cli::ReportArgs;
use crate::output::table::By;
use crate::output::{json, table};

/// Counts until the end, then prints.
pub async fn run(args: ReportArgs) -> Result<()> {
    let ReportArgs { by, view: args } = args;
    let measured = measure(Order {
        duration: args.span.duration,
        filter: &args.filter,
        probing: &args.probing,
        wants_budgets: args.span.json || by.is_empty() || by.contains(&By::Budget),
        wants_diagnostics: false,
    })
    .await?;
    let text = if args.span.json {
        let mut text = Vec::new();
        json::append(&mut text, &measured.report)?;
        text
    } else {
        table::render(&measured.report, &by).into_bytes()
    };
    Ok(print(&text)?)
}
