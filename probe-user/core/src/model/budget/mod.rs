//! Budgets of local ports: how many there are for each destination, how many are held, and how long they last.
//!
//! A connect() that looks for a port needs one that its own four-tuple does not use yet, so each (network
//! namespace, source address, destination address and port) has a budget of its own: the ports of the range,
//! less the reserved ones, less those that belong to a bind() (connect() skips these whatever the address),
//! less what live sockets and TIME_WAITs of the tuple hold. A program that binds to any port before it
//! connects draws on one pool for all destinations of the source address instead.
//!
//! No dump of sockets says whether a port was chosen by bind() or by connect(). Ports that somebody listens
//! on, or accepted on, belong to a bind(). Ports of sockets that were bound and then connected do too, but
//! are not told from others: a pool of that kind is shown beside the budgets by destination where events
//! tell of it (see [`evidence::Evidence`]), and not guessed where they don't.

pub mod evidence;
pub mod forecast;
mod latest;
pub mod ledger;
pub mod pace;
pub mod ports;
pub mod row;
pub mod servers;
pub mod snapshot;
pub mod sysctls;
mod tuple;
mod view;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use evidence::{Evidence, Pool, Told};
use row::{BudgetRow, Outlook, PoolWord};
use snapshot::Snapshot;
use sysctls::PortSysctls;
use view::View;

/// What is known of one network namespace.
#[derive(Clone, Copy, Debug)]
pub struct Namespace<'a> {
    /// Its inode number.
    pub netns: u32,
    /// Its settings, or why they are not known.
    pub sysctls: Result<&'a PortSysctls, &'a str>,
    /// Its sockets when tracing began.
    pub start: Option<&'a Snapshot>,
    /// Its sockets at the end, or why they are not known.
    pub end: Result<&'a Snapshot, &'a str>,
    /// Time between both, nanoseconds.
    pub lasted_ns: u64,
}

/// Gives the budgets of one namespace that hold a port or had a search fail, in no order.
pub fn each_row(namespace: &Namespace, evidence: &Evidence, take: &mut dyn FnMut(BudgetRow)) {
    let netns = namespace.netns;
    let mut given = match namespace.end {
        Ok(end) => given_source(netns, evidence, end),
        Err(_) => HashMap::new(),
    };
    let is_given_away = !given.is_empty();
    let told = evidence
        .of(netns)
        .filter(|(pool, _)| !(is_given_away && is_nameless(pool)));
    let (sysctls, end) = match (namespace.sysctls, namespace.end) {
        (Ok(sysctls), Ok(end)) => (sysctls, end),
        (Err(why), _) | (_, Err(why)) => {
            let why: Cow<'static, str> = why.to_owned().into();
            for (pool, mut told) in told {
                told.failures += given.remove(&pool).unwrap_or(0);
                take(unknown(netns, pool, told, why.clone()));
            }
            for (pool, failures) in given {
                take(unknown(
                    netns,
                    pool,
                    Told { made: 0, failures },
                    why.clone(),
                ));
            }
            return;
        }
    };
    let view = View::new(namespace, sysctls, end);
    let mut give = |pool, told| {
        if let Some(row) = view.row(pool, told) {
            take(row);
        }
    };
    for (pool, mut told) in told {
        told.failures += given.remove(&pool).unwrap_or(0);
        give(pool, told);
    }
    for (source, destination) in end.tuples() {
        let pool = Pool::Connect {
            source: Some(source),
            destination,
            own: None,
        };
        if !evidence.has(netns, &pool) {
            let failures = given.remove(&pool).unwrap_or(0);
            give(pool, Told { made: 0, failures });
        }
    }
    for (pool, failures) in given {
        give(pool, Told { made: 0, failures });
    }
}

fn is_nameless(pool: &Pool) -> bool {
    matches!(pool, Pool::Connect { source: None, .. })
}

/// Failures without a source address, by the budget that they go to: the one for that destination, where there is
/// just one.
fn given_source(netns: u32, evidence: &Evidence, end: &Snapshot) -> HashMap<Pool, u64> {
    let nameless = || evidence.of(netns).filter(|(pool, _)| is_nameless(pool));
    if nameless().next().is_none() {
        return HashMap::new();
    }
    // `None` for a destination of more than one source.
    let mut sources: HashMap<SocketAddr, Option<IpAddr>> = HashMap::new();
    for (source, destination) in end.tuples() {
        sources
            .entry(destination)
            .and_modify(|known| *known = None)
            .or_insert(Some(source));
    }
    let mut given: HashMap<Pool, u64> = HashMap::new();
    for (pool, told) in nameless() {
        let named = match pool {
            Pool::Connect {
                destination, own, ..
            } => Pool::Connect {
                source: sources.get(&destination).copied().flatten(),
                destination,
                own,
            },
            Pool::Bind { .. } => pool,
        };
        *given.entry(named).or_default() += told.failures;
    }
    given
}

/// A row of which only what events told is known.
fn unknown(netns: u32, pool: Pool, told: Told, why: Cow<'static, str>) -> BudgetRow {
    let (word, source, destination) = name(pool);
    BudgetRow {
        netns,
        pool: word,
        source,
        destination,
        range: None,
        socket_range: matches!(pool, Pool::Connect { own: Some(_), .. }),
        excluded: None,
        capacity: None,
        live: None,
        time_wait: None,
        time_wait_reusable: None,
        free: None,
        fast_half: None,
        connections_per_s: None,
        live_growth_per_s: None,
        expiry_per_s: None,
        failures: told.failures,
        outlook: Outlook::Unknown,
        full_in_ns: None,
        why: Some(why),
    }
}

fn name(pool: Pool) -> (PoolWord, Option<IpAddr>, Option<SocketAddr>) {
    match pool {
        Pool::Connect {
            source,
            destination,
            ..
        } => (PoolWord::Connect, source, Some(destination)),
        Pool::Bind { source } => (PoolWord::Bind, Some(source), None),
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
