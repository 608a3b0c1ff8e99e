//! Names of the network namespaces that other tables show by number.

use twtrace_core::event::text::escape;
pub use twtrace_core::model::netns_name::{HOST, shown_netns};
use twtrace_core::model::netns_name::{NamedAfter, NetnsName};
use twtrace_core::model::report::Report;

use super::grid::{Align, Grid, text};
use super::processes::short_id;

/// The table; empty if only the host's own namespace occurs.
pub fn render(report: &Report, page_width: Option<usize>) -> String {
    let numbers = report.namespaces();
    let named: Vec<&NetnsName> = report
        .netns_names
        .iter()
        .filter(|name| numbers.contains(&name.netns))
        .collect();
    if named.iter().all(|name| name.after == NamedAfter::Host) {
        return String::new();
    }
    let mut grid = Grid::new(&[("NETNS", Align::Right), ("NAME", Align::Cut)]);
    for name in named {
        grid.row([name.netns.to_string(), shown(name)]);
    }
    text(&grid, page_width)
}

/// Number and name of a namespace: `4026532177 (blue)`.
pub fn numbered(report: &Report, netns: u32) -> String {
    let mut names = report.netns_names.iter();
    match names.find(|name| name.netns == netns) {
        Some(name) => format!("{netns} ({})", shown(name)),
        None => netns.to_string(),
    }
}

/// The name of a namespace, or its number.
pub fn short(report: &Report, netns: u32, nth: u32) -> String {
    report.netns_name(netns, nth)
}

/// A name as short as it is clear: ids of containers as their tools show them. A name that looks like the host's or like
/// a number, and is not, has quotes: the program that creates a namespace chooses its name.
pub fn in_column(name: &NetnsName) -> String {
    let shown = match name.after {
        NamedAfter::Host => return name.short(),
        NamedAfter::Container => escape(&short_id(&name.name)),
        _ => name.short(),
    };
    if shown == HOST || shown.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("\"{shown}\"");
    }
    shown
}

fn shown(name: &NetnsName) -> String {
    match name.after {
        NamedAfter::Host => "the host's".to_owned(),
        _ => name.short(),
    }
}
