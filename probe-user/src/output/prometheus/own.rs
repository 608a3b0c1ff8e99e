//! Metrics about the reliability of the others, and about the service itself.

use twtrace_core::doctor::finding::FindingCounts;
use twtrace_core::event::words::Word;
use twtrace_core::event::{LostBy, Timestamp};
use twtrace_core::model::series::Series;
use twtrace_core::model::series::owner::printable;
use twtrace_wire::Probe;

use super::event_counters::labels;
use super::families;
use super::metrics_page::{Labels, MetricsPage, seconds};
use crate::store::Status;

/// Resource usage of the process, from /proc/self. What could not be read is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Own {
    /// Resident memory, bytes.
    pub resident_bytes: Option<u64>,
    /// CPU time of all threads, seconds.
    pub cpu_s: Option<f64>,
    /// Start of the process, Unix time in seconds.
    pub started_s: Option<f64>,
    /// Open descriptors.
    pub open_fds: Option<u64>,
}

/// State of the service.
#[derive(Clone, Debug, Default)]
pub struct ServeState {
    /// Whether the last reload of the configuration succeeded, and its time.
    pub config_reload: Option<(bool, Timestamp)>,
    /// Findings about the last interval; `None` before the first has ended.
    pub findings: Option<FindingCounts>,
    /// `None` if there is no history.
    pub history: Option<Status>,
    /// Pages rendered so far.
    pub scrapes: u64,
    /// Resource usage; `None` if it was not read.
    pub own: Option<Own>,
}

/// State of tracing.
pub fn trust(page: &mut MetricsPage, series: &Series) {
    let tracing_start = series.tracing_start();
    let build = labels("version", env!("CARGO_PKG_VERSION"));
    page.family(&families::BUILD).add(&build, 1);
    let host = labels("host", &printable(&tracing_start.host.name))
        .with("kernel", &printable(&tracing_start.host.kernel));
    page.family(&families::HOST).add(&host, 1);
    let mut tiers = page.family(&families::TIER);
    for choice in &tracing_start.tiers {
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
    page.family(&families::START)
        .only(unix_s(tracing_start.at.ts));
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
    let [processes, destinations, pairs] =
        ["processes", "destinations", "pairs"].map(|of| labels("of", of));
    let mut shown = page.family(&families::SERIES);
    shown.add(&processes, series.processes().shown().count());
    shown.add(&destinations, series.destinations().shown().count());
    shown.add(&pairs, series.pairs().shown().count());
    let limits = series.limits();
    let mut limit = page.family(&families::SERIES_LIMIT);
    limit.add(&processes, limits.max_processes);
    limit.add(&destinations, limits.max_destinations);
    limit.add(&pairs, limits.max_destinations);
}

/// Findings of `doctor` about the last interval.
pub fn findings(page: &mut MetricsPage, findings: &FindingCounts) {
    let mut family = page.family(&families::FINDINGS);
    for ((id, severity), count) in &findings.counts {
        let kind = labels("id", id).with("severity", severity.word());
        family.add(&kind, *count);
    }
    page.family(&families::FINDINGS_AT)
        .only(unix_s(findings.at));
}

/// State of the service.
pub fn service(page: &mut MetricsPage, state: &ServeState) {
    if let Some(history) = &state.history {
        page.family(&families::HISTORY_WRITES).only(history.writes);
        page.family(&families::HISTORY_FAILURES)
            .only(history.failures);
        page.family(&families::HISTORY_DROPPED)
            .only(history.dropped);
        let is_failing = u8::from(history.is_failing);
        page.family(&families::HISTORY_FAILING).only(is_failing);
        page.family(&families::HISTORY_SIZE)
            .only(history.size_bytes);
        if let Some(oldest) = history.oldest {
            page.family(&families::HISTORY_OLDEST).only(unix_s(oldest));
        }
    }
    if let Some((is_ok, at)) = state.config_reload {
        page.family(&families::RELOAD_OK).only(u8::from(is_ok));
        page.family(&families::RELOAD_AT).only(unix_s(at));
    }
    page.family(&families::SCRAPES).only(state.scrapes);
    if let Some(own) = state.own {
        let some = |page: &mut MetricsPage, family, value: Option<f64>| {
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

fn unix_s(at: Timestamp) -> f64 {
    seconds(at.0)
}
