//! `twtrace report`

use anyhow::Result;

use super::live::Order;
use super::measure::measure;
use super::print;
use crate::cli::ReportArgs;
use crate::output::table::By;
use crate::output::{json, table};
use crate::session::observer::Wants;

/// Counts until the end, then prints.
pub async fn run(args: ReportArgs) -> Result<()> {
    let ReportArgs { by, view: args } = args;
    let order = Order {
        filter: &args.filter,
        probing: &args.probing,
        wants: Wants {
            sockets: args.span.json || by.is_empty() || by.contains(&By::Budget),
            namespaces: false,
        },
        look_interval: None,
    };
    let report = measure(order, args.span.duration).await?.report();
    let text = if args.span.json {
        let mut text = Vec::new();
        json::append(&mut text, &report)?;
        text
    } else {
        table::render(&report, &by).into_bytes()
    };
    Ok(print(&text)?)
}
