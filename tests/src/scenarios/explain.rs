//! `twtrace explain`: every id that it lists has a text, without privileges for probes.

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::Usage;
use crate::runner::Context;

pub const USAGES: &[Usage] = &[Usage {
    name: "explain/ids",
    run: ids,
}];

/// More ids than any kind of them has: the list is not cut off.
const MANY: usize = 100;

fn explain(context: &Context, id: Option<&str>) -> Result<Output> {
    let mut command = Command::new(&context.twtrace);
    command.arg("explain").args(id).stdin(Stdio::null());
    command.output().context("start twtrace")
}

fn printed(output: &Output) -> Result<&str> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && stderr.is_empty(),
        "ended with {}: {stderr}",
        output.status
    );
    Ok(std::str::from_utf8(&output.stdout)?)
}

fn ids(context: &Context) -> Result<()> {
    let list = explain(context, None)?;
    let list = printed(&list)?;
    // Headings of kinds are not indented.
    let rows = list.lines().filter_map(|line| line.strip_prefix("  "));
    let ids: Vec<&str> = rows.filter_map(|row| row.split("  ").next()).collect();
    ensure!(ids.len() > MANY, "only {} ids: {list}", ids.len());
    for id in &ids {
        // Whatever the case.
        for written in [(*id).to_owned(), id.to_lowercase()] {
            let output = explain(context, Some(&written))?;
            let text = printed(&output).with_context(|| written.clone())?;
            ensure!(
                text.starts_with(&format!("{id} (")) || text.contains(&format!("\n{id} (")),
                "{written} is not explained: {text}"
            );
            ensure!(text.contains("\n  Means "), "{written}: {text}");
            // A heading (id and kind) is not wrapped.
            let is_wide = |line: &&str| line.starts_with(' ') && line.chars().count() > 80;
            ensure!(
                !text.lines().any(|line| is_wide(&line)),
                "lines of {written} are too long: {text}"
            );
        }
    }
    for id in ["close_wait_leak", "unread_data", "EADDRNOTAVAIL", "FULL IN"] {
        ensure!(ids.contains(&id), "{id} is not listed: {list}");
    }
    let unknown = explain(context, Some("budgetfull"))?;
    let stderr = String::from_utf8_lossy(&unknown.stderr);
    ensure!(
        unknown.status.code() == Some(2) && stderr.lines().count() == 1,
        "an unknown id ended with {}: {stderr}",
        unknown.status
    );
    ensure!(stderr.contains("budget_full"), "no nearest id: {stderr}");
    Ok(())
}
