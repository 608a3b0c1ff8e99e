//! `twtrace report`

use std::io;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use anyhow::{Context, Error, Result, anyhow, bail};
use twtrace_core::event::text::escape;
use twtrace_core::model::report::Report;

use super::source::FigureSource;
use super::source::live::LiveOptions;
use super::source::measure::{Measurement, Watch};
use super::source::summary::{Gathered, Summary, Views, print_unmatched};
use super::{difference, notice};
use crate::cli::ReportArgs;
use crate::output::csv_table::{self, CsvOptions, TableFormat};
use crate::output::file::WholeFile;
use crate::output::html::{self, HtmlPage};
use crate::output::overview::{self, Overview};
use crate::output::page::Page;
use crate::output::table::{Grouping, TableOptions};
use crate::output::target::OutputTarget;
use crate::output::{folded, table, watch_screen};
use crate::privilege::Keep;
use crate::session::observer::Wants;

/// Counts until the end, or to the end of past data, then prints.
pub async fn run(args: ReportArgs) -> Result<ExitCode> {
    if !args.diff.is_empty() {
        return difference::run(&args);
    }
    let view = &args.view;
    let command = &view.command.command;
    let source = FigureSource::of(&view.from, &args.store);
    if let FigureSource::History(..) = source {
        refuse_what_no_history_has(&args)?;
    }
    if args.watch.is_some() && !watch_screen::has_terminal() {
        bail!("--watch redraws a terminal, and standard output is none: leave it out");
    }
    let csv = csv_options(&args);
    let page = args.html.as_deref().map(WholeFile::create);
    let page = page.transpose().context("--html")?;
    let folded = args.stacks.folded.as_deref().map(WholeFile::create);
    let folded = folded.transpose().context("--folded")?;
    let runs_command = source.is_live() && !command.is_empty();
    let target = OutputTarget::open(view.output.output.as_deref(), runs_command)?;
    source.confine(&[
        args.html.as_deref(),
        args.stacks.folded.as_deref(),
        view.output.output.as_deref(),
    ]);
    let by = &args.by;
    let shows_all = page.is_some() || view.span.json || by.is_empty();
    let options = LiveOptions {
        filter: &view.filter,
        probing: &view.probing,
        wants: Wants {
            sockets: shows_all || by.contains(&Grouping::Budget),
            namespaces: shows_all,
        },
        sample_interval: None,
        max_stacks: args.stacks.wanted(),
        is_service: false,
        keep: if page.is_some() || folded.is_some() {
            Keep::NamingAndWriting
        } else {
            Keep::Naming
        },
        command,
    };
    let render =
        |host: &Views, page: Page, max_rows: Option<usize>| text(host, page, &args, max_rows);
    let measurement = Measurement {
        options,
        duration: view.span.duration,
        record: args.keep.order(),
        watch: args.watch.map(|interval| Watch {
            interval,
            render: &render,
        }),
    };
    let Gathered {
        summaries,
        names,
        command_exit_code,
        outcome,
    } = source.gather(measurement).await?;
    let hosts: Vec<Views> = summaries.into_iter().map(Summary::into_views).collect();
    if args.stacks.wanted().is_some() && hosts.iter().all(|host| host.report.stacks.is_none()) {
        outcome?;
        return Err(no_stacks(&args));
    }
    print_unmatched(names.as_ref(), &view.filter, &hosts);
    // The page first: the reader of the tables may have ended.
    if let Some(file) = page {
        let [host] = &hosts[..] else {
            bail!("--html writes the page of one host: give --from one host's recording");
        };
        write_page(file, host)?;
    }
    if let Some(file) = folded {
        let [host] = &hosts[..] else {
            bail!("--folded takes the stacks of one recording: give --from that of one host");
        };
        write_folded(file, &host.report, by)?;
    }
    let printed = match csv {
        Some(options) => print_csv(target, &hosts, options),
        None => print(target, &hosts, &args),
    };
    match (printed, command_exit_code) {
        // The command's exit code stands, even if the reader did not want all of the report.
        (Err(error), Some(_)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        (printed, _) => printed?,
    }
    outcome?;
    Ok(command_exit_code.map_or(ExitCode::SUCCESS, ExitCode::from))
}

fn refuse_what_no_history_has(args: &ReportArgs) -> Result<()> {
    if args.stacks.wanted().is_some() {
        bail!("a history has no stacks: record them (report --stacks --record FILE)");
    }
    if args.keep.order().is_some() || !args.view.command.command.is_empty() {
        bail!("--store reads what was counted: there is nothing to run or to record");
    }
    Ok(())
}

/// What --format asks for; `None` without it. That it is one table was checked with the command line.
fn csv_options(args: &ReportArgs) -> Option<CsvOptions> {
    let (Some(TableFormat::Csv), [by]) = (args.format, &args.by[..]) else {
        return None;
    };
    Some(CsvOptions {
        by: *by,
        sort: args.sort.unwrap_or_default(),
        max_rows: args.top.map(NonZeroUsize::get),
    })
}

/// Stacks are counted from the start to the end.
fn no_stacks(args: &ReportArgs) -> Error {
    let option = match args.stacks.folded {
        Some(_) => "--folded",
        None => "--stacks",
    };
    if args.view.from.window().is_open() {
        anyhow!(
            "{option}: the recording has no stacks: make it by report --stacks --record FILE, and let that end"
        )
    } else {
        anyhow!("{option}: stacks are those of a whole recording: leave out --since and --until")
    }
}

fn write_page(file: WholeFile, host: &Views) -> Result<()> {
    let page = html::render(&HtmlPage {
        report: &host.report,
        timeline: &host.timeline,
        findings: &host.diagnosis.findings,
        caveats: &host.diagnosis.caveats,
    });
    file.write(page.as_bytes()).context("--html")
}

fn write_folded(file: WholeFile, report: &Report, by: &[Grouping]) -> Result<()> {
    let rows = report.stacks.as_deref().unwrap_or_default();
    file.write(folded::render(rows, by).as_bytes())
        .context("--folded")
}

/// Written row by row: a hundred thousand rows are long in JSON.
fn print(target: OutputTarget, hosts: &[Views], args: &ReportArgs) -> io::Result<()> {
    let page = target.page().wide(args.view.output.wide);
    target.print(|stream| {
        for (number, host) in hosts.iter().enumerate() {
            if args.view.span.json {
                serde_json::to_writer(&mut *stream, &host.report)?;
                stream.write_all(b"\n")?;
                continue;
            }
            if number > 0 {
                stream.write_all(b"\n")?;
            }
            stream.write_all(text(host, page, args, None).as_bytes())?;
        }
        Ok(())
    })
}

/// Says on standard error if figures are too low, for which the table has no room.
fn print_csv(target: OutputTarget, hosts: &[Views], options: CsvOptions) -> io::Result<()> {
    let is_exact = |report: &Report| match options.by {
        Grouping::Pair => !report.has_inexact_pairs(),
        Grouping::Destination => report.exact.destinations,
        Grouping::Budget | Grouping::Stack => true,
        _ => report.exact.processes,
    };
    for host in hosts.iter().filter(|host| !is_exact(&host.report)) {
        let host = escape(&host.report.host);
        notice(&format!(
            "{host}: events were lost, figures are lower bounds"
        ));
    }
    let has_stacks = hosts.iter().any(|host| host.report.stacks.is_some());
    if options.by == Grouping::Stack && !has_stacks {
        notice("no stacks were recorded: --stacks");
    }
    let reports = hosts.iter().map(|host| &host.report);
    target.print(|stream| csv_table::write(stream, reports, options).map_err(of_csv))
}

/// The error of the stream itself, so that a reader that ended early is recognised.
fn of_csv(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        kind => io::Error::other(format!("{kind:?}")),
    }
}

/// The overview, the requested tables, or both. `max_rows` is the number of rows that there is room for.
fn text(host: &Views, page: Page, args: &ReportArgs, max_rows: Option<usize>) -> String {
    let mut options = TableOptions {
        width: page.width,
        sort: args.sort.unwrap_or_default(),
        ..TableOptions::default()
    };
    let max_rows = args.top.map(NonZeroUsize::get).or(max_rows);
    options.max_rows = max_rows.unwrap_or(options.max_rows);
    let overview = Overview {
        report: &host.report,
        diagnosis: &host.diagnosis,
        filter: &host.filter,
        max_rows,
        page,
    };
    if !args.by.is_empty() {
        let tables = table::render(&host.report, &args.by, options);
        return overview::with_tables(&overview, &tables);
    }
    let mut text = overview::render(&overview);
    let further = if args.details {
        table::render(&host.report, &[], options)
    } else {
        table::stack_section(&host.report, page.width)
    };
    if !further.is_empty() {
        text.push('\n');
        text.push_str(&further);
    }
    text
}
