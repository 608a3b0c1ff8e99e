//! `twtrace doctor`

use std::process::ExitCode;

use anyhow::Result;

use super::measure::{Order, measure};
use super::print;
use crate::cli::DoctorArgs;
use crate::doctor::diagnosis::Diagnosis;
use crate::doctor::facts::Facts;
use crate::output::{diagnosis, json};

/// There is a finding as bad as `--fail-on` says.
const FOUND: u8 = 3;

/// Counts for a while, then judges, and prints.
pub async fn run(args: DoctorArgs) -> Result<ExitCode> {
    let measured = measure(Order {
        duration: Some(args.duration),
        filter: &args.filter,
        probing: &args.probing,
        wants_budgets: true,
        max_stacks: None,
        wants_diagnostics: true,
    })
    .await?;
    let found = measured.diagnostics.unwrap_or_default();
    let left_out = found.dealings.left_out();
    let facts = Facts::new(measured.report, &found.dealings, found.before, found.after);
    let diagnosis = Diagnosis::new(facts, &measured.filter, left_out);
    let code = match (args.fail_on, diagnosis.worst()) {
        (Some(level), Some(worst)) if worst >= level => ExitCode::from(FOUND),
        _ => ExitCode::SUCCESS,
    };
    let text = if args.json {
        let mut text = Vec::new();
        json::append(&mut text, &diagnosis)?;
        text
    } else {
        diagnosis::render(&diagnosis).into_bytes()
    };
    match print(&text) {
        // The judgement stands, whether the reader wanted all of it or not.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(code),
        printed => Ok(printed.map(|()| code)?),
    }
}
