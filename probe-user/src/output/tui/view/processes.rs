//! Rows of processes, and of commands.

use std::collections::{HashMap, HashSet};

use twtrace_core::event::comm::Comm;
use twtrace_core::filter::Filter;
use twtrace_core::model::report::Report;
use twtrace_wire::ProcessKey;

use super::super::live::LiveState;
use super::super::rates::{Rates, Totals};
use super::super::sort::{ByProcess, SortOrder};
use super::{DestinationItem, Scope, turned};

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessItem {
    /// One process, or what has none.
    Process(ProcessKey),
    /// All processes of one name, of which there may be one.
    Command(Comm),
}

/// A process, or all processes of one name.
#[derive(Clone, Debug)]
pub struct ProcessLine {
    /// The process; that of the first row if there are several.
    pub key: ProcessKey,
    /// Its row of the report.
    pub row: usize,
    /// The name that it stands for, if rows are commands.
    pub command: Option<Comm>,
    /// Number of processes.
    pub processes: usize,
    /// `None` before the second sample.
    pub rates: Option<Rates>,
    /// TIME_WAITs created that have not ended.
    pub alive: u64,
    /// The highest of its operations' 99th percentiles, nanoseconds, and whether it is exact.
    pub p99: Option<(u64, bool)>,
    /// Port allocations that failed.
    pub failures: u64,
}

impl ProcessLine {
    /// What it stands for.
    pub fn item(&self) -> ProcessItem {
        match self.command {
            Some(comm) => ProcessItem::Command(comm),
            None => ProcessItem::Process(self.key),
        }
    }

    /// What its row opens: the only process of a command directly.
    pub fn scope(&self) -> Scope {
        match self.command {
            Some(comm) if self.processes > 1 => Scope::Command(comm),
            _ => Scope::Process(self.key),
        }
    }

    fn add(&mut self, other: &Self) {
        self.processes += other.processes;
        self.rates = match (self.rates, other.rates) {
            (Some(one), Some(other)) => Some(one.plus(&other)),
            (one, other) => one.or(other),
        };
        self.alive += other.alive;
        self.p99 = self.p99.max(other.p99);
        self.failures += other.failures;
    }
}

/// What rows are weighed by, per second: TIME_WAITs, RSTs, failed port allocations.
fn figures(line: &ProcessLine) -> [f64; 4] {
    let rates = line.rates.unwrap_or_default();
    [
        rates.all_time_waits(),
        rates.resets_sent,
        rates.resets_received,
        rates.failures,
    ]
}

fn figures_of_all(lines: &[ProcessLine]) -> [f64; 4] {
    let mut totals = [0.0; 4];
    for line in lines {
        for (total, figure) in totals.iter_mut().zip(figures(line)) {
            *total += figure;
        }
    }
    totals
}

/// 0 to 1.
fn largest_share(line: &ProcessLine, totals: &[f64; 4]) -> f64 {
    let shares = figures(line).into_iter().zip(totals);
    shares
        .filter(|(_, total)| **total > 0.0)
        .map(|(figure, total)| figure / total)
        .fold(0.0, f64::max)
}

/// Puts processes of one name together; those without a name stay single.
pub(super) fn by_command(lines: Vec<ProcessLine>, report: &Report) -> Vec<ProcessLine> {
    let mut places: HashMap<Comm, usize> = HashMap::new();
    let mut commands: Vec<ProcessLine> = Vec::new();
    for mut line in lines {
        let process = report.processes[line.row].process.as_ref();
        let comm = process.map(|process| process.comm);
        let Some(comm) = comm.filter(|comm| !comm.is_empty()) else {
            commands.push(line);
            continue;
        };
        match places.get(&comm) {
            Some(place) => commands[*place].add(&line),
            None => {
                places.insert(comm, commands.len());
                line.command = Some(comm);
                commands.push(line);
            }
        }
    }
    commands
}

pub(super) fn process_lines(
    live: &LiveState,
    report: &Report,
    scope: Scope,
    filter: &Filter,
) -> Vec<ProcessLine> {
    // Reports do not have the destinations of a process, so these come from events.
    let is_by_destination = !filter.is_by_process();
    let pair: Option<HashSet<ProcessKey>> = match scope {
        Scope::Destination(target) => Some(
            live.towards
                .iter()
                .filter(|(_, key, _)| target.has(key))
                .map(|(process, ..)| process)
                .collect(),
        ),
        _ if is_by_destination => Some(
            live.towards
                .iter()
                .filter(|(_, key, _)| DestinationItem::Destination(*key).passes(filter))
                .map(|(process, ..)| process)
                .collect(),
        ),
        _ => None,
    };
    report
        .processes
        .iter()
        .enumerate()
        .filter(|(_, row)| filter.shows_process(row.process.as_ref()))
        .filter(|(_, row)| pair.as_ref().is_none_or(|pair| pair.contains(&row.key())))
        .filter(|(_, row)| match scope {
            Scope::Command(comm) => row.process.as_ref().is_some_and(|it| it.comm == comm),
            _ => true,
        })
        .map(|(index, row)| ProcessLine {
            key: row.key(),
            row: index,
            command: None,
            processes: 1,
            rates: live.process_rates.get(&row.key()).copied(),
            alive: row
                .counts
                .time_wait
                .total()
                .saturating_sub(row.counts.ended.total()),
            p99: row
                .ports
                .iter()
                .filter_map(|port| Some((port.p99_ns?, port.exact)))
                .max(),
            failures: Totals::of(row).failures,
        })
        .collect()
}

/// Numbers in descending order, unless reversed; the report's order breaks ties.
pub(super) fn sort_processes(
    lines: &mut [ProcessLine],
    report: &Report,
    order: SortOrder<ByProcess>,
) {
    let rates = |line: &ProcessLine| line.rates.unwrap_or_default();
    let totals = figures_of_all(lines);
    let number = |line: &ProcessLine| match order.by {
        ByProcess::Share => largest_share(line, &totals),
        ByProcess::Rate => rates(line).all_time_waits(),
        ByProcess::Alive => line.alive as f64,
        ByProcess::Resets => rates(line).resets_sent + rates(line).resets_received,
        ByProcess::Searches => rates(line).searches,
        ByProcess::P99 => line.p99.map_or(-1.0, |(ns, _)| ns as f64),
        ByProcess::Failures => line.failures as f64,
        ByProcess::Name => 0.0,
    };
    let name = |line: &ProcessLine| {
        let process = report.processes[line.row].process.as_ref();
        process.map(|process| (process.comm.padded(), process.key))
    };
    lines.sort_by(|a, b| {
        let ordering = match order.by {
            ByProcess::Name => name(a).cmp(&name(b)),
            _ => number(b).total_cmp(&number(a)),
        };
        turned(ordering, order.is_reversed)
    });
}
