//! One table as comma-separated values (RFC 4180): every row, numbers without separators, the names of fields in JSON.

use std::io::Write;

use clap::ValueEnum;
use twtrace_core::event::Process;
use twtrace_core::event::answerable::Answerable;
use twtrace_core::event::counts_by::CountsBy;
use twtrace_core::event::text::escape;
use twtrace_core::event::words::Word;
use twtrace_core::model::budget::row::{BudgetRow, Outlook, PoolWord};
use twtrace_core::model::counts::Counts;
use twtrace_core::model::destinations::DestinationRow;
use twtrace_core::model::groups::{self, GroupBy, GroupLabel, ProcessGroup};
use twtrace_core::model::pairs::PairRow;
use twtrace_core::model::report::{ProcessRow, Report};
use twtrace_core::model::stacks::StackRow;
use twtrace_wire::Side;

use super::folded;
use super::table::Grouping;
use super::table::names::short;
use super::table::rows::{SortBy, has_any, sorted};

/// A format of tables for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// Comma-separated values with a header (RFC 4180).
    Csv,
}

/// Which rows, in which order.
#[derive(Clone, Copy, Debug)]
pub struct CsvOptions {
    /// The table.
    pub by: Grouping,
    /// Order of the rows.
    pub sort: SortBy,
    /// Maximum number of rows of each host; `None`: all.
    pub max_rows: Option<usize>,
}

const PROCESS: [&str; 6] = [
    "comm",
    "pid",
    "unattributed",
    "unit",
    "container_id",
    "pod_uid",
];
const COUNTS: [&str; 12] = [
    "time_wait_client",
    "time_wait_server",
    "time_wait_unknown",
    "fin_wait2",
    "time_wait_overflow",
    "reset_sent",
    "reset_sent_reasons",
    "reset_received",
    "reset_received_reasons",
    "abort",
    "abort_reasons",
    "port_failures",
];
const PLACE: [&str; 5] = ["netns", "netns_nth", "netns_name", "side", "destination"];
const PAIR: [&str; 9] = [
    "time_wait",
    "reset_sent",
    "reset_sent_reasons",
    "reset_received",
    "reset_received_reasons",
    "abort",
    "abort_reasons",
    "connect_failures",
    "bind_failures",
];
const DESTINATION: [&str; 10] = [
    "time_wait",
    "fin_wait2",
    "time_wait_overflow",
    "reset_sent",
    "reset_sent_reasons",
    "reset_received",
    "reset_received_reasons",
    "abort",
    "abort_reasons",
    "port_failures",
];
const BUDGET: [&str; 18] = [
    "netns",
    "netns_name",
    "pool",
    "source",
    "destination",
    "range_low",
    "range_high",
    "excluded",
    "capacity",
    "live",
    "time_wait",
    "time_wait_reusable",
    "free",
    "connections_per_s",
    "expiry_per_s",
    "failures",
    "outlook",
    "full_in_ns",
];

type Cells = Vec<String>;

/// Writes the table with its header, for each host in turn.
///
/// # Errors
/// If it can't be written.
pub fn write<'r>(
    out: &mut dyn Write,
    reports: impl IntoIterator<Item = &'r Report>,
    options: CsvOptions,
) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(header(options.by))?;
    for report in reports {
        let rows = rows(report, options);
        for row in rows.take(options.max_rows.unwrap_or(usize::MAX)) {
            let host = std::iter::once(escape(&report.host));
            writer.write_record(host.chain(row))?;
        }
    }
    Ok(writer.flush()?)
}

/// The names of the columns.
pub fn header(by: Grouping) -> Vec<&'static str> {
    let of_process: &[&[&str]] = match by {
        Grouping::Process => &[&PROCESS, &COUNTS],
        Grouping::Name => &[&["comm", "unattributed", "processes"], &COUNTS],
        Grouping::Unit => &[&["unit", "unattributed", "processes"], &COUNTS],
        Grouping::Container => &[&["container_id", "unattributed", "processes"], &COUNTS],
        Grouping::Pod => &[&["pod_uid", "unattributed", "processes"], &COUNTS],
        Grouping::Pair => &[&PROCESS, &PLACE, &PAIR],
        Grouping::Destination => &[&PLACE, &DESTINATION],
        Grouping::Budget => &[&BUDGET],
        Grouping::Stack => &[&PROCESS, &["what", "count", "stack"]],
    };
    [&[&["host"][..]], of_process].concat().concat()
}

fn rows<'r>(report: &'r Report, options: CsvOptions) -> Box<dyn Iterator<Item = Cells> + 'r> {
    let sort = options.sort;
    match options.by {
        Grouping::Process => {
            let rows = report.processes.iter().filter(has_any);
            Box::new(sorted(rows, sort).into_iter().map(of_process))
        }
        Grouping::Name => of_groups(report, GroupBy::Name, sort),
        Grouping::Unit => of_groups(report, GroupBy::Unit, sort),
        Grouping::Container => of_groups(report, GroupBy::Container, sort),
        Grouping::Pod => of_groups(report, GroupBy::Pod, sort),
        Grouping::Pair => {
            let rows = sorted(report.pairs.iter().filter(has_any), sort);
            Box::new(rows.into_iter().map(|row| of_pair(report, row)))
        }
        Grouping::Destination => {
            let rows = sorted(report.destinations.iter().filter(has_any), sort);
            Box::new(rows.into_iter().map(|row| of_destination(report, row)))
        }
        Grouping::Budget => Box::new(report.budgets.iter().map(|row| of_pool(report, row))),
        Grouping::Stack => Box::new(report.stacks.iter().flatten().map(of_stack)),
    }
}

fn of_groups<'r>(
    report: &'r Report,
    by: GroupBy,
    sort: SortBy,
) -> Box<dyn Iterator<Item = Cells> + 'r> {
    let rows = groups::processes(&report.processes, by).into_iter();
    let rows = sorted(rows.filter(has_any), sort);
    Box::new(rows.into_iter().map(|row: ProcessGroup| {
        let (name, unattributed) = match &row.label {
            GroupLabel::Is(name) => (escape(name), String::new()),
            GroupLabel::Without => Default::default(),
            GroupLabel::Nobody(reason) => (String::new(), reason.word().to_owned()),
        };
        let mut cells = vec![name, unattributed, row.processes.to_string()];
        cells.extend(counts(&row.counts, row.port_failures));
        cells
    }))
}

fn of_process(row: &ProcessRow) -> Cells {
    let mut cells = process(row.answerable());
    cells.extend(counts(&row.counts, row.port_failures()));
    cells
}

fn of_pair(report: &Report, row: &PairRow) -> Cells {
    let (counts, deaths) = (&row.counts, &row.counts.deaths);
    let mut cells = process(row.answerable());
    cells.extend([
        row.netns.to_string(),
        row.netns_nth.to_string(),
        short(report, row.netns, row.netns_nth),
        row.side.word().to_owned(),
        row.destination.to_string(),
        counts.time_wait.to_string(),
    ]);
    cells.extend(by_reason(&deaths.reset_sent));
    cells.extend(by_reason(&deaths.reset_received));
    cells.extend(by_reason(&deaths.abort));
    cells.push(counts.connect_failures.to_string());
    cells.push(counts.bind_failures.to_string());
    cells
}

fn of_destination(report: &Report, row: &DestinationRow) -> Cells {
    let name = |netns| short(report, netns, row.netns_nth);
    let mut cells = vec![
        or_empty(row.netns),
        row.netns_nth.to_string(),
        row.netns.map_or_else(String::new, name),
        row.side.word().to_owned(),
        row.destination.to_string(),
        row.time_wait.to_string(),
        row.fin_wait2.to_string(),
        row.overflow.to_string(),
    ];
    cells.extend(by_reason(&row.deaths.reset_sent));
    cells.extend(by_reason(&row.deaths.reset_received));
    cells.extend(by_reason(&row.deaths.abort));
    cells.push(row.port_failures.to_string());
    cells
}

fn of_pool(report: &Report, row: &BudgetRow) -> Cells {
    let rate = |per_s: Option<f64>| per_s.map_or_else(String::new, |it| format!("{it:.3}"));
    vec![
        row.netns.to_string(),
        short(report, row.netns, report.last_nth(row.netns)),
        match row.pool {
            PoolWord::Connect => "connect".to_owned(),
            PoolWord::Bind => "bind".to_owned(),
        },
        or_empty(row.source),
        or_empty(row.destination),
        or_empty(row.range.map(|range| range.low)),
        or_empty(row.range.map(|range| range.high)),
        or_empty(row.excluded),
        or_empty(row.capacity),
        or_empty(row.live),
        or_empty(row.time_wait),
        or_empty(row.time_wait_reusable),
        or_empty(row.free),
        rate(row.connections_per_s),
        rate(row.expiry_per_s),
        row.failures.to_string(),
        match row.outlook {
            Outlook::Full => "full".to_owned(),
            Outlook::RunsOut => "runs_out".to_owned(),
            Outlook::Never => "never".to_owned(),
            Outlook::Unknown => "unknown".to_owned(),
        },
        or_empty(row.full_in_ns),
    ]
}

/// The functions in one cell, as in folded stacks: outermost first.
fn of_stack(row: &StackRow) -> Cells {
    let mut cells = process(row.answerable());
    cells.extend([
        row.what.word().to_owned(),
        row.count.to_string(),
        folded::frames(row).join(";"),
    ]);
    cells
}

/// The columns of [`PROCESS`].
fn process(answerable: Answerable<'_>) -> Cells {
    let process = match answerable {
        Answerable::Process(process) => process,
        Answerable::Nobody(reason) => return nobody(reason.word()),
        Answerable::Unknown => return nobody(""),
    };
    let place = process.place();
    let text = |text: Option<&String>| text.map_or_else(String::new, |text| escape(text));
    vec![
        comm(process),
        process.key.tgid.to_string(),
        String::new(),
        text(place.and_then(|place| place.unit.as_ref())),
        text(place.and_then(|place| place.container_id.as_ref())),
        text(place.and_then(|place| place.pod_uid.as_ref())),
    ]
}

fn nobody(reason: &str) -> Cells {
    let mut cells = vec![String::new(); PROCESS.len()];
    cells[2] = reason.to_owned();
    cells
}

fn comm(process: &Process) -> String {
    escape(&process.comm.text())
}

/// The columns of [`COUNTS`].
fn counts(counts: &Counts, port_failures: u64) -> Cells {
    let mut cells = vec![
        counts.time_wait.of(Side::Client).to_string(),
        counts.time_wait.of(Side::Server).to_string(),
        counts.time_wait.of(Side::Unknown).to_string(),
        counts.fin_wait2.total().to_string(),
        counts.overflow.total().to_string(),
    ];
    cells.extend(by_reason(&counts.reset_sent));
    cells.extend(by_reason(&counts.reset_received));
    cells.extend(by_reason(&counts.abort));
    cells.push(port_failures.to_string());
    cells
}

/// The sum, and its parts as `linger_zero=20;refused=3`.
fn by_reason<T: Word + PartialEq, const N: usize>(counts: &CountsBy<T, N>) -> [String; 2] {
    let parts = counts.counted();
    let parts: Cells = parts
        .map(|(reason, count)| format!("{}={count}", reason.word()))
        .collect();
    [counts.total().to_string(), parts.join(";")]
}

fn or_empty<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
#[path = "csv_table_tests.rs"]
mod tests;
