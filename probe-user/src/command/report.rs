//! `twtrace report`

use anyhow::{Context, Result};

use super::measure::{Order, measure};
use super::print;
use crate::cli::ReportArgs;
use crate::output::table::By;
use crate::output::{folded, json, table};

/// Counts until the end, then prints.
pub async fn run(args: ReportArgs) -> Result<()> {
    let ReportArgs {
        by,
        stacks,
        view: args,
    } = args;
    let measured = measure(Order {
        duration: args.span.duration,
        filter: &args.filter,
        probing: &args.probing,
        wants_budgets: args.span.json || by.is_empty() || by.contains(&By::Budget),
        max_stacks: stacks.wanted(),
        wants_diagnostics: false,
    })
    .await?;
    if let (Some(path), Some(rows)) = (&stacks.folded, &measured.report.stacks) {
        std::fs::write(path, folded::render(rows))
            .with_context(|| format!("writing the folded stacks to {}", path.display()))?;
    }
    let text = if args.span.json {
        let mut text = Vec::new();
        json::append(&mut text, &measured.report)?;
        text
    } else {
        table::render(&measured.report, &by).into_bytes()
    };
    Ok(print(&text)?)
}
