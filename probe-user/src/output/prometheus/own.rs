//! Whether the rest can be trusted, and how the service itself does.

use twtrace_wire::Probe;

use super::counters::labels;
use super::families;
use super::page::{Labels, Page};
use crate::clock::SECOND_NS;
use crate::event::LostBy;
use crate::event::words::Word;
use crate::model::series::Series;
use crate::model::series::owner::printable;
use crate::serve::own::Own;
use crate::store::Status;

/// How the service does.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServeState {
    /// Whether the configuration was last reloaded with success, and when that was tried, Unix time in seconds.
    pub config_reload: Option<(bool, f64)>,
    /// `None` where there is no history.
    pub history: Option<HistoryState>,
    /// Pages made so far.
    pub scrapes: u64,
    /// What the process takes; `None` where that was not read.
    pub own: Option<Own>,
}

/// How the history does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HistoryState {
    /// Intervals written.
    pub writes: u64,
    /// Writes that failed.
    pub failures: u64,
    /// Whether the last one did.
    pub is_failing: bool,
    /// What it takes.
    pub size_bytes: u64,
    /// Beginning of the oldest interval, Unix time in seconds.
    pub oldest_s: Option<f64>,
}

impl From<Status> for HistoryState {
    fn from(status: Status) -> Self {
        Self {
            writes: status.writes,
            // What is not kept at all is a failure, whoever was too slow.
            failures: status.failures + status.dropped,
            is_failing: status.is_failing,
            size_bytes: status.size_bytes,
            oldest_s: status
                .oldest
                .map(|oldest| oldest.0 as f64 / SECOND_NS as f64),
        }
    }
}

/// How tracing goes.
pub fn trust(page: &mut Page, series: &Series) {
    let opening = series.opening();
    let build = labels("version", env!("CARGO_PKG_VERSION"));
    page.family(&families::BUILD).add(&build, 1);
    let host = labels("host", &printable(&opening.host.name))
        .with("kernel", &printable(&opening.host.kernel));
    page.family(&families::HOST).add(&host, 1);
    let mut tiers = page.family(&families::TIER);
    for choice in &opening.tiers {
        let answered = labels("question", choice.question.name()).with("tier", choice.tier.name());
        tiers.add(&answered, 1);
    }
    let exact = series.exact();
    let mut figures = page.family(&families::EXACT);
    for (name, is_exact) in [
        ("processes", exact.processes),
        ("destinations", exact.destinations),
        ("refused_reuse", exact.refused_reuse),
        ("ends", exact.ends),
    ] {
        figures.add(&labels("figures", name), u8::from(is_exact));
    }
    let start_s = opening.at.ts.0 as f64 / SECOND_NS as f64;
    page.family(&families::START).only(start_s);
    let mut lost = page.family(&families::LOST);
    let probes = Probe::MEMBERS.iter().map(|probe| LostBy::Probe(*probe));
    for by in probes.chain([LostBy::Decode]) {
        let count = series.losses().get(&by).copied().unwrap_or(0);
        lost.add(&labels("probe", by.word()), count);
    }
    let mut misses = page.family(&families::RECURSION_MISSES);
    for (program, count) in series.recursion_misses().unwrap_or_default() {
        misses.add(&labels("program", &printable(program)), count);
    }
    let (processes, destinations) = (labels("of", "processes"), labels("of", "destinations"));
    let mut shown = page.family(&families::SERIES);
    shown.add(&processes, series.processes().shown().count());
    shown.add(&destinations, series.destinations().shown().count());
    let limits = series.limits();
    let mut limit = page.family(&families::SERIES_LIMIT);
    limit.add(&processes, limits.max_processes);
    limit.add(&destinations, limits.max_destinations);
}

/// How the service does.
pub fn service(page: &mut Page, state: &ServeState) {
    if let Some(history) = &state.history {
        page.family(&families::HISTORY_WRITES).only(history.writes);
        page.family(&families::HISTORY_FAILURES)
            .only(history.failures);
        let is_failing = u8::from(history.is_failing);
        page.family(&families::HISTORY_FAILING).only(is_failing);
        page.family(&families::HISTORY_SIZE)
            .only(history.size_bytes);
        if let Some(oldest_s) = history.oldest_s {
            page.family(&families::HISTORY_OLDEST).only(oldest_s);
        }
    }
    if let Some((is_ok, at_s)) = state.config_reload {
        page.family(&families::RELOAD_OK).only(u8::from(is_ok));
        page.family(&families::RELOAD_AT).only(at_s);
    }
    page.family(&families::SCRAPES).only(state.scrapes);
    if let Some(own) = state.own {
        let some = |page: &mut Page, family, value: Option<f64>| {
            if let Some(value) = value {
                page.family(family).add(&Labels::default(), value);
            }
        };
        some(
            page,
            &families::OWN_RESIDENT,
            own.resident_bytes.map(|bytes| bytes as f64),
        );
        some(page, &families::OWN_CPU, own.cpu_s);
        some(page, &families::OWN_START, own.started_s);
        some(page, &families::OWN_FDS, own.open_fds.map(|fds| fds as f64));
    }
}
