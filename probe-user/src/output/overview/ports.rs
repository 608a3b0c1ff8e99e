//! Ephemeral port pools, the fullest first, and who fills them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use twtrace_core::event::quantity::{count, duration};
use twtrace_core::event::text::escape;
use twtrace_core::filter::Hidden;
use twtrace_core::model::budget::row::{BudgetRow, Outlook, PoolWord};
use twtrace_core::model::destination::Destination;
use twtrace_core::model::groups::{GroupLabel, PairGroup};
use twtrace_core::model::pairs::NOBODY;
use twtrace_wire::Side;

use super::{Parts, name};
use crate::output::table::grid::{Align, Grid};
use crate::output::table::rows::split;
use crate::output::table::{SHOWN, budgets};

impl Parts<'_> {
    /// Pools that are used to some extent.
    pub(super) fn ports(&self) -> Grid<6> {
        let report = self.overview.report;
        let rows = budgets::worth(report, SHOWN);
        let mut grid = Grid::new(&[
            ("NETNS", Align::Cut),
            ("SOURCE → DESTINATION", Align::Cut),
            ("USED", Align::Right),
            ("FAILED", Align::Right),
            ("FULL IN", Align::Left),
            ("HELD BY", Align::Cut),
        ]);
        let (shown, _) = split(&rows, self.max_rows().div_ceil(2), &[&|row| row.failures]);
        let others = report.budgets.len() - shown.len()
            + usize::try_from(report.other_budgets.count).unwrap_or(0);
        for row in shown {
            grid.row([
                self.netns(row.netns, report.last_nth(row.netns)),
                ends(row),
                used(row),
                match row.failures {
                    0 => String::new(),
                    failures => count(failures),
                },
                full_in(row),
                self.holders(row),
            ]);
        }
        if others > 0 && !grid.is_empty() {
            let mut cells = [const { String::new() }; 6];
            cells[1] = format!("({} more)", count(others as u64));
            grid.row(cells);
        }
        grid
    }

    /// Who has its ports, the largest part first: the process with most of its live sockets, as far as these are looked up;
    /// the commands that created its TIME_WAITs; and at least how many of the TIME_WAITs are from before tracing.
    fn holders(&self, pool: &BudgetRow) -> String {
        let mut parts: Vec<(u64, String)> = Vec::new();
        if let Some(first) = pool.live_by.first() {
            let command = first.process.as_ref().map(|process| process.comm.text());
            let command = command.map_or_else(|| NOBODY.to_owned(), |text| escape(&text));
            let live = match pool.live_by.len() {
                1 => format!("{command} (live)"),
                more => format!("{command} (live) and {} more", more - 1),
            };
            parts.push((first.live, live));
        }
        let report = self.overview.report;
        let nth = report.last_nth(pool.netns);
        let is_of = |row: &&PairGroup| {
            (row.netns, row.netns_nth) == (pool.netns, nth)
                && row.side == Side::Client
                && row.counts.time_wait > 0
                && match (pool.pool, pool.destination) {
                    (PoolWord::Connect, Some(remote)) => {
                        row.destination == Destination::Remote(remote)
                    }
                    (PoolWord::Connect, None) => false,
                    (PoolWord::Bind, _) => true,
                }
        };
        let rows: Vec<&PairGroup> = self.pairs.iter().filter(is_of).collect();
        let mut holders: BTreeMap<&GroupLabel, u64> = BTreeMap::new();
        for row in &rows {
            *holders.entry(&row.label).or_default() += row.counts.time_wait;
        }
        let created: u64 = holders.values().sum();
        let held = pool.time_wait.map_or(created, u64::from);
        let mut holders: Vec<(String, u64)> = holders
            .into_iter()
            // Of those that were created, some have ended.
            .map(|(label, created)| (name(label), created.min(held)))
            .filter(|(_, held)| *held > 0)
            .collect();
        // Others may have been seen and not be shown.
        let are_all = self.overview.filter.hidden() != Hidden::Events
            && report.pairs_left_out == 0
            && report.exact.destinations;
        // Of those that were created since, some have ended: at least so many are older.
        let older = pool.time_wait.map_or(0, u64::from).saturating_sub(created);
        let older = if are_all { older } else { 0 };
        holders.sort_by_key(|(_, created)| Reverse(*created));
        if let [(first, created), others @ ..] = &holders[..] {
            let known = match others.len() {
                0 => first.clone(),
                more => format!("{first} and {more} more"),
            };
            parts.push((*created, known));
        }
        if older > 0 {
            let is_all = parts.is_empty() && pool.live == Some(0);
            let text = if is_all {
                "(before tracing)".to_owned()
            } else {
                format!("{} older", count(older))
            };
            parts.push((older, text));
        }
        parts.sort_by_key(|(held, _)| Reverse(*held));
        let parts: Vec<String> = parts.into_iter().map(|(_, text)| text).collect();
        parts.join(", ")
    }
}

/// Empty for a pool that is full, as [`used`] shows, and for one that will not be.
fn full_in(row: &BudgetRow) -> String {
    match (row.outlook, row.full_in_ns) {
        (Outlook::RunsOut, Some(left_ns)) => duration(left_ns),
        _ => String::new(),
    }
}

/// Such as `127.0.0.1 → 127.0.0.1:5432`.
fn ends(row: &BudgetRow) -> String {
    let source = match row.source {
        Some(source) if source.is_unspecified() => "any".to_owned(),
        Some(source) => source.to_string(),
        None => "?".to_owned(),
    };
    match (row.destination, row.pool) {
        (Some(destination), _) => format!("{source} → {destination}"),
        (None, PoolWord::Bind) => format!("{source} → any (bind)"),
        (None, PoolWord::Connect) => format!("{source} → ?"),
    }
}

/// Such as `94% of 28,232`.
fn used(row: &BudgetRow) -> String {
    match (row.used(), row.capacity) {
        (Some(used), Some(capacity)) => {
            format!("{:.0}% of {}", used * 100.0, count(u64::from(capacity)))
        }
        _ => String::new(),
    }
}
