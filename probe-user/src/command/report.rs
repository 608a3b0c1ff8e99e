//! `twtrace report`

use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::model::report::Report;
use twtrace_core::model::tally::Tally;
use twtrace_core::model::timeline::Timeline;

use super::history::{self, Past};
use super::live::Order;
use super::measure::measure;
use super::replay::Replay;
use crate::cli::ReportArgs;
use crate::output::file::WholeFile;
use crate::output::html::{self, Page};
use crate::output::table::By;
use crate::output::target::Target;
use crate::output::{folded, table};
use crate::privilege::Keep;
use crate::session::observer::Wants;

/// Counts until the end, or to the end of recordings, then prints.
pub async fn run(args: ReportArgs) -> Result<ExitCode> {
    if args.view.from.is_given() {
        return replay(&args);
    }
    if let Some(directory) = &args.store.store {
        return past(&args, directory);
    }
    let ReportArgs {
        store: _,
        by,
        html,
        keep,
        stacks,
        view,
    } = &args;
    let page = html.as_deref().map(WholeFile::create);
    let page = page.transpose().context("--html")?;
    let folded = stacks.folded.as_deref().map(WholeFile::create);
    let folded = folded.transpose().context("--folded")?;
    let command = &view.command.command;
    let target = Target::open(view.output.output.as_deref(), !command.is_empty())?;
    let order = Order {
        filter: &view.filter,
        probing: &view.probing,
        wants: Wants {
            sockets: page.is_some() || view.span.json || by.is_empty() || by.contains(&By::Budget),
            namespaces: page.is_some(),
        },
        look_interval: None,
        max_stacks: stacks.wanted(),
        is_service: false,
        keep: match page.is_some() || folded.is_some() {
            true => Keep::NamingAndWriting,
            false => Keep::Naming,
        },
        command,
    };
    let measured = measure(order, view.span.duration, keep.order()).await?;
    // The page first: whoever reads the tables may have gone.
    if let Some(file) = page {
        write_page(file, &measured.tally)?;
    }
    let report = measured.tally.into_report();
    if let Some(file) = folded {
        write_folded(file, &report)?;
    }
    let printed = print(target, &[report], &args);
    let Some(code) = measured.command_exit_code else {
        printed?;
        measured.recorded?;
        return Ok(ExitCode::SUCCESS);
    };
    match printed {
        // The command's code stands, whether the reader wanted all of the report or not.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    measured.recorded?;
    Ok(ExitCode::from(code))
}

fn replay(args: &ReportArgs) -> Result<ExitCode> {
    let view = &args.view;
    let target = Target::open(view.output.output.as_deref(), false)?;
    let page = args.html.as_deref().map(WholeFile::create);
    let page = page.transpose().context("--html")?;
    let counted = Replay::open(&view.from, &view.filter)?.count()?;
    if let Some(file) = page {
        let [tally] = &counted.tallies[..] else {
            bail!("--html makes the page of one recording: give --from that of one host");
        };
        write_page(file, tally)?;
    }
    let tallies = counted.tallies.into_iter();
    let reports: Vec<Report> = tallies.map(Tally::into_report).collect();
    if let Some(path) = &args.stacks.folded {
        let [report] = &reports[..] else {
            bail!("--folded takes the stacks of one recording: give --from that of one host");
        };
        write_folded(WholeFile::create(path).context("--folded")?, report)?;
    }
    print(target, &reports, args)?;
    counted.outcome.map(|()| ExitCode::SUCCESS)
}

/// Out of a history.
fn past(args: &ReportArgs, directory: &Path) -> Result<ExitCode> {
    if args.stacks.wanted().is_some() {
        bail!("a history has no stacks: record them (report --stacks --record FILE)");
    }
    if args.keep.order().is_some() || !args.view.command.command.is_empty() {
        bail!("--store reads what was counted: there is nothing to run or to record");
    }
    let view = &args.view;
    let target = Target::open(view.output.output.as_deref(), false)?;
    let page = args.html.as_deref().map(WholeFile::create);
    let page = page.transpose().context("--html")?;
    let Past { merged, diagnosis } = history::read(directory, &view.from, &view.filter)?;
    if let Some(file) = page {
        print_page(file, &merged.report, &merged.timeline, &diagnosis)?;
    }
    print(target, &[merged.report], args)?;
    Ok(ExitCode::SUCCESS)
}

fn write_page(file: WholeFile, tally: &Tally) -> Result<()> {
    let report = tally.report();
    let diagnosis = Diagnosis::of(tally, report.clone());
    print_page(file, &report, &tally.timeline(), &diagnosis)
}

fn print_page(
    file: WholeFile,
    report: &Report,
    timeline: &Timeline,
    diagnosis: &Diagnosis,
) -> Result<()> {
    let page = html::render(&Page {
        report,
        timeline,
        findings: &diagnosis.findings,
        caveats: &diagnosis.caveats,
    });
    file.write(page.as_bytes()).context("--html")
}

fn write_folded(file: WholeFile, report: &Report) -> Result<()> {
    let Some(rows) = &report.stacks else {
        bail!("--folded: the recording has no stacks: make it by report --stacks --record FILE");
    };
    file.write(folded::render(rows).as_bytes())
        .context("--folded")
}

/// As it goes: a hundred thousand rows are long in JSON.
fn print(target: Target, reports: &[Report], args: &ReportArgs) -> io::Result<()> {
    target.print(|stream| {
        for (number, report) in reports.iter().enumerate() {
            if args.view.span.json {
                serde_json::to_writer(&mut *stream, report)?;
                stream.write_all(b"\n")?;
                continue;
            }
            if number > 0 {
                stream.write_all(b"\n")?;
            }
            stream.write_all(table::render(report, &args.by).as_bytes())?;
        }
        Ok(())
    })
}
