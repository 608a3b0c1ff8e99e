//! `twtrace doctor`

use std::process::ExitCode;

use anyhow::Result;

use super::live::Order;
use super::measure::measure;
use super::print;
use crate::cli::DoctorArgs;
use crate::output::{diagnosis, json};
use crate::session::observer::Wants;

/// There is a finding as bad as `--fail-on` says.
const FOUND: u8 = 3;

/// Counts for a while, then judges, and prints.
pub async fn run(args: DoctorArgs) -> Result<ExitCode> {
    let order = Order {
        filter: &args.filter,
        probing: &args.probing,
        wants: Wants::ALL,
        look_interval: None,
        command: &[],
    };
    let diagnosis = measure(order, Some(args.duration)).await?.tally.diagnosis();
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
