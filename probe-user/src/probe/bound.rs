//! Asks the kernel side which local ports belong to a bind().

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd;

use aya::maps::{Array, MapData};
use twtrace_core::model::budget::ports::PortSet;
use twtrace_wire::{BUCKETS_AT_ONCE, BoundPorts};

use super::Attached;
use super::bpf_call::run_once;

pub(super) const PROGRAM: &str = "bound_ports";
const ANSWER: &str = "BOUND_PORTS";
/// The file of any namespace leads to the table: all namespaces share it.
const OWN_NETNS: &str = "/proc/thread-self/ns/net";

/// Ports that belong to a bind(), by network namespace. A namespace without such ports has no entry.
pub type PortsOfBind = HashMap<u32, PortSet>;

impl Attached {
    /// The local ports that connect() skips, by the table in which it searches itself. `None` if the table can't be
    /// read.
    pub fn ports_of_bind(&self) -> Option<PortsOfBind> {
        let file = File::open(OWN_NETNS).ok()?;
        let mut ports = PortsOfBind::new();
        let (mut first, mut buckets) = (0, 1);
        while first < buckets {
            let answer = self.bound_ports(&file, first)?;
            if answer.missed != 0 || answer.buckets == 0 {
                log::debug!("which ports belong to a bind(): {} missed", answer.missed);
                return None;
            }
            for bound in answer.ports.iter().take(answer.count as usize) {
                if let Ok(port) = u16::try_from(bound.port) {
                    ports.entry(bound.netns).or_default().insert(port);
                }
            }
            buckets = answer.buckets;
            first += BUCKETS_AT_ONCE;
        }
        Some(ports)
    }

    /// What some buckets of the table hold.
    fn bound_ports(&self, netns: &File, first: u32) -> Option<BoundPorts> {
        let descriptor = self.program_to_run(PROGRAM)?;
        let mut context = [
            u64::from(netns.as_raw_fd().unsigned_abs()),
            u64::from(first),
        ];
        run_once(descriptor, &mut context)
            .inspect_err(|error| log::debug!("which ports belong to a bind(): {error}"))
            .ok()?;
        let map: Array<&MapData, BoundPorts> = self.ebpf.map(ANSWER)?.try_into().ok()?;
        map.get(&0, 0).ok()
    }
}
