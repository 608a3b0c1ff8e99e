//! Figures of processes, as sums that can be added up.

use std::collections::HashMap;

use twtrace_wire::{PortKey, PortOp, PortTotals, ProcessKey, Unattributed};

use super::Model;
use super::counts::Counts;
use super::observation::KernelTotals;
use super::process_row::{PortRow, ProcessRow};
use super::residence::Residence;
use super::reuse::Reuse;
use crate::event::Process;

/// Figures of one process, as sums that can be added up.
#[derive(Clone, Debug)]
pub struct ProcessSums {
    /// The process, or the key for none.
    pub key: ProcessKey,
    /// The process, or `None` for events without one.
    pub process: Option<Process>,
    /// Why there is none.
    pub unattributed: Option<Unattributed>,
    /// TIME_WAITs, resets and aborts.
    pub counts: Counts,
    /// Ages of its TIME_WAITs that ended.
    pub residence: Residence,
    /// TIME_WAITs that its connects reused or could not reuse.
    pub reuse: Reuse,
    /// Port allocations by operation and exactness.
    pub ports: Vec<PortSums>,
}

/// Port allocations of one process by one operation.
#[derive(Clone, Debug)]
pub struct PortSums {
    /// The system call.
    pub op: PortOp,
    /// Whether latencies are those of the allocation itself.
    pub exact: bool,
    /// The figures.
    pub totals: PortTotals,
}

impl Model {
    /// The rows by process, as sums that can be added up.
    pub fn process_sums(&self, kernel: Option<&KernelTotals>) -> Vec<ProcessSums> {
        let rows = self.process_rows(kernel);
        let from_kernel: Option<HashMap<PortKey, &PortTotals>> = kernel
            .filter(|_| self.filter.is_by_process())
            .map(|kernel| kernel.ports.iter().map(|(key, it)| (*key, it)).collect());
        let totals = |key: &PortKey| match &from_kernel {
            Some(from_kernel) => Some(*self.refused_ports.without(key, from_kernel.get(key)?)),
            None => self.ports.get(key).copied(),
        };
        rows.into_iter().map(|row| self.sums(row, totals)).collect()
    }

    fn sums(
        &self,
        row: ProcessRow,
        totals: impl Fn(&PortKey) -> Option<PortTotals>,
    ) -> ProcessSums {
        let key = row.key();
        let ports = row.ports.iter().filter_map(|port| {
            let port_key = PortKey {
                process: key,
                op: port.op as u32,
                exact: u32::from(port.exact),
            };
            Some(PortSums {
                op: port.op,
                exact: port.exact,
                totals: totals(&port_key)?,
            })
        });
        // A row without quantiles hides the ages.
        let residence = row
            .residence
            .and_then(|_| Some(self.processes.get(&key)?.residence.clone()));
        ProcessSums {
            key,
            ports: ports.collect(),
            residence: residence.unwrap_or_default(),
            process: row.process,
            unattributed: row.unattributed,
            counts: row.counts,
            reuse: row.reuse,
        }
    }
}

impl ProcessSums {
    /// Adds later figures.
    pub fn add(&mut self, later: Self) {
        self.counts.add_all(&later.counts);
        self.residence.add_all(&later.residence);
        self.reuse.add_all(&later.reuse);
        for port in later.ports {
            let known = self
                .ports
                .iter_mut()
                .find(|known| (known.op, known.exact) == (port.op, port.exact));
            match known {
                Some(known) => known.totals.add(&port.totals),
                None => self.ports.push(port),
            }
        }
        if later.process.is_some() {
            self.process = later.process;
        }
    }

    /// As a row of reports.
    pub fn row(self) -> ProcessRow {
        let ports = self.ports.iter();
        ProcessRow {
            ports: ports
                .map(|port| PortRow::new(port.op, port.exact, &port.totals))
                .collect(),
            residence: self.residence.quantiles(),
            process: self.process,
            unattributed: self.unattributed,
            counts: self.counts,
            reuse: self.reuse,
        }
    }
}
