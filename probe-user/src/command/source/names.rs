//! Names that exist, whatever a filter says of them: a filter that matches nothing is often mistyped.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::Result;
use twtrace_core::event::comm::Comm;
use twtrace_core::event::place::{CONTAINER_ID_DIGITS, Place, containers, units};
use twtrace_core::event::text::escape;
use twtrace_core::event::{Event, Lost, Process};
use twtrace_core::model::netns_name::NetnsName;
use twtrace_core::model::observation::{Observation, ObservationData};
use twtrace_core::model::report::Report;
use twtrace_core::nearest::nearest;
use twtrace_wire::{ProcessKey, Unattributed};

use crate::cli::FilterArgs;
use crate::enrich::running;
use crate::session::sink::Sink;
use crate::store::interval::Interval;

/// Names that are kept of each kind.
const MAX_NAMES: usize = 4_096;
/// Processes that are known to have been noted.
const MAX_PROCESSES: usize = 65_536;
/// Namespaces that a message lists.
const MAX_LISTED: usize = 10;
/// Digits of a container's id that a message has, as `docker ps` shows them.
const ID_DIGITS: usize = 12;

/// Names of processes, units, containers and network namespaces in what was read, before the filter.
#[derive(Debug, Default)]
pub struct Names {
    comms: BTreeSet<String>,
    units: BTreeSet<String>,
    containers: BTreeSet<String>,
    /// By inode number, with names if they have one.
    netns: BTreeMap<u32, Option<String>>,
    /// Namespaces of the filter, which are noted however many there are.
    wanted: Vec<u32>,
    noted: HashSet<(ProcessKey, u32, bool)>,
}

/// A `--netns` of what was read has no such namespace.
#[derive(Debug, thiserror::Error)]
#[error("--netns {wanted}: nothing that was read has this network namespace; there are {known}")]
pub struct NoSuchNetns {
    wanted: u32,
    known: String,
}

impl Names {
    /// `None` if the filter names nothing that could be mistyped: noting costs time.
    pub fn for_filter(filter: &FilterArgs) -> Option<Self> {
        let names_nothing = filter.comm.is_empty()
            && filter.unit.is_empty()
            && filter.container.is_empty()
            && filter.netns.is_empty();
        (!names_nothing).then(|| Self {
            wanted: filter
                .netns
                .iter()
                .filter_map(|netns| netns.inode().ok())
                .collect(),
            ..Self::default()
        })
    }

    /// Notes what an event has.
    pub fn event(&mut self, event: &Event) {
        if let Some(netns) = event.netns {
            self.namespace(netns);
        }
        if let Some(process) = &event.process {
            self.process(process);
        }
    }

    /// Notes what an observation has.
    pub fn observation(&mut self, observation: &Observation) {
        match &observation.data {
            ObservationData::Namespaces(samples) => {
                samples.keys().for_each(|netns| self.namespace(*netns));
            }
            ObservationData::Names(names) => {
                names.iter().for_each(|named| self.named(named));
            }
            ObservationData::Audit(rows) => rows.iter().for_each(|row| self.namespace(row.netns)),
            ObservationData::Totals(totals) => {
                totals
                    .named
                    .values()
                    .for_each(|process| self.process(process));
            }
            ObservationData::CloseWait(close_wait) => {
                for connection in &close_wait.connections {
                    self.namespace(connection.netns);
                    let holders = connection.holders.iter().flatten();
                    holders.for_each(|process| self.process(process));
                }
            }
            _ => {}
        }
    }

    /// Notes what an interval of a history has.
    pub fn interval(&mut self, interval: &Interval) {
        let processes = interval.processes.iter();
        processes
            .filter_map(|row| row.process.as_ref())
            .for_each(|process| self.process(process));
        for netns in [&interval.before, &interval.after]
            .into_iter()
            .flat_map(|samples| samples.keys().copied())
            .chain(interval.pairs.iter().map(|row| row.netns))
            .chain(interval.audit.iter().map(|row| row.netns))
            .chain(interval.destinations.iter().filter_map(|row| row.netns))
        {
            self.namespace(netns);
        }
        interval
            .netns_names
            .iter()
            .for_each(|named| self.named(named));
    }

    /// Notes the processes that run now on this host.
    pub fn add_running(&mut self) {
        running::each(|comm, place| self.name(comm, place.as_ref()));
    }

    fn namespace(&mut self, netns: u32) {
        if self.netns.len() < MAX_NAMES || self.wanted.contains(&netns) {
            self.netns.entry(netns).or_default();
        }
    }

    fn named(&mut self, named: &NetnsName) {
        self.namespace(named.netns);
        if let Some(name) = self.netns.get_mut(&named.netns) {
            *name = Some(named.name.clone());
        }
    }

    fn process(&mut self, process: &Process) {
        let place = process.place();
        let key = (process.key, process.execs, place.is_some());
        if self.noted.len() < MAX_PROCESSES && self.noted.insert(key) {
            self.name(process.comm, place);
        }
    }

    fn name(&mut self, comm: Comm, place: Option<&Place>) {
        add(&mut self.comms, comm.text().into_owned());
        let Some(place) = place else {
            return;
        };
        for unit in units(&place.path) {
            add(&mut self.units, unit.to_owned());
        }
        for id in containers(&place.path) {
            let is_id = id.len() == CONTAINER_ID_DIGITS && id.is_ascii();
            let shown = if is_id { &id[..ID_DIGITS] } else { &id };
            add(&mut self.containers, shown.to_owned());
        }
    }

    /// Checks that all requested namespaces occur.
    ///
    /// # Errors
    /// If one does not.
    pub fn check_netns(&self, wanted: &[u32]) -> Result<(), NoSuchNetns> {
        let missing = |netns: &&u32| !self.netns.contains_key(netns);
        let Some(wanted) = wanted.iter().find(missing).copied() else {
            return Ok(());
        };
        let known = listed(self.netns.iter().map(|(netns, name)| match name {
            Some(name) => format!("{netns} ({})", escape(name)),
            None => netns.to_string(),
        }));
        Err(NoSuchNetns { wanted, known })
    }

    /// A message for each name of the filter that no row of the reports has.
    pub fn unmatched(&self, filter: &FilterArgs, reports: &[&Report]) -> Vec<String> {
        let processes: Vec<&Process> = reports.iter().copied().flat_map(processes).collect();
        let places: Vec<&Place> = processes.iter().filter_map(|it| it.place()).collect();
        let mut said = Vec::new();
        // A row that is missing may have had the name.
        if reports.iter().any(|report| has_folded(report)) {
            return said;
        }
        for comm in &filter.comm {
            if !processes.iter().any(|process| process.comm.is_of(comm)) {
                let cut = Comm::from_text(comm);
                let mut message = message("--comm", comm, &cut.text(), &self.comms);
                if comm.contains(',') {
                    message.push_str("; a comma is part of the name: give --comm once for each");
                }
                said.push(message);
            }
        }
        for unit in &filter.unit {
            if !places.iter().any(|place| unit.matches(place)) {
                let unit = unit.to_string();
                said.push(message("--unit", &unit, &unit, &self.units));
            }
        }
        for container in &filter.container {
            if !places.iter().any(|place| container.matches(place)) {
                let container = container.to_string();
                let known = &self.containers;
                said.push(message("--container", &container, &container, known));
            }
        }
        said
    }
}

/// The first names of what there is, and how many others there are.
pub fn listed(mut known: impl ExactSizeIterator<Item = String>) -> String {
    let mut names: Vec<String> = known.by_ref().take(MAX_LISTED).collect();
    match (names.len(), known.len()) {
        (0, _) => names.push("none".to_owned()),
        (_, others @ 1..) => names.push(format!("{others} others")),
        _ => {}
    }
    names.join(", ")
}

/// Whether processes were counted without a row of their own, or their table is left out.
fn has_folded(report: &Report) -> bool {
    let history = report.history.as_ref();
    report.pairs_left_out > 0
        || history.is_some_and(|it| it.processes_folded > 0 || report.processes.is_empty())
        || report
            .processes
            .iter()
            .any(|row| row.unattributed == Some(Unattributed::Lost))
}

fn add(names: &mut BTreeSet<String>, name: String) {
    if names.len() < MAX_NAMES && !name.is_empty() {
        names.insert(name);
    }
}

/// `name` is what the user wrote, in the form of the known names.
fn message(option: &str, written: &str, name: &str, known: &BTreeSet<String>) -> String {
    let help = match nearest(name, known.iter().map(String::as_str)) {
        Some(same) if same == name => "; it exists, but nothing of it was counted".to_owned(),
        Some(similar) => format!("; did you mean {}?", escape(similar)),
        None => String::new(),
    };
    format!("{option} {} matched nothing{help}", escape(written))
}

/// The processes that have rows.
fn processes(report: &Report) -> impl Iterator<Item = &Process> {
    let rows = report.processes.iter();
    let pairs = report.pairs.iter();
    let close_wait = report.close_wait.iter();
    rows.filter_map(|row| row.process.as_ref())
        .chain(pairs.filter_map(|row| row.process.as_deref()))
        .chain(close_wait.filter_map(|row| row.process.as_ref()))
}

impl Sink for Names {
    fn any_event(&mut self, event: &Event) {
        Self::event(self, event);
    }

    fn event(&mut self, _: &Event) -> Result<()> {
        Ok(())
    }

    fn lost(&mut self, _: &Lost) -> Result<()> {
        Ok(())
    }

    fn observed(&mut self, observation: Cow<'_, Observation>) -> Result<()> {
        self.observation(&observation);
        Ok(())
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
