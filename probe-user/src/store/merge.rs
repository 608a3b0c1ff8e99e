//! Combines intervals into a report and a diagnosis over a longer time.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::doctor::facts::DoctorFacts;
use twtrace_core::event::timestamp::SECOND_NS;
use twtrace_core::event::{LostBy, Timestamp};
use twtrace_core::filter::Filter;
use twtrace_core::model::audit::{self, AuditRow};
use twtrace_core::model::budget::row::{self, BudgetRow, OtherBudgets, PoolWord};
use twtrace_core::model::coverage::Coverage;
use twtrace_core::model::destination::Destination;
use twtrace_core::model::destinations::{self, DestinationRow};
use twtrace_core::model::exactness::{Losses, forgotten};
use twtrace_core::model::memory::Memory;
use twtrace_core::model::namespace::NamespaceSamples;
use twtrace_core::model::netns_name::NetnsName;
use twtrace_core::model::pairs::Pairs;
use twtrace_core::model::report::{LostRow, MissRow, Report, TimeWaitsAlive, sorted};
use twtrace_core::model::sums::ProcessSums;
use twtrace_core::model::timeline::{Bucket, Timeline};
use twtrace_wire::{ProcessKey, Side};

use super::fold;
use super::reader::{IntervalPosition, Span};
use crate::store::interval::Interval;

/// Within an interval, the wall clock and CLOCK_MONOTONIC drift apart by less than this.
const CLOCK_SET_NS: u64 = SECOND_NS;

type DestinationKey = (Option<u32>, u32, Side, Destination);
type BudgetKey = (u32, PoolWord, Option<IpAddr>, Option<SocketAddr>, bool);

fn destination_key(row: &DestinationRow) -> DestinationKey {
    (row.netns, row.netns_nth, row.side, row.destination)
}

/// The sum of the intervals that were added.
#[derive(Clone, Debug)]
pub struct Merge {
    filter: Filter,
    span: Span,
    coverage: Coverage,
    last: Option<(Interval, Arc<str>)>,
    start: Timestamp,
    traced_ns: u64,
    exact: Option<twtrace_core::model::report::Exact>,
    /// By boot: process ids are reused after a boot.
    processes: HashMap<(Arc<str>, ProcessKey), ProcessSums>,
    destinations: HashMap<DestinationKey, DestinationRow>,
    pairs: Pairs,
    budgets: HashMap<BudgetKey, BudgetRow>,
    /// Port pools that had no room among them.
    other_budgets: OtherBudgets,
    audit: BTreeMap<(u32, u32), AuditRow>,
    names: BTreeMap<u32, NetnsName>,
    lost: BTreeMap<LostBy, u64>,
    misses: Option<BTreeMap<String, u64>>,
    /// Counts of each interval, and its start relative to the first one, nanoseconds.
    sums: Vec<(u64, Bucket)>,
    widest_ns: u64,
}

/// The result of a merge.
#[derive(Debug)]
pub struct Merged {
    /// In the form of `twtrace report`.
    pub report: Report,
    /// What happened when, as far as intervals show it.
    pub timeline: Timeline,
    filter: Filter,
}

impl Merge {
    /// An empty merge. Only what passes the filter is counted.
    pub fn new(filter: Filter, span: Span) -> Self {
        Self {
            filter,
            span,
            coverage: Coverage::default(),
            last: None,
            start: Timestamp::default(),
            traced_ns: 0,
            exact: None,
            processes: HashMap::new(),
            destinations: HashMap::new(),
            pairs: Pairs::default(),
            budgets: HashMap::new(),
            other_budgets: OtherBudgets::default(),
            audit: BTreeMap::new(),
            names: BTreeMap::new(),
            lost: BTreeMap::new(),
            misses: None,
            sums: Vec::new(),
            widest_ns: 0,
        }
    }

    /// Adds an interval. They must be added in order.
    pub fn add(&mut self, place: &IntervalPosition, mut interval: Interval) {
        self.cover(place, &interval);
        let length_ns = interval.end.mono_ns.saturating_sub(interval.start.mono_ns);
        self.traced_ns += length_ns;
        self.widest_ns = self.widest_ns.max(length_ns);
        let began_ns = interval.start.ts.0.saturating_sub(self.start.0);
        self.sums
            .push((began_ns, std::mem::take(&mut interval.sum)));
        self.add_exactness(&interval);
        for row in std::mem::take(&mut interval.processes) {
            let key = (place.boot_id.clone(), row.key);
            match self.processes.get_mut(&key) {
                Some(known) => known.add(row),
                None => {
                    self.processes.insert(key, row);
                }
            }
        }
        for row in std::mem::take(&mut interval.destinations) {
            let key = destination_key(&row);
            match self.destinations.get_mut(&key) {
                Some(known) => known.add(&row),
                None => {
                    self.destinations.insert(key, row);
                }
            }
        }
        for mut row in std::mem::take(&mut interval.pairs) {
            if self.shows(Some(row.netns), row.side, row.destination)
                && self.filter.shows_process(row.process.as_deref())
            {
                row.counts.keep_only(|kind| self.filter.shows_kind(kind));
                if row.counts.events() > 0 || !row.counts.reuse.is_empty() {
                    self.pairs.add(row);
                }
            }
        }
        // A history may cover years.
        let folded = fold::merged_processes(&mut self.processes, &place.boot_id);
        self.coverage.processes_folded += folded;
        if let (1.., Some(exact)) = (folded, &mut self.exact) {
            exact.processes = false;
        }
        fold::merged_destinations(&mut self.destinations, destination_key);
        self.other_budgets
            .add(&fold::merged_budgets(&mut self.budgets));
        self.pairs.add_left_out(interval.pairs_left_out);
        for row in std::mem::take(&mut interval.budgets) {
            self.add_budget(row);
        }
        for row in &interval.audit {
            match self.audit.get_mut(&(row.netns, row.netns_nth)) {
                Some(known) => known.add(row),
                None => {
                    self.audit.insert((row.netns, row.netns_nth), row.clone());
                }
            }
        }
        for named in std::mem::take(&mut interval.netns_names) {
            self.names.insert(named.netns, named);
        }
        for row in &interval.lost {
            *self.lost.entry(row.probe).or_default() += row.count;
        }
        for row in interval.recursion_misses.iter().flatten() {
            let misses = self.misses.get_or_insert_default();
            *misses.entry(row.program.clone()).or_default() += row.count;
        }
        self.last = Some((interval, place.boot_id.clone()));
    }

    /// Finds what is missing between the previous interval and this one.
    fn cover(&mut self, place: &IntervalPosition, interval: &Interval) {
        let coverage = &mut self.coverage;
        coverage.intervals += 1;
        coverage.processes_folded += interval.processes_folded;
        coverage.events_left_out += interval.events_left_out;
        let is_set = |wall_ns: i128, mono_ns: u64| {
            (wall_ns - i128::from(mono_ns)).unsigned_abs() > u128::from(CLOCK_SET_NS)
        };
        let wall = |from: Timestamp, to: Timestamp| i128::from(to.0) - i128::from(from.0);
        let length_ns = interval.end.mono_ns.saturating_sub(interval.start.mono_ns);
        coverage.clock_changes +=
            u64::from(is_set(wall(interval.start.ts, interval.end.ts), length_ns));
        let Some((before, boot_id)) = &self.last else {
            self.start = interval.start.ts;
            if let Some(since) = self.span.since {
                coverage.add_gap(since, interval.start.ts);
            }
            return;
        };
        let (ended, begins) = (before.end, interval.start);
        match begins.mono_ns.checked_sub(ended.mono_ns) {
            Some(gap_ns) if *boot_id == place.boot_id => {
                let is_set = is_set(wall(ended.ts, begins.ts), gap_ns);
                let to = if is_set {
                    Timestamp(ended.ts.0.saturating_add(gap_ns))
                } else {
                    begins.ts
                };
                coverage.add_gap(ended.ts, to);
                coverage.clock_changes += u64::from(is_set);
            }
            _ => {
                coverage.add_gap(ended.ts, begins.ts);
                coverage.clock_changes += u64::from(begins.ts < ended.ts);
            }
        }
    }

    fn add_exactness(&mut self, interval: &Interval) {
        let exact = self.exact.get_or_insert(interval.exact);
        exact.processes &= interval.exact.processes && interval.processes_folded == 0;
        exact.destinations &= interval.exact.destinations;
        exact.refused_reuse &= interval.exact.refused_reuse;
        exact.ends &= interval.exact.ends;
    }

    /// A budget is shown as it was when it was fullest. Failures are those of the whole time.
    fn add_budget(&mut self, row: BudgetRow) {
        let is_shown = self.filter.shows_netns(row.netns)
            && self
                .filter
                .shows_local(row.source.map(|source| (source, 0).into()))
            && self.filter.shows_remote(row.destination);
        if !is_shown {
            return;
        }
        let key = (
            row.netns,
            row.pool,
            row.source,
            row.destination,
            row.socket_range,
        );
        match self.budgets.get_mut(&key) {
            None => {
                self.budgets.insert(key, row);
            }
            Some(known) => {
                let failures = known.failures + row.failures;
                let fullness = |row: &BudgetRow| (row.free == Some(0), row.used().unwrap_or(-1.0));
                if fullness(&row) > fullness(known) {
                    *known = row;
                }
                known.failures = failures;
            }
        }
    }

    /// Whether facts towards a destination pass the filter, as far as that is known.
    fn shows(&self, netns: Option<u32>, side: Side, destination: Destination) -> bool {
        let filter = &self.filter;
        let (local, remote) = match destination {
            Destination::Remote(remote) => (None, Some(remote)),
            Destination::Peer(address) => (None, Some((address, 0).into())),
            Destination::LocalPort(port) => {
                let any = IpAddr::from([0, 0, 0, 0]);
                (Some((any, port).into()), None)
            }
            Destination::Unknown | Destination::Others => (None, None),
        };
        (filter.netns.is_empty() || netns.is_some_and(|netns| filter.shows_netns(netns)))
            && (filter.sides.is_empty() || filter.sides.contains(&side))
            && filter.shows_local(local)
            && filter.shows_remote(remote)
    }

    /// The result; `None` if there was no interval.
    pub fn finish(mut self) -> Option<Merged> {
        let (last, _) = self.last.take()?;
        if let Some(until) = self.span.until {
            self.coverage.add_gap(last.end.ts, until);
        }
        let filter = self.filter.clone();
        let is_by_process = filter.is_by_process();
        let rows = std::mem::take(&mut self.processes).into_values();
        let processes = rows
            .filter(|row| is_by_process && filter.shows_process(row.process.as_ref()))
            .map(|row| row.row().only(&filter));
        let processes = sorted(processes);
        let asks_for_process = filter.asks_for_processes();
        let rows = std::mem::take(&mut self.destinations).into_values();
        let mut destinations: Vec<DestinationRow> = rows
            .filter(|row| !asks_for_process && self.shows(row.netns, row.side, row.destination))
            .map(|mut row| {
                row.keep_only(|kind| filter.shows_kind(kind));
                row
            })
            .filter(|row| !row.is_empty())
            .collect();
        destinations::sort(&mut destinations);
        let mut budgets: Vec<BudgetRow> = std::mem::take(&mut self.budgets).into_values().collect();
        row::sort(&mut budgets);
        let mut close_wait = last.close_wait;
        close_wait.retain(|row| {
            filter.shows_process(row.process.as_ref())
                && self.shows(Some(row.netns), row.side, row.destination)
        });
        let mut other_budgets = last.other_budgets;
        other_budgets.add(&self.other_budgets);
        let exact = self.exact?;
        let lost: Vec<LostRow> = self
            .lost
            .into_iter()
            .map(|(probe, count)| LostRow { probe, count })
            .collect();
        let misses: Option<Vec<MissRow>> = self.misses.map(|misses| {
            let misses = misses.into_iter();
            misses
                .map(|(program, count)| MissRow { program, count })
                .collect()
        });
        let (_, mut inexact) = Losses {
            tiers: &last.tiers,
            lost: &lost,
            misses: misses.as_deref(),
            by_totals: true,
            forgotten: match self.coverage.processes_folded {
                0 => forgotten(&processes),
                _ => 0,
            },
        }
        .exactness();
        // A program may have been skipped in one interval, and its second chance in another.
        inexact.retain(|row| row.figures.iter().any(|figures| !exact.is(*figures)));
        let mut audit_rows: Vec<AuditRow> = self.audit.into_values().collect();
        audit_rows.retain(|row| self.filter.shows_netns(row.netns));
        let report = Report {
            start: self.start,
            end: last.end.ts,
            duration_ns: self.traced_ns,
            host: last.host.name,
            kernel: last.host.kernel,
            tiers: last.tiers,
            exact,
            inexact,
            processes,
            destinations,
            pairs: self.pairs.rows(),
            pairs_left_out: self.pairs.left_out(),
            budgets,
            time_waits_alive: TimeWaitsAlive::default(),
            other_budgets,
            budgets_unknown: last.budgets_unknown,
            close_wait,
            fixed_ports: Vec::new(),
            fixed_ports_left_out: 0,
            missing_addresses: Vec::new(),
            missing_addresses_left_out: 0,
            unscanned: last.unscanned,
            netns_names: self.names.into_values().collect(),
            stacks: None,
            memory: Memory::of(last.caches),
            audit_off: audit::count_off(&audit_rows),
            audit: audit_rows,
            lost,
            recursion_misses: misses,
            has_totals: true,
            history: Some(self.coverage),
        };
        let mut timeline = Timeline::new(0, self.start).with_width(self.widest_ns);
        for (began_ns, sum) in &self.sums {
            timeline.add(*began_ns, sum);
        }
        Some(Merged {
            report,
            timeline,
            filter,
        })
    }
}

impl Merged {
    /// The filter that everything in it passed.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The findings, and the report that they are based on. The samples are settings and counters of namespaces at the
    /// beginning and at the end.
    pub fn into_diagnosis(
        self,
        samples: (NamespaceSamples, NamespaceSamples),
    ) -> (Diagnosis, Report) {
        let (facts, filter) = self.into_facts(samples);
        (Diagnosis::new(&facts, &filter), facts.report)
    }

    /// What the findings are based on, and its filter.
    pub fn into_facts(
        self,
        samples: (NamespaceSamples, NamespaceSamples),
    ) -> (DoctorFacts, Filter) {
        let facts = DoctorFacts::new(self.report, samples, &self.filter);
        (facts, self.filter)
    }
}
