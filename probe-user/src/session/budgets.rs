//! Gathers what budgets of local ports are worked out from: sockets and settings of every namespace when
//! tracing begins and when it ends, and the events between.

use std::collections::HashMap;

use crate::event::Event;
use crate::filter::Filter;
use crate::model::budget::evidence::Evidence;
use crate::model::budget::row::{self, BudgetRow, OtherBudgets};
use crate::model::budget::snapshot::{Hold, Snapshot, Socket, SocketState};
use crate::model::budget::sysctls::PortSysctls;
use crate::model::budget::{self, Namespace};
use crate::model::report::UnscannedRow;
use crate::scan::gate::Gate;
use crate::scan::row::Row;
use crate::scan::setting;
use crate::scan::snapshot::{namespaces, take};
use crate::scan::sock_diag::Query;
use twtrace_wire::TcpState;

/// Budgets shown one by one.
const MAX_BUDGETS: usize = 65_536;

/// Follows budgets from the start of tracing to its end.
#[derive(Debug)]
pub struct Budgeter {
    evidence: Evidence,
    start: HashMap<u32, Snapshot>,
    start_ns: u64,
    end: HashMap<u32, Result<Look, String>>,
    end_ns: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    /// The fullest first.
    pub rows: Vec<BudgetRow>,
    /// Those there was no room for.
    pub others: OtherBudgets,
    /// Namespaces that could not be looked into, and why.
    pub unknown: Vec<UnscannedRow>,
}

/// One namespace at one moment.
#[derive(Debug)]
struct Look {
    sysctls: PortSysctls,
    sockets: Snapshot,
}

impl Budgeter {
    /// Looks into every namespace that the filter shows. `now_ns` is CLOCK_MONOTONIC.
    pub fn begin(gate: Option<&Gate>, filter: &Filter, now_ns: u64) -> Self {
        let evidence = Evidence::default();
        let start = look(gate, filter, &evidence)
            .into_iter()
            .filter_map(|(netns, look)| Some((netns, look.ok()?.sockets)))
            .collect();
        Self {
            evidence,
            start,
            start_ns: now_ns,
            end: HashMap::new(),
            end_ns: now_ns,
        }
    }

    /// Takes what an event tells.
    pub fn note(&mut self, event: &Event) {
        self.evidence.note(event);
    }

    /// Looks into them again: forecasts count from here.
    pub fn end(&mut self, gate: Option<&Gate>, filter: &Filter, now_ns: u64) {
        self.end = look(gate, filter, &self.evidence);
        self.end_ns = now_ns;
    }

    /// The budgets that the filter shows: by namespace, source and destination. By process they are not
    /// known, as TIME_WAITs have none.
    pub fn budgets(&self, filter: &Filter) -> Budgets {
        let gone = Err("the namespace is gone".to_owned());
        let mut looks: HashMap<u32, &Result<Look, String>> = self
            .end
            .iter()
            .map(|(netns, look)| (*netns, look))
            .collect();
        for netns in self.evidence.namespaces() {
            looks.entry(netns).or_insert(&gone);
        }
        let mut budgets = Budgets::default();
        for (netns, look) in looks {
            let why = look.as_ref().err().map_or("", String::as_str);
            let namespace = Namespace {
                netns,
                sysctls: look.as_ref().map(|look| &look.sysctls).map_err(|_| why),
                start: self.start.get(&netns),
                end: look.as_ref().map(|look| &look.sockets).map_err(|_| why),
                lasted_ns: self.end_ns.saturating_sub(self.start_ns),
            };
            let rows = budget::rows(&namespace, &self.evidence).into_iter();
            budgets
                .rows
                .extend(rows.filter(|row| is_shown(row, filter)));
            if !why.is_empty() && filter.shows_netns(netns) {
                budgets.unknown.push(UnscannedRow {
                    netns,
                    why: why.to_owned(),
                });
            }
        }
        budgets.unknown.sort_by_key(|unknown| unknown.netns);
        row::sort(&mut budgets.rows);
        let further = budgets.rows.len().min(MAX_BUDGETS);
        budgets.others = OtherBudgets::of(&budgets.rows[further..]);
        budgets.others.failures += self.evidence.further_failures();
        budgets.rows.truncate(MAX_BUDGETS);
        budgets
    }
}

fn is_shown(row: &BudgetRow, filter: &Filter) -> bool {
    // A source that is not known, or a destination that may be any, passes no condition on it.
    filter.shows_netns(row.netns)
        && filter.shows_local(row.source.map(|source| (source, 0).into()))
        && filter.shows_remote(row.destination)
}

/// Sockets and settings of every namespace that the filter shows, or why they are not known. Those that go away meanwhile are left
/// out.
fn look(
    gate: Option<&Gate>,
    filter: &Filter,
    evidence: &Evidence,
) -> HashMap<u32, Result<Look, String>> {
    let ways = namespaces();
    let found = take(gate, Query::all(), &filter.netns);
    let mut looks = HashMap::new();
    for dump in found.namespaces {
        let netns = dump.netns;
        let paths = ways.get(&netns).map(Vec::as_slice).unwrap_or_default();
        let look = match setting::read(gate, netns, paths) {
            Ok(sysctls) => {
                let sockets: Vec<Socket> = dump.rows.iter().map(socket).collect();
                let is_server = |port| evidence.is_server(netns, port);
                Ok(Look {
                    sockets: Snapshot::new(&sockets, sysctls.range, is_server),
                    sysctls,
                })
            }
            Err(error) if error.is_gone() => continue,
            Err(error) => Err(format!("{:#}", anyhow::Error::from(error))),
        };
        looks.insert(netns, look);
    }
    looks.extend(
        found
            .unscanned
            .into_iter()
            .map(|(netns, why)| (netns, Err(why))),
    );
    looks
}

fn socket(row: &Row) -> Socket {
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

    use super::*;
    use crate::enrich::netns;
    use crate::model::budget::row::Outlook;

    #[test]
    fn an_open_connection_holds_a_port_of_its_budget() {
        let own = netns::of_process(std::process::id()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let filter = Filter {
            netns: vec![own],
            remote: vec![target.to_string().parse().unwrap()],
            ..Filter::default()
        };
        let mut budgeter = Budgeter::begin(None, &filter, 1);
        let clients: Vec<TcpStream> = (0..20)
            .map(|_| TcpStream::connect(target).unwrap())
            .collect();
        budgeter.end(None, &filter, 10_000_000_001);
        let budgets = budgeter.budgets(&filter);
        let [row] = &budgets.rows[..] else {
            panic!("not one budget: {budgets:?}");
        };
        assert_eq!((row.live, row.time_wait), (Some(20), Some(0)));
        assert_eq!(row.connections_per_s, Some(2.0));
        assert_eq!(row.outlook, Outlook::RunsOut);
        assert!(budgets.unknown.is_empty() && budgets.others.is_empty());
        drop(clients);
    }

    #[test]
    fn what_events_tell_of_a_namespace_that_is_gone_is_kept() {
        let mut budgeter = Budgeter::begin(None, &Filter::default(), 1);
        let mut failure = crate::event::samples::port_alloc();
        failure.netns = Some(7);
        budgeter.note(&failure);
        budgeter.end(None, &Filter::default(), 2);
        let budgets = budgeter.budgets(&Filter::default());
        let row = budgets.rows.iter().find(|row| row.netns == 7).unwrap();
        assert_eq!((row.failures, row.capacity), (1, None));
        assert!(budgets.unknown.iter().any(|row| row.netns == 7));
    }
}
