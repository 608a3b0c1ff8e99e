//! Sockets and settings that determine local ports, as a recording stores them.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use twtrace_core::model::budget::client_sockets::{ClientSockets, Hold, PortHolds};
use twtrace_core::model::budget::ledger::{SocketSample, SocketSamples};
use twtrace_core::model::budget::sysctls::PortSysctls;

use super::Parts;

/// Ports in one line, roughly: a hundred thousand sockets take ten lines.
const PORTS_A_LINE: usize = 10_000;
const MS_NS: u64 = 1_000_000;

#[derive(Default, Serialize, Deserialize)]
pub struct Part {
    namespaces: Vec<PortsRecord>,
}

#[derive(Serialize, Deserialize)]
struct PortsRecord {
    netns: u32,
    /// Only in the first row of a namespace.
    sysctls: Option<PortSysctls>,
    /// Why `sysctls` is missing.
    why: Option<String>,
    /// Ports in use, by source address and destination.
    tuples: Vec<HeldPorts>,
    /// Addresses that a socket is bound to, listens on, or accepted on.
    bound: Vec<SocketAddr>,
    /// Ports that belong to a bind(), by the kernel's table; `None` if it was not read, and in further rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of_bind: Option<Vec<u16>>,
}

#[derive(Serialize, Deserialize)]
struct HeldPorts {
    source: IpAddr,
    destination: SocketAddr,
    /// Used by full sockets.
    live: Vec<u16>,
    /// Used by TIME_WAITs: port, and milliseconds until the TIME_WAIT ends.
    time_wait: Vec<(u16, u64)>,
    /// Used by mini-sockets that wait for the peer's FIN: the same.
    fin_wait2: Vec<(u16, u64)>,
}

impl Parts for SocketSamples {
    type Part = Part;

    fn cut(&self) -> Vec<Part> {
        let mut parts = vec![Part::default()];
        let mut ports = 0;
        let mut push = |row: PortsRecord, count: usize| {
            if ports + count > PORTS_A_LINE && ports > 0 {
                parts.push(Part::default());
                ports = 0;
            }
            ports += count;
            if let Some(part) = parts.last_mut() {
                part.namespaces.push(row);
            }
        };
        for (netns, sample) in self {
            let row = |tuples, bound| PortsRecord {
                netns: *netns,
                sysctls: None,
                why: None,
                tuples,
                bound,
                of_bind: None,
            };
            let sample = match sample {
                Ok(sample) => sample,
                Err(why) => {
                    let unknown = PortsRecord {
                        why: Some(why.clone()),
                        ..row(Vec::new(), Vec::new())
                    };
                    push(unknown, 1);
                    continue;
                }
            };
            let of_bind: Option<Vec<u16>> =
                sample.sockets.of_bind().map(|ports| ports.iter().collect());
            let first = PortsRecord {
                sysctls: Some(sample.sysctls.clone()),
                of_bind: of_bind.as_ref().map(|_| Vec::new()),
                ..row(Vec::new(), Vec::new())
            };
            push(first, 1);
            for ports in of_bind.unwrap_or_default().chunks(PORTS_A_LINE) {
                let more = PortsRecord {
                    of_bind: Some(ports.to_vec()),
                    ..row(Vec::new(), Vec::new())
                };
                push(more, ports.len());
            }
            for bound in sample.sockets.bound().chunks(PORTS_A_LINE) {
                push(row(Vec::new(), bound.to_vec()), bound.len());
            }
            for (source, destination) in sample.sockets.tuples() {
                let held = sample.sockets.held_by(source, destination);
                for held in held.chunks(PORTS_A_LINE) {
                    let tuple = HeldPorts::new(source, destination, held);
                    push(row(vec![tuple], Vec::new()), held.len());
                }
            }
        }
        parts
    }

    fn add(&mut self, part: Part) {
        for row in part.namespaces {
            if let Some(sysctls) = row.sysctls {
                let sockets = ClientSockets::default();
                self.insert(row.netns, Ok(SocketSample { sysctls, sockets }));
            }
            if let Some(why) = row.why {
                self.insert(row.netns, Err(why));
            }
            let Some(Ok(sample)) = self.get_mut(&row.netns) else {
                continue;
            };
            let tuples = row.tuples.into_iter();
            let tuples = tuples.map(|tuple| ((tuple.source, tuple.destination), tuple.held()));
            sample.sockets.extend(tuples, row.bound);
            if let Some(ports) = row.of_bind {
                let mut known = sample.sockets.of_bind().cloned().unwrap_or_default();
                ports.into_iter().for_each(|port| known.insert(port));
                sample.sockets.set_of_bind(Some(known));
            }
        }
    }
}

impl HeldPorts {
    fn new(source: IpAddr, destination: SocketAddr, held: &[(u16, Hold)]) -> Self {
        let mut tuple = Self {
            source,
            destination,
            live: Vec::new(),
            time_wait: Vec::new(),
            fin_wait2: Vec::new(),
        };
        for (port, hold) in held {
            match *hold {
                Hold::Live => tuple.live.push(*port),
                Hold::TimeWait {
                    left_ns,
                    in_fin_wait2,
                } => if in_fin_wait2 {
                    &mut tuple.fin_wait2
                } else {
                    &mut tuple.time_wait
                }
                // The kernel reports whole milliseconds.
                .push((*port, left_ns / MS_NS)),
            }
        }
        tuple
    }

    fn held(self) -> PortHolds {
        let minis = |list: Vec<(u16, u64)>, in_fin_wait2| {
            list.into_iter().map(move |(port, left_ms)| {
                let left_ns = left_ms.saturating_mul(MS_NS);
                let hold = Hold::TimeWait {
                    left_ns,
                    in_fin_wait2,
                };
                (port, hold)
            })
        };
        let live = self.live.into_iter().map(|port| (port, Hold::Live));
        live.chain(minis(self.time_wait, false))
            .chain(minis(self.fin_wait2, true))
            .collect()
    }
}
