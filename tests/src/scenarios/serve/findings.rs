//! Findings of `doctor` as metrics.

use std::{process::Command, sync::mpsc, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{
    scrape::sum,
    service::{Service, until},
    traffic::{NamedProgram, fill_ports},
};
use crate::{runner::Context, sys::netns};

/// Address of the server.
const SERVER: &str = "127.78.0.2:8080";
const NAME: &str = "twtrace_findings";
/// Whether the last one is used up depends on who sees the other's FIN first.
const FULL: [[(&str, &str); 2]; 2] = [
    [("id", "budget_full"), ("severity", "critical")],
    [("id", "budget_nearly_full"), ("severity", "warning")],
];

/// A pool that is full, or nearly, is a finding of the next interval, which ends when the namespace has; a service that is
/// to have no findings has none. Intervals of a history may be short.
pub fn exported(context: &Context) -> Result<()> {
    let history = tempfile::tempdir()?;
    let directory = history.path().to_str().context("no UTF-8")?;
    let intervals = ["--history", directory, "--history-interval", "1s"];
    let filter = ["--remote", "127.78.0.2"];
    let service = Service::start(context, &[filter.as_slice(), &intervals].concat())?;
    let without = Service::start(context, &["--remote", "127.78.0.2", "--findings", "off"])?;
    let named = NamedProgram::new("filled")?;
    thread::scope(|scope| {
        let (end, ended) = mpsc::channel::<()>();
        let (report_filled, filled) = mpsc::channel();
        let held = scope.spawn(move || -> Result<()> {
            netns::enter_new()?;
            // Namespaces are found by the processes in them, and this is a thread.
            let mut resident = Command::new("sleep").arg("600").spawn()?;
            let filled = fill_ports(&named, SERVER);
            report_filled.send(())?;
            // The namespace exists until then.
            let _ = ended.recv();
            resident.kill()?;
            resident.wait()?;
            filled
        });
        let found = filled.recv().context("it was not filled").and_then(|()| {
            let mut page = String::new();
            until("the finding is exported", || {
                page = service.metrics()?;
                Ok(found_full(&page)? == 1.0)
            })
            .with_context(|| of_pools_and_findings(&page))
        });
        drop(end);
        held.join().ok().context("the traffic panicked")??;
        found
    })?;
    let page = service.metrics()?;
    ensure!(
        sum(&page, "twtrace_findings_timestamp_seconds", &[])? > 1.7e9,
        "{page}"
    );
    until("the finding is over", || {
        // The same page is served for one second.
        thread::sleep(Duration::from_secs(1));
        Ok(found_full(&service.metrics()?)? == 0.0)
    })?;
    let page = without.metrics()?;
    ensure!(!page.contains(NAME), "{page}");
    without.stop()?;
    service.stop().map(drop)
}

/// Findings about the pool.
fn found_full(page: &str) -> Result<f64> {
    let counts = FULL.iter().map(|kind| sum(page, NAME, kind));
    counts.sum()
}

/// What a page has of both.
fn of_pools_and_findings(page: &str) -> String {
    let of = |line: &&str| line.starts_with("twtrace_budget") || line.starts_with(NAME);
    page.lines().filter(of).collect::<Vec<_>>().join("\n")
}
