//! The pools of one namespace, each once: from the data of events, and from what sockets hold.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::client_sockets::ClientSockets;
use super::evidence::{Evidence, Pool, PoolCounts};
use super::row::BudgetRow;
use super::view::NamespaceView;
use super::{NamespacePorts, unknown};

/// Passes on the pools of one namespace that hold a port or had a failed allocation, unordered.
pub fn each_row(namespace: &NamespacePorts, evidence: &Evidence, take: &mut dyn FnMut(BudgetRow)) {
    let netns = namespace.netns;
    let mut given = match namespace.end {
        Ok(end) => given_source(netns, evidence, end),
        Err(_) => HashMap::new(),
    };
    let is_given_away = !given.is_empty();
    let counts = evidence
        .of(netns)
        .filter(|(pool, _)| !(is_given_away && is_nameless(pool)));
    let (sysctls, end) = match (namespace.sysctls, namespace.end) {
        (Ok(sysctls), Ok(end)) => (sysctls, end),
        (Err(why), _) | (_, Err(why)) => {
            let why: Cow<'static, str> = why.to_owned().into();
            for (pool, mut counts) in counts {
                counts.failures += given.remove(&pool).unwrap_or(0);
                take(unknown(netns, pool, counts, why.clone()));
            }
            for (pool, failures) in given {
                take(unknown(
                    netns,
                    pool,
                    PoolCounts { made: 0, failures },
                    why.clone(),
                ));
            }
            return;
        }
    };
    let view = NamespaceView::new(namespace, sysctls, end);
    let mut give = |pool, counts| {
        if let Some(row) = view.row(pool, counts) {
            take(row);
        }
    };
    for (pool, mut counts) in counts {
        counts.failures += given.remove(&pool).unwrap_or(0);
        give(pool, counts);
    }
    for (source, destination) in end.tuples() {
        let pool = Pool::Connect {
            source: Some(source),
            destination,
            own: None,
        };
        if !evidence.has(netns, &pool) {
            let failures = given.remove(&pool).unwrap_or(0);
            give(pool, PoolCounts { made: 0, failures });
        }
    }
    for (pool, failures) in given {
        give(pool, PoolCounts { made: 0, failures });
    }
}

fn is_nameless(pool: &Pool) -> bool {
    matches!(pool, Pool::Connect { source: None, .. })
}

/// Failures without a source address, assigned to a pool: the one for that destination, if there is just one.
fn given_source(netns: u32, evidence: &Evidence, end: &ClientSockets) -> HashMap<Pool, u64> {
    let nameless = || evidence.of(netns).filter(|(pool, _)| is_nameless(pool));
    if nameless().next().is_none() {
        return HashMap::new();
    }
    // `None` for a destination with more than one source.
    let mut sources: HashMap<SocketAddr, Option<IpAddr>> = HashMap::new();
    for (source, destination) in end.tuples() {
        sources
            .entry(destination)
            .and_modify(|known| *known = None)
            .or_insert(Some(source));
    }
    let mut given: HashMap<Pool, u64> = HashMap::new();
    for (pool, counts) in nameless() {
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
        *given.entry(named).or_default() += counts.failures;
    }
    given
}
