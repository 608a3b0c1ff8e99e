//! One port pool, as reports show it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize, Serializer};

use super::holders::PoolHolder;
use super::ports::PortRange;

/// One port pool. What is not known is `None`, and `why` has the reason.
#[derive(schemars::JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetRow {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The call that allocates the port.
    pub pool: PoolWord,
    /// Source address; the unspecified one stands for all, `None` if it is not known.
    pub source: Option<IpAddr>,
    /// Destination; `None` for all.
    pub destination: Option<SocketAddr>,
    /// Ports that are searched.
    pub range: Option<PortRange>,
    /// Whether the range is the sockets' own (IP_LOCAL_PORT_RANGE), and not their namespace's.
    pub socket_range: bool,
    /// Ports of the range that are reserved, or belong to a bind().
    pub excluded: Option<u32>,
    /// Ports of the range that are neither.
    pub capacity: Option<u32>,
    /// Ports held by live sockets.
    pub live: Option<u32>,
    /// Ports held by TIME_WAITs.
    pub time_wait: Option<u32>,
    /// Those of them that do not block an allocation, according to sysctls. It is assumed that the peer uses TCP
    /// timestamps, without which a TIME_WAIT is not reused.
    pub time_wait_reusable: Option<u32>,
    /// Ports that an allocation would find.
    pub free: Option<u32>,
    /// The half of the range that is tried first.
    pub fast_half: Option<HalfRow>,
    /// Ports newly taken per second.
    #[serde(serialize_with = "thousandths")]
    pub connections_per_s: Option<f64>,
    /// Increase of live sockets per second.
    #[serde(serialize_with = "thousandths")]
    pub live_growth_per_s: Option<f64>,
    /// TIME_WAITs that end per second.
    #[serde(serialize_with = "thousandths")]
    pub expiry_per_s: Option<f64>,
    /// The processes with the live sockets, if these hold at least a quarter of the range: at most five, those with the most
    /// first. Empty if they are not known.
    #[serde(default)]
    pub live_by: Vec<PoolHolder>,
    /// The processes whose sockets of bind() have ports of the range, if these have at least a quarter of it and this pool
    /// lacks ports: with the number of their ports, at most five. Empty if they are not known.
    #[serde(default)]
    pub bound_by: Vec<PoolHolder>,
    /// Allocations that found no port.
    pub failures: u64,
    /// The forecast.
    pub outlook: Outlook,
    /// Time until no port is free, nanoseconds from the end of the report; 0 if none is.
    pub full_in_ns: Option<u64>,
    /// Why figures are missing.
    pub why: Option<Cow<'static, str>>,
}

/// One half of the ports.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfRow {
    /// Number of ports.
    pub capacity: u32,
    /// Ports that an allocation would find.
    pub free: u32,
    /// Time until none is free, nanoseconds; 0 if none is, `None` for never or not known. From then on each allocation
    /// first searches the whole half without success.
    pub full_in_ns: Option<u64>,
}

/// The call that allocates a port.
#[derive(
    schemars::JsonSchema,
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum PoolWord {
    /// connect().
    Connect,
    /// bind() to any port, before connect().
    Bind,
}

/// The forecast.
#[derive(
    schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// No port is free.
    Full,
    /// Ports run out at this rate.
    RunsOut,
    /// They do not.
    Never,
    /// The rate or the pool is not known.
    Unknown,
}

/// Pools that are not shown individually.
#[derive(
    schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
pub struct OtherBudgets {
    /// Number of pools.
    pub count: u64,
    /// Ports held by live sockets, in total.
    pub live: u64,
    /// Ports held by TIME_WAITs, in total.
    pub time_wait: u64,
    /// Allocations that found no port.
    pub failures: u64,
}

impl BudgetRow {
    /// Fraction of the ports that is not free, 0 to 1.
    pub fn used(&self) -> Option<f64> {
        match (self.capacity?, self.free?) {
            (0, _) => Some(1.0),
            (capacity, free) => Some(f64::from(capacity - free) / f64::from(capacity)),
        }
    }

    /// Whether no port of the half that is tried first is free.
    pub fn is_fast_half_full(&self) -> bool {
        self.fast_half.is_some_and(|half| half.free == 0)
    }
}

impl PoolWord {
    /// The word in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Bind => "bind",
        }
    }
}

impl Outlook {
    /// The word in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::RunsOut => "runs_out",
            Self::Never => "never",
            Self::Unknown => "unknown",
        }
    }
}

impl OtherBudgets {
    /// Sums up these rows.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a BudgetRow>) -> Self {
        let mut others = Self::default();
        for row in rows {
            others.add(&Self {
                count: 1,
                live: row.live.map_or(0, u64::from),
                time_wait: row.time_wait.map_or(0, u64::from),
                failures: row.failures,
            });
        }
        others
    }

    /// Adds others.
    pub fn add(&mut self, more: &Self) {
        self.count += more.count;
        self.live += more.live;
        self.time_wait += more.time_wait;
        self.failures += more.failures;
    }

    /// Whether there are no such pools.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The fullest first: those that are full or will be, the soonest first, then by usage.
pub fn order(a: &BudgetRow, b: &BudgetRow) -> Ordering {
    let place = |row: &BudgetRow| {
        (
            row.outlook,
            row.full_in_ns,
            std::cmp::Reverse(row.failures > 0),
        )
    };
    let used = |row: &BudgetRow| row.used().unwrap_or(0.0);
    let name = |row: &BudgetRow| (row.netns, row.pool, row.source, row.destination);
    place(a)
        .cmp(&place(b))
        .then(used(b).total_cmp(&used(a)))
        .then(name(a).cmp(&name(b)))
}

/// Sorts in that order.
pub fn sort(rows: &mut [BudgetRow]) {
    rows.sort_unstable_by(order);
}

/// To three decimal places: the measurement is not more precise.
fn thousandths<S: Serializer>(rate: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match rate {
        Some(rate) => serializer.serialize_f64((rate * 1e3).round() / 1e3),
        None => serializer.serialize_none(),
    }
}
