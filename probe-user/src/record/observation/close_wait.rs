//! Connections in CLOSE_WAIT, as a recording stores them.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use twtrace_core::event::{Process, words};
use twtrace_core::model::close_wait::{CloseWaitConnection, NoHolder};
use twtrace_core::model::listener::ListenerSample;
use twtrace_core::model::observation::CloseWait;
use twtrace_core::model::report::UnscannedRow;
use twtrace_core::model::socket::Times;
use twtrace_core::model::unacknowledged::UnacknowledgedRow;
use twtrace_wire::Side;

use super::{Parts, chunks};

const CONNECTIONS_A_LINE: usize = 2_000;

#[derive(Serialize, Deserialize)]
pub struct Part {
    connections: Vec<CloseWaitLine>,
    /// Only in the first part; earlier versions had none.
    #[serde(default)]
    listeners: Vec<ListenerSample>,
    /// As `listeners`.
    #[serde(default)]
    unacknowledged: Vec<UnacknowledgedRow>,
    /// Only in the first part.
    unscanned: Vec<UnscannedRow>,
    tick_ns: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct CloseWaitLine {
    netns: u32,
    #[serde(with = "words")]
    side: Side,
    local: SocketAddr,
    remote: SocketAddr,
    /// 0 in recordings of earlier versions.
    #[serde(default)]
    cookie: u64,
    #[serde(default)]
    peer_waits: bool,
    since_data_ns: Option<u64>,
    since_ack_ns: Option<u64>,
    holders: Vec<Process>,
    /// Why no process is known.
    unattributed: Option<NoHolder>,
}

impl Parts for CloseWait {
    type Part = Part;

    fn cut(&self) -> Vec<Part> {
        let rows: Vec<CloseWaitLine> = self.connections.iter().map(CloseWaitLine::from).collect();
        let mut unscanned = self.unscanned.clone();
        let mut listeners = self.listeners.clone();
        let mut unacknowledged = self.unacknowledged.clone();
        chunks(&rows, CONNECTIONS_A_LINE)
            .into_iter()
            .map(|connections| Part {
                connections,
                listeners: std::mem::take(&mut listeners),
                unacknowledged: std::mem::take(&mut unacknowledged),
                unscanned: std::mem::take(&mut unscanned),
                tick_ns: self.tick_ns,
            })
            .collect()
    }

    fn add(&mut self, part: Part) {
        self.connections
            .extend(part.connections.into_iter().map(CloseWaitConnection::from));
        self.listeners.extend(part.listeners);
        self.unacknowledged.extend(part.unacknowledged);
        self.unscanned.extend(part.unscanned);
        self.tick_ns = part.tick_ns;
    }
}

impl From<&CloseWaitConnection> for CloseWaitLine {
    fn from(connection: &CloseWaitConnection) -> Self {
        let ns = |age: Duration| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        Self {
            netns: connection.netns,
            side: connection.side,
            local: connection.local,
            remote: connection.remote,
            cookie: connection.cookie,
            peer_waits: connection.peer_waits,
            since_data_ns: connection.times.map(|times| ns(times.since_data)),
            since_ack_ns: connection.times.map(|times| ns(times.since_ack)),
            holders: connection.holders.clone().unwrap_or_default(),
            unattributed: connection.holders.as_ref().err().copied(),
        }
    }
}

impl From<CloseWaitLine> for CloseWaitConnection {
    fn from(row: CloseWaitLine) -> Self {
        Self {
            netns: row.netns,
            side: row.side,
            local: row.local,
            remote: row.remote,
            cookie: row.cookie,
            peer_waits: row.peer_waits,
            times: row
                .since_data_ns
                .zip(row.since_ack_ns)
                .map(|(data_ns, ack_ns)| Times {
                    since_data: Duration::from_nanos(data_ns),
                    since_ack: Duration::from_nanos(ack_ns),
                }),
            holders: if row.holders.is_empty() {
                Err(row.unattributed.unwrap_or(NoHolder::Unknown))
            } else {
                Ok(row.holders)
            },
        }
    }
}
