//! Names of the network namespaces that other tables have by number.

use std::collections::BTreeSet;

use super::grid::{Align, Grid, text};
use crate::enrich::netns_names::{NamedAfter, NetnsName};
use crate::model::report::Report;
use crate::output::text::escape;

/// The table; empty where nothing but the host's own namespace occurs.
pub fn render(report: &Report) -> String {
    let numbers = occurring(report);
    let named: Vec<&NetnsName> = report
        .netns_names
        .iter()
        .filter(|name| numbers.contains(&name.netns))
        .collect();
    if named.iter().all(|name| name.after == NamedAfter::Host) {
        return String::new();
    }
    let mut grid = Grid::new(&[("NETNS", Align::Right), ("NAME", Align::Left)]);
    for NetnsName { netns, after, name } in named {
        let name = escape(name);
        let shown = match after {
            NamedAfter::Host => "the host's".to_owned(),
            NamedAfter::IpNetns | NamedAfter::Mount | NamedAfter::Unit => name,
            NamedAfter::Pod => format!("pod {name}"),
            NamedAfter::Container => format!("container {name}"),
        };
        grid.row([netns.to_string(), shown]);
    }
    text(&grid)
}

fn occurring(report: &Report) -> BTreeSet<u32> {
    let destinations = report.destinations.iter().filter_map(|row| row.netns);
    destinations
        .chain(report.budgets.iter().map(|row| row.netns))
        .chain(report.close_wait.iter().map(|row| row.netns))
        .chain(report.audit.iter().map(|row| row.netns))
        .collect()
}
