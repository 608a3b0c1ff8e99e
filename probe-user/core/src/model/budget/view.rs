//! The pools of a namespace whose settings and sockets are known.

use std::net::{IpAddr, SocketAddr};

use super::client_sockets::{ClientSockets, Hold};
use super::evidence::{Pool, PoolCounts};
use super::forecast::{Forecast, PoolState, forecast};
use super::pace::{MeasuredPace, ObservedSpan};
use super::ports::{Half, PortRange, PortSet};
use super::row::{BudgetRow, HalfRow, Outlook};
use super::sysctls::PortSysctls;
use super::{NamespacePorts, unknown};
use crate::event::SocketRange;

/// Data for building rows.
pub struct NamespaceView<'a> {
    namespace: &'a NamespacePorts<'a>,
    sysctls: &'a PortSysctls,
    end: &'a ClientSockets,
    /// Ports that connect() searches.
    for_connect: Usable,
}

/// The ports that an allocation searches.
struct Usable {
    /// The range that contains them.
    range: PortRange,
    ports: PortSet,
    count: u64,
    /// The half that is tried first.
    fast: Half,
    fast_count: u64,
}

impl<'a> NamespaceView<'a> {
    /// Prepares for [`Self::row`].
    pub fn new(
        namespace: &'a NamespacePorts<'a>,
        sysctls: &'a PortSysctls,
        end: &'a ClientSockets,
    ) -> Self {
        Self {
            namespace,
            sysctls,
            end,
            for_connect: Usable::new(sysctls, Half::OfLow, &end.passed_over()),
        }
    }

    /// `None` if nothing is held and nothing failed.
    pub fn row(&self, pool: Pool, counts: PoolCounts) -> Option<BudgetRow> {
        match pool {
            Pool::Connect { source: None, .. } => {
                let why = "the source address of the failed allocations is not known";
                (counts.failures > 0)
                    .then(|| unknown(self.namespace.netns, pool, counts, why.into()))
            }
            Pool::Connect {
                source: Some(source),
                destination,
                own,
            } => {
                let held = self.end.held_by(source, destination);
                if held.is_empty() && counts.failures == 0 {
                    return None;
                }
                let held = by_connect(self.end, held);
                let before = self
                    .namespace
                    .start
                    .map(|start| by_connect(start, start.held_by(source, destination)));
                let is_reused = self.sysctls.reuses(source, destination);
                Some(match own {
                    None => {
                        let use_ = Use {
                            usable: &self.for_connect,
                            held: &held,
                            before: before.as_deref(),
                            is_reused,
                        };
                        self.fill(pool, counts, &use_)
                    }
                    Some(own) => {
                        self.narrowed(pool, counts, own, &held, before.as_deref(), is_reused)
                    }
                })
            }
            Pool::Bind { source } => {
                let held = self.end.held_on(source);
                let before = self.namespace.start.map(|start| start.held_on(source));
                let in_the_way = self
                    .end
                    .bound()
                    .iter()
                    .filter(|bound| conflicts(source, bound.ip()))
                    .map(SocketAddr::port)
                    .collect();
                let use_ = Use {
                    usable: &Usable::new(self.sysctls, Half::Other, &in_the_way),
                    held: &held,
                    before: before.as_deref(),
                    // bind() reuses no port in TIME_WAIT, except with SO_REUSEADDR.
                    is_reused: false,
                };
                Some(self.fill(pool, counts, &use_))
            }
        }
    }

    /// For sockets with a range of their own: other holders of its ports do not matter.
    fn narrowed(
        &self,
        pool: Pool,
        counts: PoolCounts,
        own: SocketRange,
        held: &[(u16, Hold)],
        before: Option<&[(u16, Hold)]>,
        is_reused: bool,
    ) -> BudgetRow {
        let range = self.sysctls.range.narrowed(own.low, own.high);
        let within = |held: &[(u16, Hold)]| -> Vec<(u16, Hold)> {
            let held = held.iter().copied();
            held.filter(|(port, _)| range.contains(*port)).collect()
        };
        let (held, before) = (within(held), before.map(within));
        let use_ = Use {
            usable: &Usable::within(range, self.sysctls, Half::OfLow, &self.end.passed_over()),
            held: &held,
            before: before.as_deref(),
            is_reused,
        };
        BudgetRow {
            socket_range: true,
            // Kernels differ in whether there is one (from 6.12 on there is not).
            fast_half: None,
            ..self.fill(pool, counts, &use_)
        }
    }

    fn fill(&self, pool: Pool, counts: PoolCounts, use_: &Use) -> BudgetRow {
        // Only events see what is created and reused between two snapshots, or what happened before the first.
        let made = (use_.is_reused || use_.before.is_none()).then_some(counts.made);
        let measured = MeasuredPace::between(
            use_.before.unwrap_or(use_.held),
            use_.held,
            ObservedSpan {
                lasted_ns: self.namespace.lasted_ns,
                counted_ns: self.namespace.counted_ns,
                time_wait_ns: self.sysctls.time_wait_ns(),
            },
            made,
        );
        let is_measured = use_.before.is_some() || counts.made > 0;
        let rate = |rate: f64| is_measured.then_some(rate);
        let (all, fast) = (self.count(use_, false), self.count(use_, true));
        let hold_ns = if use_.is_reused {
            self.sysctls.reuse_delay_ns
        } else {
            self.sysctls.time_wait_ns()
        };
        let ahead = |count: &Count| {
            let outlook = forecast(&count.held(), &measured.pace(hold_ns));
            (outlook == Forecast::Full || is_measured).then_some(outlook)
        };
        let (outlook, full_in_ns) = words(ahead(&all));
        let why = "its sockets were not known when tracing began, so no rate is";
        BudgetRow {
            range: Some(use_.usable.range),
            excluded: Some(ports(use_.usable.range.count() - all.capacity)),
            capacity: Some(ports(all.capacity)),
            live: Some(ports(all.live)),
            time_wait: Some(ports(all.given_back_ns.len() as u64 + all.reusable)),
            time_wait_reusable: Some(ports(all.reusable)),
            free: Some(ports(all.free())),
            fast_half: Some(HalfRow {
                capacity: ports(fast.capacity),
                free: ports(fast.free()),
                full_in_ns: words(ahead(&fast)).1,
            }),
            connections_per_s: rate(measured.taken_per_s()),
            live_growth_per_s: rate(measured.live_growth_per_s),
            expiry_per_s: rate(measured.ended_per_s),
            outlook,
            full_in_ns,
            why: (!is_measured).then_some(why.into()),
            ..unknown(self.namespace.netns, pool, counts, why.into())
        }
    }

    /// Counts all usable ports, or only those of the fast half.
    fn count(&self, use_: &Use, only_fast: bool) -> Count {
        let usable = use_.usable;
        let mut count = Count {
            capacity: if only_fast {
                usable.fast_count
            } else {
                usable.count
            },
            ..Count::default()
        };
        let is_counted = |port: u16| {
            usable.ports.contains(port)
                && (!only_fast || self.sysctls.range.half(port) == usable.fast)
        };
        for (_, hold) in use_.held.iter().filter(|(port, _)| is_counted(*port)) {
            match hold.blocks_for_ns(self.sysctls, use_.is_reused) {
                None => count.live += 1,
                Some(0) if use_.is_reused => count.reusable += 1,
                Some(left_ns) => count.given_back_ns.push(left_ns),
            }
        }
        count.given_back_ns.sort_unstable();
        count
    }
}

/// Only the ports that connect() chose, if that is known: no others are part of its pool.
fn by_connect(snapshot: &ClientSockets, mut held: Vec<(u16, Hold)>) -> Vec<(u16, Hold)> {
    if let Some(of_bind) = snapshot.of_bind() {
        held.retain(|(port, _)| !of_bind.contains(*port));
    }
    held
}

/// Whether a bind() to any port of one address can't get a port that is bound on the other.
fn conflicts(source: IpAddr, bound: IpAddr) -> bool {
    source == bound || source.is_unspecified() || bound.is_unspecified()
}

impl Usable {
    fn new(sysctls: &PortSysctls, fast: Half, bound: &PortSet) -> Self {
        Self::within(sysctls.range, sysctls, fast, bound)
    }

    fn within(range: PortRange, sysctls: &PortSysctls, fast: Half, bound: &PortSet) -> Self {
        let ports: PortSet = range
            .ports()
            .filter(|port| !sysctls.reserved.contains(*port) && !bound.contains(*port))
            .collect();
        let is_fast = |port: &u16| sysctls.range.half(*port) == fast;
        Self {
            range,
            count: ports.iter().count() as u64,
            fast,
            fast_count: ports.iter().filter(is_fast).count() as u64,
            ports,
        }
    }
}

/// What one pool holds and held before.
struct Use<'a> {
    usable: &'a Usable,
    held: &'a [(u16, Hold)],
    before: Option<&'a [(u16, Hold)]>,
    is_reused: bool,
}

/// Ports of a pool, and what holds them.
#[derive(Default)]
struct Count {
    capacity: u64,
    live: u64,
    reusable: u64,
    /// When blocking TIME_WAITs release their ports, nanoseconds from now.
    given_back_ns: Vec<u64>,
}

impl Count {
    fn held(&self) -> PoolState<'_> {
        PoolState {
            capacity: self.capacity,
            live: self.live,
            given_back_ns: &self.given_back_ns,
        }
    }

    fn free(&self) -> u64 {
        self.capacity
            .saturating_sub(self.live + self.given_back_ns.len() as u64)
    }
}

/// The number fits; there may be very many rows, which have to be small.
fn ports(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn words(ahead: Option<Forecast>) -> (Outlook, Option<u64>) {
    ahead.map_or((Outlook::Unknown, None), Forecast::outlook)
}
