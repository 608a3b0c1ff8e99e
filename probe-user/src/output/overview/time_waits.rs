//! Who creates TIME_WAIT sockets, towards whom, and what that costs in local ports.

use twtrace_core::event::quantity::{count, rate};
use twtrace_core::event::words::Word;
use twtrace_core::model::budget::row::PoolWord;
use twtrace_core::model::destination::Destination;
use twtrace_core::model::groups::PairGroup;
use twtrace_wire::Side;

use super::{Parts, name, processes};
use crate::output::table::at_least;
use crate::output::table::grid::{Align, Grid};
use crate::output::table::rows::split;

impl Parts<'_> {
    /// Those with the most TIME_WAITs first.
    pub(super) fn time_waits(&self) -> Grid<8> {
        let report = self.overview.report;
        let rows: Vec<&PairGroup> = self
            .pairs
            .iter()
            .filter(|row| row.counts.time_wait > 0)
            .collect();
        let is_lower_bound = report.has_inexact_pairs();
        let seconds = (report.duration_ns as f64 / 1e9).max(0.001);
        let created = |number: u64| at_least(count(number), is_lower_bound);
        let per_s = |number: u64| at_least(rate(number as f64 / seconds), is_lower_bound);
        let mut grid = Grid::new(&[
            ("COMMAND", Align::Cut),
            ("PROCS", Align::Right),
            ("NETNS", Align::Cut),
            ("ROLE", Align::Left),
            ("PEER/PORT", Align::Cut),
            ("CREATED", Align::Right),
            ("/S", Align::Right),
            ("HOLDS LOCAL PORT", Align::Left),
        ]);
        let (shown, others) = split(&rows, self.max_rows(), &[]);
        for row in shown {
            grid.row([
                name(&row.label),
                processes(row.processes),
                self.netns(row.netns, row.netns_nth),
                row.side.word().to_owned(),
                row.destination.to_string(),
                created(row.counts.time_wait),
                per_s(row.counts.time_wait),
                self.holds(row),
            ]);
        }
        if !others.is_empty() {
            let sum = others.iter().map(|row| row.counts.time_wait).sum();
            let mut cells = [const { String::new() }; 8];
            cells[0] = format!("({} more)", count(others.len() as u64));
            cells[5] = created(sum);
            cells[6] = per_s(sum);
            grid.row(cells);
        }
        grid
    }

    /// Whether the TIME_WAITs take local ports from later connections, and how much of their pool is used.
    fn holds(&self, row: &PairGroup) -> String {
        let Destination::Remote(remote) = row.destination else {
            return match row.side {
                Side::Server => "no (memory only)".to_owned(),
                _ => "?".to_owned(),
            };
        };
        let pools = self.overview.report.budgets.iter().filter(|pool| {
            pool.netns == row.netns
                && pool.pool == PoolWord::Connect
                && pool.destination == Some(remote)
                && row.netns_nth == self.overview.report.last_nth(pool.netns)
        });
        let used = pools.filter_map(|pool| pool.used()).reduce(f64::max);
        match used {
            Some(used) if used < 0.01 => "yes  <1% used".to_owned(),
            Some(used) => format!("yes  {:.0}% used", used * 100.0),
            None => "yes".to_owned(),
        }
    }
}
