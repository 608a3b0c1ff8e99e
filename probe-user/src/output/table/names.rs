//! Names of the network namespaces that other tables show by number.

use twtrace_core::event::text::escape;
use twtrace_core::model::netns_name::{NamedAfter, NetnsName};
use twtrace_core::model::report::Report;

use super::grid::{Align, Grid, text};

/// The table; empty if only the host's own namespace occurs.
pub fn render(report: &Report) -> String {
    let numbers = report.namespaces();
    let named: Vec<&NetnsName> = report
        .netns_names
        .iter()
        .filter(|name| numbers.contains(&name.netns))
        .collect();
    if named.iter().all(|name| name.after == NamedAfter::Host) {
        return String::new();
    }
    let mut grid = Grid::new(&[("NETNS", Align::Right), ("NAME", Align::Left)]);
    for name in named {
        grid.row([name.netns.to_string(), shown(name)]);
    }
    text(&grid)
}

/// The number of a namespace, with its position among those that had this number: `4026532177 #2`.
pub fn shown_netns(netns: u32, nth: u32) -> String {
    match nth {
        0 => netns.to_string(),
        _ => format!("{netns} #{}", u64::from(nth) + 1),
    }
}

/// Number and name of a namespace: `4026532177 (blue)`.
pub fn numbered(report: &Report, netns: u32) -> String {
    let mut names = report.netns_names.iter();
    match names.find(|name| name.netns == netns) {
        Some(name) => format!("{netns} ({})", shown(name)),
        None => netns.to_string(),
    }
}

/// The short name of the host's own namespace.
pub const HOST: &str = "host";

/// The name of a namespace, or its number.
pub fn short(report: &Report, netns: u32, nth: u32) -> String {
    let mut names = report.netns_names.iter();
    let named = names.find(|name| name.netns == netns);
    // An earlier namespace of this number need not have had this name. The host's stays as long as the host is up.
    let is_its =
        |name: &&NetnsName| name.after == NamedAfter::Host || nth == report.last_nth(netns);
    match named.filter(is_its) {
        Some(NetnsName {
            after: NamedAfter::Host,
            ..
        }) => HOST.to_owned(),
        Some(name) => shown(name),
        None => shown_netns(netns, nth),
    }
}

fn shown(NetnsName { after, name, .. }: &NetnsName) -> String {
    let name = escape(name);
    match after {
        NamedAfter::Host => "the host's".to_owned(),
        NamedAfter::IpNetns | NamedAfter::Mount | NamedAfter::Unit => name,
        NamedAfter::Pod => format!("pod {name}"),
        NamedAfter::Container => format!("container {name}"),
    }
}
