//! Collects what budgets of local ports are computed from: sockets and settings of every namespace.

use std::collections::HashMap;

use twtrace_core::model::budget::client_sockets::{
    ClientSocketsBuilder, Hold, Socket, SocketState,
};
use twtrace_core::model::budget::holders::is_crowded_by_bind;
use twtrace_core::model::budget::ledger::{SocketSample, SocketSamples};
use twtrace_core::model::budget::servers::ServerPorts;
use twtrace_core::model::socket::{NetnsSockets, SocketRow};
use twtrace_core::model::unacknowledged;

use super::pool_holders::{self, Crowd, Crowds, SocketsOfBind};
use crate::probe::PortsOfBind;
use crate::scan::namespace_helper::NamespaceHelper;
use crate::scan::setting;
use crate::scan::snapshot::visit;
use crate::scan::sock_diag::Query;
use twtrace_wire::TcpState;

/// Maximum number of sockets of a namespace that are kept since nobody acknowledges what they send.
const MAX_UNACKNOWLEDGED: usize = 65_536;

/// Sockets and settings of every namespace, or of those in `only` if it is not empty, or why they are not known.
/// Namespaces that are removed in between are left out. `of_bind` gives the ports that belong to a bind(), if the
/// kernel's table can be read.
pub fn sample(
    helper: Option<&NamespaceHelper>,
    only: &[u32],
    servers: &ServerPorts,
    of_bind: impl FnOnce() -> Option<PortsOfBind>,
) -> Sampled {
    let mut samples = HashMap::new();
    let mut crowds = Vec::new();
    let mut unacknowledged = Vec::new();
    let unscanned = visit(helper, only, |netns, paths, diag| {
        let sysctls = match setting::read(helper, netns, paths) {
            Ok(sysctls) => sysctls,
            Err(error) if error.is_gone() => return Ok(()),
            Err(error) => {
                samples.insert(netns, Err(format!("{:#}", anyhow::Error::from(error))));
                return Ok(());
            }
        };
        // Row by row: a million rows take more memory than their summary.
        let sorting = diag.dump_into(Query::all(), || {
            let is_server = |port| servers.has(netns, port);
            Sorting {
                builder: ClientSocketsBuilder::new(sysctls.range, is_server),
                unacknowledged: Vec::new(),
            }
        })?;
        let sockets = sorting.builder.finish();
        unacknowledged.push(NetnsSockets {
            netns,
            rows: sorting.unacknowledged,
        });
        let pools = sockets.crowded(sysctls.range.count());
        if !pools.is_empty() {
            let is_server = |port| servers.has(netns, port);
            let none = || Crowds::new(&pools, sysctls.range, is_server);
            // Without it they have no names.
            if let Ok(found) = diag.dump_into(Query::of(pool_holders::LIVE), none) {
                crowds.extend(found.of_namespace(netns));
            }
        }
        samples.insert(netns, Ok(SocketSample { sysctls, sockets }));
        Ok(())
    });
    if let Some(mut of_bind) = of_bind() {
        for (netns, sample) in &mut samples {
            if let Ok(sample) = sample {
                let ports = of_bind.remove(netns).unwrap_or_default();
                sample.sockets.set_of_bind(Some(ports));
            }
        }
    }
    crowds.extend(of_bind_crowds(helper, &samples));
    samples.extend(unscanned.into_iter().map(|(netns, why)| (netns, Err(why))));
    Sampled {
        samples,
        crowds,
        unacknowledged,
    }
}

/// The sockets of bind() of namespaces in which these have many ports, by the kernel's own table.
fn of_bind_crowds(helper: Option<&NamespaceHelper>, samples: &SocketSamples) -> Vec<Crowd> {
    let crowded = samples.iter().filter_map(|(netns, sample)| {
        let sample = sample.as_ref().ok()?;
        let (range, ports) = (sample.sysctls.range, sample.sockets.of_bind()?);
        let count = ports.iter().filter(|port| range.contains(*port)).count() as u64;
        is_crowded_by_bind(count, range.count()).then_some((*netns, (range, ports)))
    });
    let crowded: HashMap<u32, _> = crowded.collect();
    let namespaces: Vec<u32> = crowded.keys().copied().collect();
    let mut crowds = Vec::new();
    if namespaces.is_empty() {
        return crowds;
    }
    // Without it they have no names.
    let _unscanned = visit(helper, &namespaces, |netns, _, diag| {
        if let Some((range, ports)) = crowded.get(&netns) {
            let found = diag.dump_into(Query::all(), || SocketsOfBind::new(*range, ports))?;
            crowds.push(found.of_namespace(netns));
        }
        Ok(())
    });
    crowds
}

/// Sockets and settings, and the sockets whose holders are to be found.
pub struct Sampled {
    pub samples: SocketSamples,
    pub crowds: Vec<Crowd>,
    /// Sockets that send again what nobody acknowledges.
    pub unacknowledged: Vec<NetnsSockets>,
}

/// Passes the rows of a dump to the builder, and keeps those that nobody acknowledges.
struct Sorting<S> {
    builder: ClientSocketsBuilder<S>,
    unacknowledged: Vec<SocketRow>,
}

impl<S: Fn(u16) -> bool> Extend<SocketRow> for Sorting<S> {
    fn extend<I: IntoIterator<Item = SocketRow>>(&mut self, rows: I) {
        for row in rows {
            self.builder.add(&socket(&row));
            if self.unacknowledged.len() < MAX_UNACKNOWLEDGED && unacknowledged::waits(&row) {
                self.unacknowledged.push(row);
            }
        }
    }
}

fn socket(row: &SocketRow) -> Socket {
    Socket {
        local: row.local,
        remote: row.remote,
        state: match row.state {
            TcpState::Listen => SocketState::Listening,
            TcpState::Close => SocketState::Bound,
            state => SocketState::Holding(match (row.is_mini(), row.expires) {
                (true, left) => Hold::TimeWait {
                    left_ns: left
                        .map_or(0, |left| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)),
                    in_fin_wait2: state == TcpState::FinWait2,
                },
                (false, _) => Hold::Live,
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use twtrace_core::filter::Filter;
    use twtrace_core::model::budget::ledger::Ledger;
    use twtrace_core::model::budget::row::Outlook;

    use super::*;
    use crate::enrich::netns;

    #[test]
    fn an_open_connection_holds_a_port_of_its_budget() {
        let own = netns::of_process(std::process::id()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let filter = Filter {
            remote: vec![target.to_string().parse().unwrap()],
            ..Filter::default()
        };
        let mut ledger = Ledger::default();
        let sampled = || sample(None, &[own], &ServerPorts::default(), || None).samples;
        ledger.sample(sampled(), 1);
        let clients: Vec<TcpStream> = (0..20)
            .map(|_| TcpStream::connect(target).unwrap())
            .collect();
        ledger.sample(sampled(), 10_000_000_001);
        let budgets = ledger.budgets(&filter, 10_000_000_001);
        let [row] = &budgets.rows[..] else {
            panic!("not one budget: {budgets:?}");
        };
        assert_eq!((row.live, row.time_wait), (Some(20), Some(0)));
        assert_eq!(row.connections_per_s, Some(2.0));
        assert_eq!(row.outlook, Outlook::RunsOut);
        assert!(budgets.unknown.is_empty() && budgets.others.is_empty());
        drop(clients);
    }
}
