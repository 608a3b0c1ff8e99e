//! What events reported of budgets of local ports, as a recording stores it.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use twtrace_core::event::SocketRange;
use twtrace_core::model::budget::evidence::{EvidenceDelta, Pool, PoolCounts};

use super::{Parts, chunks};

const BUDGETS_A_LINE: usize = 2_000;

#[derive(Serialize, Deserialize)]
pub struct Part {
    /// Numbers of network namespaces that now belong to another one. Only in the first part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    taken_over: Vec<u32>,
    budgets: Vec<PoolRow>,
    /// Failures in budgets that there was no room for. Only in the first part.
    further_failures: u64,
}

/// One budget: with a `destination` for connect(), without one for bind() before it.
#[derive(Clone, Serialize, Deserialize)]
struct PoolRow {
    netns: u32,
    source: Option<IpAddr>,
    destination: Option<SocketAddr>,
    /// First and last port, if the sockets have a range of their own.
    socket_range: Option<(u16, u16)>,
    made: u64,
    failures: u64,
}

impl Parts for EvidenceDelta {
    type Part = Part;

    fn cut(&self) -> Vec<Part> {
        let rows = self.budgets.iter();
        let rows: Vec<PoolRow> = rows
            .map(|(netns, pool, counts)| PoolRow::new(*netns, *pool, *counts))
            .collect();
        let mut taken_over = self.taken_over.clone();
        let mut further_failures = self.further_failures;
        let parts = chunks(&rows, BUDGETS_A_LINE).into_iter();
        parts
            .map(|budgets| Part {
                taken_over: std::mem::take(&mut taken_over),
                budgets,
                further_failures: std::mem::take(&mut further_failures),
            })
            .collect()
    }

    fn add(&mut self, part: Part) {
        self.taken_over.extend(part.taken_over);
        let rows = part.budgets.into_iter();
        self.budgets.extend(rows.filter_map(PoolRow::counts));
        self.further_failures = self.further_failures.saturating_add(part.further_failures);
    }
}

impl PoolRow {
    fn new(netns: u32, pool: Pool, counts: PoolCounts) -> Self {
        let (source, destination, own) = match pool {
            Pool::Connect {
                source,
                destination,
                own,
            } => (source, Some(destination), own),
            Pool::Bind { source } => (Some(source), None, None),
        };
        Self {
            netns,
            source,
            destination,
            socket_range: own.map(|own| (own.low, own.high)),
            made: counts.made,
            failures: counts.failures,
        }
    }

    /// `None` if it is neither kind of budget.
    fn counts(self) -> Option<(u32, Pool, PoolCounts)> {
        let pool = match (self.destination, self.source) {
            (Some(destination), source) => Pool::Connect {
                source,
                destination,
                own: self
                    .socket_range
                    .map(|(low, high)| SocketRange { low, high }),
            },
            (None, Some(source)) => Pool::Bind { source },
            (None, None) => return None,
        };
        let counts = PoolCounts {
            made: self.made,
            failures: self.failures,
        };
        Some((self.netns, pool, counts))
    }
}
