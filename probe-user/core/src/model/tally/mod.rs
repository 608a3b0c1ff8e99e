//! All that one host reported: takes events and observations, gives a report and a diagnosis. Live views and the replay
//! of recordings feed it in the same way, in the order of the reports.

mod listeners;
mod report;

use std::collections::BTreeMap;

use twtrace_wire::ProcessKey;

use super::Model;
use super::audit::AuditRow;
use super::budget::ledger::Ledger;
use super::exited::Exited;
use super::fixed_ports::FixedPorts;
use super::memory::CacheRow;
use super::missing_addresses::MissingAddresses;
use super::observation::{CloseWait, KernelTotals, Observation, ObservationData};
use super::pairs::Pairs;
use super::report::MissRow;
use super::stacks::StackRow;
use super::sums::ProcessSums;
use super::timeline::{Bucket, Timeline};
use crate::event::{Event, Lost, LostBy, Moment};
use crate::filter::Filter;
use crate::hooks::{Choice, sees_ends};
use crate::model::host::Host;
use crate::model::namespace::NamespaceSamples;
use crate::model::netns_name::NetnsName;

/// The start of tracing.
#[derive(Clone, Debug)]
pub struct TracingStart {
    /// When all probes were attached.
    pub at: Moment,
    /// The traced host.
    pub host: Host,
    /// The tier of each capability.
    pub tiers: Vec<Choice>,
}

/// Totals of everything that one host reported.
#[derive(Debug)]
pub struct Tally {
    tracing_start: TracingStart,
    filter: Filter,
    model: Model,
    pairs: Pairs,
    ledger: Ledger,
    timeline: Timeline,
    /// Rates of port pools start from the sample before the latest.
    has_recent_rates: bool,
    /// Only a part of a recording is read.
    is_excerpt: bool,
    /// Whether the latest sample of namespaces is from before it.
    is_sampled_before: bool,
    /// Settings and counters of the first and the latest sample.
    namespaces: Option<(NamespaceSamples, NamespaceSamples)>,
    /// Names of namespaces, from all samples; and from the latest.
    names: BTreeMap<u32, NetnsName>,
    latest_names: Vec<NetnsName>,
    fixed_ports: FixedPorts,
    missing_addresses: MissingAddresses,
    close_wait: CloseWait,
    /// The first sample of CLOSE_WAIT in the interval, and when it and the latest one were taken.
    close_wait_before: Option<(CloseWait, Moment)>,
    close_wait_at: Option<Moment>,
    /// When processes were seen to have exited.
    exited: Exited,
    caches: Vec<CacheRow>,
    audit: Vec<AuditRow>,
    /// The same when the interval began.
    audit_before: Vec<AuditRow>,
    totals: Option<KernelTotals>,
    /// Runs that the kernel had skipped when the interval began.
    misses_before: Vec<MissRow>,
    stacks: Option<Vec<StackRow>>,
    lost: BTreeMap<LostBy, u64>,
    /// The latest reported time.
    latest: Moment,
}

impl Tally {
    /// Initially empty. What passes the filter is counted; the audit covers all processes in the namespaces that it
    /// shows.
    pub fn new(tracing_start: TracingStart, filter: Filter) -> Self {
        Self {
            model: Self::model(&tracing_start, &filter),
            latest: tracing_start.at,
            timeline: Timeline::new(tracing_start.at.mono_ns, tracing_start.at.ts),
            ledger: Ledger::counting_since(tracing_start.at.mono_ns),
            tracing_start,
            filter,
            pairs: Pairs::default(),
            has_recent_rates: false,
            is_excerpt: false,
            is_sampled_before: false,
            namespaces: None,
            names: BTreeMap::new(),
            latest_names: Vec::new(),
            fixed_ports: FixedPorts::default(),
            missing_addresses: MissingAddresses::default(),
            close_wait: CloseWait::default(),
            close_wait_before: None,
            close_wait_at: None,
            exited: Exited::default(),
            caches: Vec::new(),
            audit: Vec::new(),
            audit_before: Vec::new(),
            totals: None,
            misses_before: Vec::new(),
            stacks: None,
            lost: BTreeMap::new(),
        }
    }

    /// The same, with recent rates of port pools instead of rates over the whole time.
    pub fn with_recent_rates(mut self) -> Self {
        self.has_recent_rates = true;
        self
    }

    /// The same for a part of a recording: samples before it, and what was summed up for all of the recording, say nothing
    /// about it.
    pub fn of_excerpt(mut self) -> Self {
        self.is_excerpt = true;
        self.ledger = self.ledger.of_excerpt();
        self
    }

    /// Begins another interval at this time: everything is counted from 0. Samples are kept, so that port pools and
    /// their rates are known from the start.
    pub fn begin_interval(&mut self, at: Moment) {
        let tracing_start = TracingStart {
            at,
            ..self.tracing_start.clone()
        };
        let anew = Self::new(tracing_start, self.filter.clone());
        let ended = std::mem::replace(self, anew);
        self.misses_before = ended.misses().unwrap_or(ended.misses_before);
        self.audit_before.clone_from(&ended.audit);
        self.ledger = ended.ledger;
        self.ledger.begin_interval();
        self.has_recent_rates = ended.has_recent_rates;
        self.namespaces = ended.namespaces.map(|(_, latest)| (latest.clone(), latest));
        self.name(ended.latest_names);
        self.fixed_ports = ended.fixed_ports.into_next();
        self.close_wait = ended.close_wait;
        self.close_wait_at = ended.close_wait_at;
        self.caches = ended.caches;
        self.audit = ended.audit;
    }

    /// Changes the filter, if nothing was counted in this interval yet.
    pub fn begin_with(&mut self, filter: Filter) {
        self.model = Self::model(&self.tracing_start, &filter);
        self.filter = filter;
    }

    fn model(tracing_start: &TracingStart, filter: &Filter) -> Model {
        if sees_ends(&tracing_start.tiers) {
            Model::new(filter.clone())
        } else {
            Model::with_presumed_ends(filter.clone())
        }
    }

    /// Adds what the kernel side counted since the last time. Not to be mixed with [`ObservationData::Totals`], which are
    /// those of the whole time.
    pub fn add_totals(&mut self, taken: &KernelTotals) {
        self.totals.get_or_insert_default().add(taken);
    }

    /// The start of tracing.
    pub fn tracing_start(&self) -> &TracingStart {
        &self.tracing_start
    }

    /// The current filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The latest time that was reported or reached.
    pub fn latest(&self) -> Moment {
        self.latest
    }

    /// Takes an event, whether it passes the filter or not.
    pub fn any_event(&mut self, event: &Event) {
        self.ledger.note(event);
        self.reached(Moment {
            ts: event.ts,
            mono_ns: event.mono_ns,
        });
    }

    /// Takes an event of a recording: if only a command was recorded, its process belongs to the command.
    pub fn recorded_event(&mut self, event: &Event) {
        self.meet(event.process.as_ref().map(|process| process.key));
        self.any_event(event);
        if self.filter.matches(event) {
            self.event(event);
        }
    }

    fn meet(&self, members: impl IntoIterator<Item = ProcessKey>) {
        if let Some(family) = self.filter.known_family() {
            family.add(members);
        }
    }

    /// Counts an event that passes the filter.
    pub fn event(&mut self, event: &Event) {
        self.model.apply(event);
        self.pairs.apply(event);
        self.fixed_ports.apply(event);
        self.missing_addresses.apply(event);
        self.timeline.apply(event);
    }

    /// Counts losses.
    pub fn lost(&mut self, lost: &Lost) {
        self.timeline.lost(lost);
        *self.lost.entry(lost.probe).or_default() += lost.count;
        self.reached(Moment {
            ts: lost.ts,
            mono_ns: lost.mono_ns,
        });
    }

    /// Takes an observation.
    pub fn observe(&mut self, observation: Observation) {
        let Observation { at, data } = observation;
        match data {
            ObservationData::Sockets(samples) => {
                if self.has_recent_rates {
                    self.ledger.rotate();
                }
                self.ledger.sample(samples, at.mono_ns);
            }
            ObservationData::PoolHolders(holders) => self.ledger.take_holders(holders),
            ObservationData::Namespaces(samples) => {
                self.is_sampled_before = at.mono_ns < self.tracing_start.at.mono_ns;
                match &mut self.namespaces {
                    None => self.namespaces = Some((samples.clone(), samples)),
                    Some((_, after)) => *after = samples,
                }
            }
            ObservationData::Names(names) => self.name(names),
            ObservationData::CloseWait(close_wait) => {
                let before = std::mem::replace(&mut self.close_wait, close_wait);
                if let Some(before_at) = self.close_wait_at.replace(at)
                    && self.close_wait_before.is_none()
                {
                    self.close_wait_before = Some((before, before_at));
                }
            }
            ObservationData::PortHolders(holders) => self.fixed_ports.take_holders(at, holders),
            ObservationData::Memory(caches) => self.caches = caches,
            ObservationData::Audit(rows) => self.audit = rows,
            ObservationData::Totals(totals) => self.totals = Some(totals),
            ObservationData::Stacks(rows) => self.stacks = Some(rows),
            ObservationData::Evidence(delta) => self.ledger.take_evidence(delta),
            ObservationData::Exited(processes) => {
                let keys = processes.iter().map(|process| process.key);
                self.exited.note(keys, at);
            }
            ObservationData::Family(members) => self.meet(members.iter().map(|member| member.key)),
            // The end is when the totals were read, not when everything had been reported.
            ObservationData::End => {
                self.latest = at;
                return;
            }
        }
        self.reached(at);
    }

    fn name(&mut self, names: Vec<NetnsName>) {
        let by_number = names.iter().map(|name| (name.netns, name.clone()));
        self.names.extend(by_number);
        self.latest_names = names;
    }

    /// This time was reached, whether anything was reported or not.
    pub fn reached(&mut self, moment: Moment) {
        if moment.mono_ns > self.latest.mono_ns {
            self.latest = moment;
        }
    }

    /// Sums of what was counted from events.
    pub fn counted(&self) -> Bucket {
        self.timeline.sum()
    }

    /// Counts over time, up to the latest time.
    pub fn timeline(&self) -> Timeline {
        self.timeline.until(self.latest.mono_ns)
    }

    /// Events of each process by destination.
    pub fn pairs(&self) -> &Pairs {
        &self.pairs
    }

    /// Settings and counters of the first and the latest sample; empty without samples.
    pub fn namespaces(&self) -> (NamespaceSamples, NamespaceSamples) {
        self.namespaces.clone().unwrap_or_default()
    }

    /// The rows by process, as sums that can be added up.
    pub fn process_sums(&self) -> Vec<ProcessSums> {
        self.model.process_sums(self.totals.as_ref())
    }

    /// The audit of this interval alone: [`Report::audit`](super::report::Report::audit) goes back to when tracing began.
    pub fn audit_of_interval(&self) -> Vec<AuditRow> {
        let rows = self.audit.iter().map(|row| {
            let before = self.audit_before.iter();
            match before.into_iter().find(|before| before.is_of_same(row)) {
                Some(before) => row.since(before),
                None => row.clone(),
            }
        });
        rows.collect()
    }

    /// Runs of our programs that the kernel skipped in this interval; `None` if it does not count them.
    pub fn misses_of_interval(&self) -> Option<Vec<MissRow>> {
        let mut misses = self.misses()?;
        for row in &mut misses {
            let mut before = self.misses_before.iter();
            if let Some(before) = before.find(|before| before.program == row.program) {
                row.count = row.count.saturating_sub(before.count);
            }
        }
        Some(misses)
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
