//! Who sends and receives RSTs, why, and towards whom.

use std::cmp::Reverse;

use twtrace_core::event::quantity::count;
use twtrace_core::event::words::Word;
use twtrace_core::model::groups::PairGroup;

use super::{Parts, name, processes};
use crate::output::table::at_least;
use crate::output::table::grid::{Align, Grid};
use crate::output::table::rows::split;

/// How a connection ended without FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Sent,
    Received,
    /// Without RST.
    None,
}

/// RSTs of one group with one destination, for one reason.
struct ResetRow<'a> {
    group: &'a PairGroup,
    direction: Direction,
    reason: &'static str,
    count: u64,
}

impl Parts<'_> {
    /// Those with the most first. The largest of each direction is always shown.
    pub(super) fn resets(&self) -> Grid<7> {
        let report = self.overview.report;
        let mut rows = self.reset_rows();
        rows.sort_by_key(|row| Reverse(row.count));
        let in_direction = |direction| {
            move |row: &ResetRow<'_>| {
                if row.direction == direction {
                    row.count
                } else {
                    0
                }
            }
        };
        let (shown, others) = split(
            &rows,
            self.max_rows(),
            &[
                &in_direction(Direction::Sent),
                &in_direction(Direction::Received),
                &in_direction(Direction::None),
            ],
        );
        let is_lower_bound = report.has_inexact_pairs();
        let counted = |number: u64| at_least(count(number), is_lower_bound);
        let mut grid = Grid::new(&[
            ("COMMAND", Align::Cut),
            ("PROCS", Align::Right),
            ("NETNS", Align::Cut),
            ("RST", Align::Left),
            ("REASON", Align::Left),
            ("COUNT", Align::Right),
            ("PEER/PORT", Align::Cut),
        ]);
        for row in shown {
            grid.row([
                name(&row.group.label),
                processes(row.group.processes),
                self.netns(row.group.netns, row.group.netns_nth),
                match row.direction {
                    Direction::Sent => "sent".to_owned(),
                    Direction::Received => "received".to_owned(),
                    Direction::None => "none".to_owned(),
                },
                row.reason.to_owned(),
                counted(row.count),
                row.group.destination.to_string(),
            ]);
        }
        if !others.is_empty() {
            let mut cells = [const { String::new() }; 7];
            cells[0] = format!("({} more)", count(others.len() as u64));
            cells[5] = counted(others.iter().map(|row| row.count).sum());
            grid.row(cells);
        }
        grid
    }

    fn reset_rows(&self) -> Vec<ResetRow<'_>> {
        let mut rows = Vec::new();
        for group in &self.pairs {
            let deaths = &group.counts.deaths;
            let mut add = |direction, reason, count| {
                rows.push(ResetRow {
                    group,
                    direction,
                    reason,
                    count,
                });
            };
            for (reason, count) in deaths.reset_sent.counted() {
                add(Direction::Sent, reason.word(), count);
            }
            for (reason, count) in deaths.reset_received.counted() {
                add(Direction::Received, reason.word(), count);
            }
            for (reason, count) in deaths.abort.counted() {
                add(Direction::None, reason.word(), count);
            }
        }
        rows
    }
}
