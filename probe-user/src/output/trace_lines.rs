//! Lines of `trace` for users: aligned, and as wide as the page.

use std::collections::HashMap;

use twtrace_core::event::{Event, Lost};
use twtrace_core::model::netns_name::NetnsName;
use unicode_width::UnicodeWidthStr;

use super::cut;
use super::lines::{self, LineCells};
use super::table::names;

const TIME: usize = 0;
const EVENT: usize = 1;
const PROCESS: usize = 2;
const NETNS: usize = 3;
const SIDE: usize = 4;
const LOCAL: usize = 5;
const REMOTE: usize = 6;
const DETAILS: usize = 7;

/// Headings of the columns. NETNS is only there if events are of several namespaces.
pub const HEADINGS: [&str; 8] = [
    "TIME (UTC)",
    "EVENT",
    "PROCESS",
    "NETNS",
    "SIDE",
    "LOCAL",
    "REMOTE",
    "DETAILS",
];
/// Widths on a page of unlimited width. The details end the line.
const WHOLE: [usize; 8] = [15, 18, 22, 12, 7, 21, 21, 0];
/// On such a page a column becomes as wide as its longest text, up to this width.
const LONGEST: [usize; 8] = [15, 18, 32, 24, 7, 47, 47, 0];
/// Widths on the narrowest page that shows all columns.
const NARROWEST: [usize; 8] = [8, 9, 12, 6, 6, 8, 15, 16];
/// What a wider page is used for, in this order: a column, and its width.
const WIDENED: [(usize, usize); 19] = [
    (NETNS, 8),
    (DETAILS, 20),
    (EVENT, 13),
    (REMOTE, 17),
    (PROCESS, 16),
    (DETAILS, 30),
    (NETNS, 10),
    (LOCAL, 15),
    (SIDE, 7),
    (REMOTE, 21),
    (LOCAL, 17),
    (PROCESS, 22),
    (DETAILS, 60),
    (LOCAL, 21),
    (TIME, 15),
    (EVENT, 18),
    (DETAILS, 90),
    (REMOTE, 47),
    (LOCAL, 47),
];
/// From this width on, two spaces separate columns.
const ROOMY: usize = 110;

/// Width and namespaces of the lines so far.
#[derive(Debug)]
pub struct TraceLines {
    page_width: Option<usize>,
    widths: [usize; 8],
    /// The namespace of the first event, by host, with its position among those of its number.
    first: HashMap<usize, (u32, u32)>,
    has_netns: bool,
    /// Names by host and number, with that position.
    names: HashMap<(usize, u32), (u32, String)>,
    /// Those without a name when it was looked up.
    nameless: HashMap<(usize, u32), u32>,
    /// The last position, where it is not the first.
    last: HashMap<(usize, u32), u32>,
}

impl TraceLines {
    /// No event was shown yet. `page_width` is `None` if lines may be of any length.
    pub fn new(page_width: Option<usize>) -> Self {
        let mut lines = Self {
            page_width,
            widths: WHOLE,
            first: HashMap::new(),
            has_netns: false,
            names: HashMap::new(),
            nameless: HashMap::new(),
            last: HashMap::new(),
        };
        lines.lay_out();
        lines
    }

    /// Adapts to a page of another width. Returns whether that changed, and the heading has to be repeated.
    pub fn resize(&mut self, page_width: Option<usize>) -> bool {
        let is_changed = self.page_width != page_width;
        self.page_width = page_width;
        if is_changed {
            self.lay_out();
        }
        is_changed
    }

    /// The line with the headings.
    pub fn heading(&self) -> String {
        let cells = std::array::from_fn(|column| {
            let heading = HEADINGS[column];
            match heading.split_once(' ') {
                Some((word, _)) if heading.len() > self.widths[column] => word.to_owned(),
                _ => heading.to_owned(),
            }
        });
        self.line(&cells)
    }

    /// The lines to print before an event: those that begin the column NETNS, if this is the first event of another
    /// namespace.
    pub fn before(&mut self, host: usize, event: &Event) -> Vec<String> {
        let Some(netns) = event.netns else {
            return Vec::new();
        };
        self.note(host, event);
        let namespace = (netns, event.netns_nth);
        let first = *self.first.entry(host).or_insert(namespace);
        if self.has_netns || first == namespace {
            return Vec::new();
        }
        self.has_netns = true;
        self.lay_out();
        let mut lines = Vec::new();
        if self.first.len() == 1 {
            let name = self.netns(host, first.0, first.1);
            let line = format!("All lines above are of network namespace {name}");
            lines.push(self.cut(&line));
        }
        lines.push(self.heading());
        lines
    }

    /// Whether an event's namespace would be shown by its number, and its name was not looked up yet.
    pub fn lacks_name(&self, host: usize, event: &Event) -> bool {
        let is_named = |netns| {
            let named = self.names.get(&(host, netns)).map(|(nth, _)| nth);
            let nameless = self.nameless.get(&(host, netns));
            [named, nameless].contains(&Some(&event.netns_nth))
        };
        let is_other = |netns| self.first.get(&host) != Some(&(netns, event.netns_nth));
        event
            .netns
            .is_some_and(|netns| (self.has_netns || is_other(netns)) && !is_named(netns))
    }

    /// Looks up the names of a host's namespaces for an event: once, even if its namespace has none.
    pub fn look_up(&mut self, host: usize, event: &Event, find: impl FnOnce() -> Vec<NetnsName>) {
        self.note(host, event);
        self.name(host, &find());
        if let (true, Some(netns)) = (self.lacks_name(host, event), event.netns) {
            self.nameless.insert((host, netns), event.netns_nth);
        }
    }

    fn note(&mut self, host: usize, event: &Event) {
        if let (Some(netns), nth @ 1..) = (event.netns, event.netns_nth) {
            self.last.insert((host, netns), nth);
        }
    }

    /// Notes the names of a host's namespaces as they are now.
    pub fn name(&mut self, host: usize, names: &[NetnsName]) {
        self.names.retain(|(of, _), _| *of != host);
        for name in names {
            let key = (host, name.netns);
            let nth = self.last.get(&key).copied().unwrap_or(0);
            self.names.insert(key, (nth, names::in_column(name)));
        }
    }

    /// One event.
    pub fn event(&mut self, host: usize, event: &Event) -> String {
        let netns = match event.netns {
            Some(netns) if self.has_netns => self.netns(host, netns, event.netns_nth),
            _ => "-".to_owned(),
        };
        self.fitted(lines::cells(event), netns)
    }

    /// What was lost.
    pub fn lost(&mut self, lost: &Lost) -> String {
        self.fitted(lines::lost_cells(lost), "-".to_owned())
    }

    fn netns(&self, host: usize, netns: u32, nth: u32) -> String {
        match self.names.get(&(host, netns)) {
            Some((of, name)) if *of == nth || name == names::HOST => name.clone(),
            _ => names::shown_netns(netns, nth),
        }
    }

    fn fitted(&mut self, cells: LineCells, netns: String) -> String {
        let [time, event, process, side, local, remote, details] = cells;
        let cells = [time, event, process, netns, side, local, remote, details];
        if self.page_width.is_none() {
            for (column, cell) in cells.iter().enumerate() {
                let longest = cell.width().min(LONGEST[column]);
                self.widths[column] = self.widths[column].max(longest);
            }
        }
        self.line(&cells)
    }

    fn line(&self, cells: &[String; 8]) -> String {
        let gap = self.gap();
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            if column == NETNS && !self.has_netns {
                continue;
            }
            let width = self.widths[column];
            let cell = match (column, self.page_width) {
                (_, None) => cell.into(),
                // Digits of the fraction.
                (TIME, _) => cell
                    .get(..width)
                    .unwrap_or(cell)
                    .trim_end_matches('.')
                    .into(),
                (EVENT | PROCESS | NETNS | LOCAL | REMOTE, _) => cut::middle(cell, width),
                _ => cut::end(cell, width),
            };
            line.push_str(&cell);
            let padding = width.saturating_sub(cell.width()) + gap;
            line.extend(std::iter::repeat_n(' ', padding));
        }
        // The page may be narrower than all columns.
        self.cut(line.trim_end())
    }

    fn cut(&self, line: &str) -> String {
        let width = self.page_width.unwrap_or(usize::MAX);
        cut::end(line, width).into_owned()
    }

    fn gap(&self) -> usize {
        match self.page_width {
            Some(width) if width < ROOMY => 1,
            _ => 2,
        }
    }

    fn lay_out(&mut self) {
        let Some(page_width) = self.page_width else {
            self.widths = WHOLE;
            return;
        };
        self.widths = NARROWEST;
        let is_there = |column| column != NETNS || self.has_netns;
        let columns = (0..HEADINGS.len()).filter(|column| is_there(*column));
        let used = columns.map(|column| NARROWEST[column] + self.gap());
        let mut room = page_width.saturating_sub(used.sum::<usize>() - self.gap());
        for (column, width) in WIDENED {
            if is_there(column) {
                let more = width.saturating_sub(self.widths[column]).min(room);
                self.widths[column] += more;
                room -= more;
            }
        }
        self.widths[DETAILS] += room;
    }
}

#[cfg(test)]
#[path = "trace_lines_tests.rs"]
mod tests;
