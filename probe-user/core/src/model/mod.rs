//! The aggregator: takes events and kernel totals, returns reports. It has no clock and does no I/O.

pub mod audit;
pub mod budget;
mod callers;
pub mod close_wait;
pub mod compact_map;
pub mod counts;
pub mod coverage;
pub mod destination;
pub mod destinations;
pub mod difference;
pub mod end_samples;
pub mod exactness;
mod exited;
pub mod fixed_port_row;
pub mod fixed_ports;
pub mod groups;
pub mod host;
pub mod inferred_ends;
pub mod listener;
pub mod lives;
pub mod memory;
pub mod missing_addresses;
mod moments;
pub mod namespace;
pub mod netns_name;
pub mod notable;
pub mod observation;
pub mod pair_row;
pub mod pairs;
pub mod port_holders;
pub mod process_row;
pub mod quantile;
pub mod refused_ports;
pub mod report;
pub mod resets;
pub mod residence;
pub mod reuse;
pub mod series;
pub mod socket;
pub mod sparse;
pub mod stacks;
pub mod sums;
pub mod tally;
pub mod timeline;
pub mod unacknowledged;
pub mod unanswered;
pub mod unconnected;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use twtrace_wire::{PortKey, PortOp, PortTotals, ProcessKey, Unattributed};

use crate::event::answerable::without_process;
use crate::event::{Event, EventFacts, Process, TimeWaitEnd};
use crate::filter::Filter;
use compact_map::CompactMap;
use counts::Counts;
use destinations::{DestinationRow, Destinations};
use observation::KernelTotals;
use process_row::{PortRow, ProcessRow, sorted};
use refused_ports::{RefusedPorts, add_call, port_key};
use residence::Residence;
use reuse::Reuse;

/// Maximum number of separate processes from events; events of further ones are counted as `lost`.
const MAX_PROCESSES: usize = 65_536;

/// Totals of the events that pass the filter.
#[derive(Debug, Default)]
pub struct Model {
    filter: Filter,
    /// Ends are events only: the kernel side does not count them.
    ends_presumed: bool,
    processes: CompactMap<ProcessKey, ProcessEvents>,
    ports: HashMap<PortKey, PortTotals>,
    /// Calls for a fixed port that failed: the kernel side counts them among the allocations.
    refused_ports: RefusedPorts,
    destinations: Destinations,
}

/// A process as reported by events.
#[derive(Debug, Default)]
struct ProcessEvents {
    process: Option<Process>,
    counts: Counts,
    /// Ages of its TIME_WAITs that ended.
    residence: Residence,
    /// TIME_WAITs that its connects reused or could not reuse.
    reuse: Reuse,
}

impl Model {
    /// An empty model. Events have to be filtered before; kernel totals are filtered here.
    pub fn new(filter: Filter) -> Self {
        Self {
            filter,
            ..Self::default()
        }
    }

    /// The same if ends of TIME_WAITs are presumed.
    pub fn with_presumed_ends(filter: Filter) -> Self {
        Self {
            ends_presumed: true,
            ..Self::new(filter)
        }
    }

    /// Counts an event. Calls without an address are in no figure of processes.
    pub fn apply(&mut self, event: &Event) {
        if matches!(event.facts, EventFacts::NoAddress(_)) {
            return;
        }
        let (key, seen) = self.with_room(event.answerable().key());
        if key.tgid != 0
            && let Some(process) = &event.process
            && !seen.process.as_ref().is_some_and(|it| it.is_as(process))
        {
            seen.process = Some(process.clone());
        }
        seen.counts.add(event);
        if let EventFacts::TimeWaitEnd(TimeWaitEnd {
            age_ns: Some(age_ns),
            ..
        }) = &event.facts
        {
            seen.residence.add(*age_ns);
        }
        match &event.facts {
            EventFacts::TimeWaitEnd(TimeWaitEnd { by: Some(by), .. }) => {
                self.apply_reuse(by, event)
            }
            // The process that created it has reused nothing.
            EventFacts::TimeWaitEnd(_) => {}
            _ => seen.reuse.add(event),
        }
        if let EventFacts::PortAlloc(facts) = &event.facts {
            if facts.is_refused_port() {
                self.refused_ports.add(key, facts);
            } else {
                let totals = self.ports.entry(port_key(key, facts)).or_default();
                add_call(totals, facts);
            }
        }
        self.destinations.apply(event);
    }

    /// The data of a process, or without room for another one, the row of what was lost.
    fn with_room(&mut self, key: ProcessKey) -> (ProcessKey, &mut ProcessEvents) {
        let has_room =
            self.processes.len() < MAX_PROCESSES || self.processes.number(&key).is_some();
        let key = if has_room {
            key
        } else {
            without_process(Unattributed::Lost)
        };
        (key, self.processes.of(key, ProcessEvents::default))
    }

    /// The end of a TIME_WAIT whose tuple this process reused.
    fn apply_reuse(&mut self, by: &Process, event: &Event) {
        let (key, seen) = self.with_room(by.key);
        if key.tgid != 0 && seen.process.is_none() {
            seen.process = Some(by.clone());
        }
        seen.reuse.add(event);
    }

    /// Rows by process: from the kernel's totals, which stay exact when events are lost, or from events if there are no
    /// totals, or the filter needs more than they contain.
    pub fn process_rows(&self, kernel: Option<&KernelTotals>) -> Vec<ProcessRow> {
        let mut rows: HashMap<ProcessKey, ProcessRow> = HashMap::new();
        if let Some(kernel) = kernel.filter(|_| self.filter.is_by_process()) {
            for (key, totals) in &kernel.processes {
                if let Some(row) = self.row(*key, kernel.named.get(key)) {
                    rows.insert(
                        *key,
                        ProcessRow {
                            counts: Counts::from_totals(totals),
                            reuse: Reuse::from_totals(totals),
                            ..row
                        },
                    );
                }
            }
            for (port_key, totals) in &kernel.ports {
                let named = kernel.named.get(&port_key.process);
                let allocations = self.refused_ports.without(port_key, totals);
                self.add_port_row(&mut rows, *port_key, &allocations, named);
            }
        } else {
            for (key, seen) in self.processes.iter() {
                if let Some(row) = self.row(*key, None) {
                    rows.insert(
                        *key,
                        ProcessRow {
                            counts: seen.counts.clone(),
                            reuse: seen.reuse,
                            ..row
                        },
                    );
                }
            }
            for (port_key, totals) in &self.ports {
                self.add_port_row(&mut rows, *port_key, totals, None);
            }
        }
        for (key, row) in &mut rows {
            if let Some(seen) = self.processes.get(key) {
                row.residence = seen.residence.quantiles();
                if self.ends_presumed {
                    row.counts.ended = seen.counts.ended;
                    row.reuse.taken = seen.reuse.taken;
                }
            }
        }
        sorted(rows.into_values().map(|row| row.only(&self.filter)))
    }

    /// An empty row for a key, if the filter shows it. Names come from events, otherwise from the totals.
    fn row(&self, key: ProcessKey, named: Option<&Process>) -> Option<ProcessRow> {
        let process = self
            .processes
            .get(&key)
            .and_then(|seen| seen.process.as_ref())
            .or(named)
            .cloned();
        self.filter
            .shows_process(process.as_ref())
            .then(|| ProcessRow::new(process, key))
    }

    /// A process as reported by events.
    pub fn known(&self, key: ProcessKey) -> Option<&Process> {
        self.processes.get(&key)?.process.as_ref()
    }

    fn add_port_row(
        &self,
        rows: &mut HashMap<ProcessKey, ProcessRow>,
        key: PortKey,
        totals: &PortTotals,
        named: Option<&Process>,
    ) {
        let Some(op) = u8::try_from(key.op).ok().and_then(PortOp::from_code) else {
            return;
        };
        if totals.count == 0 {
            return;
        }
        let row = match rows.entry(key.process) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => match self.row(key.process, named) {
                Some(row) => entry.insert(row),
                None => return,
            },
        };
        row.ports.push(PortRow::new(op, key.exact != 0, totals));
    }

    /// Rows by destination, from events.
    pub fn destination_rows(&self) -> Vec<DestinationRow> {
        self.destinations.rows()
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
