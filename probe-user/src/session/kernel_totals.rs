//! What the kernel side counted, and for which processes.

use anyhow::Result;
use twtrace_core::event::Process;
use twtrace_core::model::observation::KernelTotals;
use twtrace_wire::{NetnsKey, ProcessKey};

use super::Session;

impl Session {
    /// The processes of the followed command; `None` if none is followed.
    pub fn family(&self) -> Result<Option<Vec<ProcessKey>>> {
        match &self.filter.family {
            Some(_) => Ok(Some(self.attached.descendants()?)),
            None => Ok(None),
        }
    }

    /// What the kernel side counted so far.
    pub fn kernel_totals(&self) -> Result<KernelTotals> {
        if let Some(family) = &self.filter.family {
            // Totals, and sockets that exist, may belong to processes without an event.
            family.add(self.attached.descendants()?);
        }
        Ok(KernelTotals {
            processes: self.attached.processes()?,
            ports: self.attached.ports()?,
            recursion_misses: self.attached.recursion_misses()?,
            named: Default::default(),
        })
    }

    /// Takes what the kernel side counted since the last call, with the names of its processes. The kernel side no
    /// longer has these counts then.
    pub fn take_totals(&mut self) -> Result<KernelTotals> {
        let mut taken = self.attached.take_totals()?;
        self.taken_back.settle(&mut taken.processes);
        Ok(KernelTotals {
            processes: taken.processes,
            ports: taken.ports,
            recursion_misses: self.attached.recursion_misses()?,
            named: Default::default(),
        })
    }

    /// Forgets what the kernel side counted in a removed namespace.
    pub fn forget_netns(&mut self, netns: NetnsKey) -> Result<()> {
        Ok(self.attached.forget_netns(netns)?)
    }

    /// How many namespaces had the number of this one before it.
    pub fn netns_nth(&self, key: NetnsKey) -> u32 {
        self.decoder.netns_order.borrow_mut().nth(key)
    }

    /// A process that the kernel side counted, with its details; `None` if the key names none.
    pub fn named(&mut self, key: ProcessKey) -> Option<Process> {
        let names = self.attached.names_of(key);
        let mut process = Process::from_names(key, names.as_ref())?;
        self.complete(&mut process);
        Some(process)
    }
}
