//! `twtrace report`

use anyhow::{Context, Result};

use super::measure::{Measured, Order, measure};
use super::print;
use crate::cli::ReportArgs;
use crate::doctor::diagnosis::Diagnosis;
use crate::doctor::facts::Facts;
use crate::output::file::WholeFile;
use crate::output::html::{self, Page};
use crate::output::table::By;
use crate::output::{json, table};

/// Counts until the end, then prints, and writes the page if one is asked for.
pub async fn run(args: ReportArgs) -> Result<()> {
    let ReportArgs {
        by,
        html,
        view: args,
    } = args;
    let page = html.as_deref().map(WholeFile::create);
    let page = page.transpose().context("--html")?;
    let is_text = !args.span.json && page.is_none();
    let measured = measure(Order {
        duration: args.span.duration,
        filter: &args.filter,
        probing: &args.probing,
        wants_budgets: !is_text || by.is_empty() || by.contains(&By::Budget),
        wants_diagnostics: page.is_some(),
        writes_file: page.is_some(),
    })
    .await?;
    let text = if args.span.json {
        let mut text = Vec::new();
        json::append(&mut text, &measured.report)?;
        text
    } else {
        table::render(&measured.report, &by).into_bytes()
    };
    // The page first: whoever reads the tables may have gone.
    if let Some(file) = page {
        file.write(self::page(measured).as_bytes())
            .context("--html")?;
    }
    Ok(print(&text)?)
}

fn page(measured: Measured) -> String {
    let found = measured.diagnostics.unwrap_or_default();
    let left_out = found.dealings.left_out();
    let report = measured.report.clone();
    let facts = Facts::new(measured.report, &found.dealings, found.before, found.after);
    let diagnosis = Diagnosis::new(facts, &measured.filter, left_out);
    html::render(&Page {
        report: &report,
        timeline: &measured.timeline,
        findings: &diagnosis.findings,
        caveats: &diagnosis.caveats,
    })
}
