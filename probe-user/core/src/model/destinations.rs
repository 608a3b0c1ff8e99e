//! What was done by destination: the table, and its rows.

use std::cmp::Reverse;

use serde::{Serialize, Serializer};
use twtrace_wire::{EventKind, Side, TcpState};

use super::compact_map::CompactMap;
use super::counts::Deaths;
use super::destination::{Destination, Done, towards};
use super::reuse::Reuse;
use super::sparse::{Nothing, Sparse};
use crate::event::{Event, EventFacts, words};

/// Maximum number of separate destinations; events of further ones are summed up.
const MAX_DESTINATIONS: usize = 65_536;

/// The namespace, and how many earlier ones had its number.
type Key = (Option<u32>, u32, Side, Destination);

/// Figures by destination, from events.
#[derive(Debug, Default)]
pub struct Destinations(CompactMap<Key, Sums>);

/// Figures of one destination: mostly TIME_WAITs, and of one side.
#[derive(Debug, Default)]
struct Sums {
    time_wait: u64,
    fin_wait2: u64,
    /// All other figures.
    more: Option<Box<Done>>,
}

impl Sums {
    fn add(&mut self, event: &Event) {
        match &event.facts {
            EventFacts::TimeWait(facts) if event.event == EventKind::TimeWait => {
                self.time_wait += 1;
                self.fin_wait2 += u64::from(facts.state == Some(TcpState::FinWait2));
            }
            _ => self.more.get_or_insert_default().add(event),
        }
    }

    fn row(&self, (netns, netns_nth, side, destination): Key) -> DestinationRow {
        let mut row = DestinationRow {
            netns,
            netns_nth,
            side,
            time_wait: self.time_wait,
            fin_wait2: self.fin_wait2,
            overflow: 0,
            deaths: Sparse::default(),
            port_failures: 0,
            reuse: Sparse::default(),
            destination,
        };
        if let Some(done) = &self.more {
            row.overflow = done.counts.overflow.total();
            row.deaths = Deaths::of(&done.counts).into();
            row.port_failures = done.port_failures;
            row.reuse = done.reuse.into();
        }
        row
    }
}

/// Figures of one destination.
#[derive(Clone, Debug)]
pub struct DestinationRow {
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// How many earlier namespaces had this number since tracing began.
    pub netns_nth: u32,
    /// Which end this host's sockets were.
    pub side: Side,
    /// Mini-sockets created.
    pub time_wait: u64,
    /// Those that began in FIN_WAIT2.
    pub fin_wait2: u64,
    /// Mini-sockets refused.
    pub overflow: u64,
    /// Resets and aborts.
    pub deaths: Sparse<Deaths>,
    /// Port allocations that failed.
    pub port_failures: u64,
    /// TIME_WAITs to it that connects reused or could not reuse.
    pub reuse: Sparse<Reuse>,
    /// The destination.
    pub destination: Destination,
}

/// The object of a destination row.
#[derive(schemars::JsonSchema, Serialize)]
#[schemars(rename = "DestinationRow")]
struct DestinationRowJson<'a> {
    /// Inode number of the network namespace.
    netns: Option<u32>,
    /// How many earlier namespaces had this number since tracing began.
    #[serde(skip_serializing_if = "crate::event::is_first")]
    netns_nth: u32,
    /// Which end this host's sockets were.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<Side>")]
    side: Side,
    /// Client: `address:port`; side unknown: the address alone.
    remote: Option<String>,
    /// Server, or what was bound for either side: `:port`.
    local: Option<String>,
    /// Mini-sockets created.
    time_wait: u64,
    /// Those that began in FIN_WAIT2.
    fin_wait2: u64,
    /// Mini-sockets refused.
    overflow: u64,
    /// Resets and aborts.
    #[serde(flatten)]
    deaths: &'a Deaths,
    /// Port allocations that failed.
    port_failures: u64,
    /// TIME_WAITs to it that connects reused or could not reuse.
    reuse: &'a Reuse,
}

impl schemars::JsonSchema for DestinationRow {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DestinationRow".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        DestinationRowJson::json_schema(generator)
    }
}

impl Serialize for DestinationRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        DestinationRowJson {
            netns: self.netns,
            netns_nth: self.netns_nth,
            side: self.side,
            remote: self.destination.remote(),
            local: self.destination.local(),
            time_wait: self.time_wait,
            fin_wait2: self.fin_wait2,
            overflow: self.overflow,
            deaths: &self.deaths,
            port_failures: self.port_failures,
            reuse: &self.reuse,
        }
        .serialize(serializer)
    }
}

/// Those with the most TIME_WAITs first, then those with the most resets.
pub fn sort(rows: &mut [DestinationRow]) {
    rows.sort_unstable_by_key(|row| {
        (
            Reverse((
                row.time_wait + row.overflow,
                row.deaths.reset_sent.total() + row.deaths.reset_received.total(),
                row.port_failures,
            )),
            (row.netns, row.netns_nth, row.side, row.destination),
        )
    });
}

impl DestinationRow {
    /// Removes the kinds of events that are not shown.
    pub fn keep_only(&mut self, is_shown: impl Fn(EventKind) -> bool) {
        if !is_shown(EventKind::TimeWait) {
            self.time_wait = 0;
            self.fin_wait2 = 0;
        }
        if !is_shown(EventKind::TimeWaitOverflow) {
            self.overflow = 0;
        }
        self.deaths.keep_only(&is_shown);
        if !is_shown(EventKind::TimeWaitEnd) {
            self.reuse.taken = 0;
        }
        if !is_shown(EventKind::PortAlloc) {
            self.port_failures = 0;
            self.reuse.forget_refused();
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.time_wait + self.overflow + self.port_failures == 0
            && self.deaths.is_nothing()
            && self.reuse.is_nothing()
    }

    /// Adds later figures, or those of others.
    pub fn add(&mut self, later: &Self) {
        self.time_wait += later.time_wait;
        self.fin_wait2 += later.fin_wait2;
        self.overflow += later.overflow;
        if !later.deaths.is_nothing() {
            self.deaths.add_all(&later.deaths);
        }
        self.port_failures += later.port_failures;
        if !later.reuse.is_nothing() {
            self.reuse.add_all(&later.reuse);
        }
    }
}

impl Destinations {
    /// Counts an event, if it counts (see [`towards`]).
    pub fn apply(&mut self, event: &Event) {
        let Some((side, destination)) = towards(event) else {
            return;
        };
        let key = (event.netns, event.netns_nth, side, destination);
        if let Some((_, sums)) = self.0.within(key, MAX_DESTINATIONS, Sums::default) {
            sums.add(event);
            return;
        }
        let others = (None, 0, side, Destination::Others);
        self.0.of(others, Sums::default).add(event);
    }

    /// Rows, those with the most TIME_WAITs first, then those with the most resets.
    pub fn rows(&self) -> Vec<DestinationRow> {
        let mut rows: Vec<DestinationRow> =
            self.0.iter().map(|(key, sums)| sums.row(*key)).collect();
        sort(&mut rows);
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::*;
    use crate::event::samples;

    #[test]
    fn each_side_has_its_destination() {
        let mut destinations = Destinations::default();
        let mut event = samples::time_wait();
        destinations.apply(&event);
        destinations.apply(&event);
        event.side = Side::Server;
        destinations.apply(&event);
        event.side = Side::Unknown;
        destinations.apply(&event);
        destinations.apply(&samples::port_alloc());
        let rows = destinations.rows();
        let shown: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row.destination.to_string(),
                    row.time_wait,
                    row.port_failures,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("[2001:db8::2]:80".to_owned(), 2, 1),
                ("2001:db8::2".to_owned(), 1, 0),
                (":40000".to_owned(), 1, 0),
            ]
        );
        let local = rows[2].destination.local();
        assert_eq!(local.as_deref(), Some(":40000"));
        assert_eq!(rows[2].destination.remote(), None);
    }

    #[test]
    fn further_destinations_are_summed_up() {
        let mut destinations = Destinations::default();
        let mut event = samples::time_wait();
        for number in 0..MAX_DESTINATIONS as u32 + 10 {
            event.remote = Some(SocketAddr::new(
                IpAddr::V4(std::net::Ipv4Addr::from_bits(number)),
                80,
            ));
            destinations.apply(&event);
        }
        let rows = destinations.rows();
        assert_eq!(rows.len(), MAX_DESTINATIONS + 1);
        assert_eq!(rows[0].destination, Destination::Others);
        assert_eq!(rows[0].time_wait, 10);
    }
}
