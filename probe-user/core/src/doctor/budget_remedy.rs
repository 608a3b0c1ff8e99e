//! What helps against a port pool that is used up, and what does not.

use twtrace_wire::ReuseRefusal;

use super::budget::{bound_by, holders};
use super::facts::DoctorFacts;
use super::setting::{SettingChange, SettingName};
use super::{advice, bind_pool, refused};
use crate::model::budget::row::{BudgetRow, PoolWord};
use crate::model::budget::sysctls::TwReuse;
use crate::model::pairs::PairRow;

/// Advice about tcp_tw_reuse as a remedy for a pool of bind().
const NO_REUSE_FOR_BIND: &str =
    "net.ipv4.tcp_tw_reuse for this: bind() does not take ports in TIME_WAIT";

/// Whether live sockets hold most of the used ports.
fn is_live(row: &BudgetRow) -> bool {
    row.live.unwrap_or(0) > row.time_wait.unwrap_or(0)
}

/// What to do, the best first.
pub fn to_do(facts: &DoctorFacts, row: &BudgetRow, hindered: &[&PairRow]) -> Vec<String> {
    let mut to_do = Vec::new();
    if row.pool == PoolWord::Bind {
        to_do.push(advice::OWN_POOLS.to_owned());
    } else if bind_pool::owners(facts, row).is_some() {
        let by = bound_by(row);
        let program = by
            .first()
            .map_or("the programs that bind", |(name, _)| name.as_ref());
        to_do.push(format!("in {program}: {}", advice::OWN_POOLS));
    }
    if is_live(row) {
        let by = holders(row);
        let of = by
            .first()
            .map_or_else(String::new, |(name, _)| format!(" of {name}"));
        to_do.push(format!(
            "most of the ports are held by open connections{of}: bound the number of connections, or find out \
             why they are not closed; remedies against TIME_WAIT do not help here"
        ));
    } else {
        to_do.push(
            "keep connections alive and use them again (a pool, HTTP keep-alive, nginx: keepalive in upstream)"
                .to_owned(),
        );
    }
    for change in settings(facts, row) {
        let why = match change.name {
            SettingName::Timestamps => {
                "switch TCP timestamps on, without which no TIME_WAIT is reused"
            }
            _ => "let connect() take ports in TIME_WAIT, which is safe for outbound connections",
        };
        to_do.push(format!("{why}: {}", facts.set(&change)));
    }
    if refused::count(hindered, ReuseRefusal::PeerWithoutTimestamps) > 0 {
        to_do.push(
            "switch TCP timestamps on at the peer, or in what stands between: without them its TIME_WAITs are \
             not reused"
                .to_owned(),
        );
    }
    if row.socket_range {
        to_do.push(
            "let these sockets have more ports: they set a range of their own (IP_LOCAL_PORT_RANGE), narrower \
             than the namespace's"
                .to_owned(),
        );
    } else if let Some(range) = row.range
        && super::port_range::may_grow(range)
    {
        to_do.push(super::port_range::widen(facts, row.netns));
    }
    to_do.push(
        "more destinations or sources: each address and port of the backend, and each source address, has \
         all the ports for itself"
            .to_owned(),
    );
    to_do
}

/// Settings that help.
pub fn settings(facts: &DoctorFacts, row: &BudgetRow) -> Vec<SettingChange> {
    let mut settings = Vec::new();
    let reuse_helps = !is_live(row)
        && row.pool == PoolWord::Connect
        && row.time_wait.unwrap_or(0) > 0
        && bind_pool::owners(facts, row).is_none();
    if let Some(state) = facts.state(row.netns)
        && reuse_helps
    {
        let set = |name| facts.setting(row.netns, name, 1);
        if !state.ports.timestamps {
            settings.push(set(SettingName::Timestamps));
        }
        // By default they are reused between loopback addresses.
        let ends = row.source.zip(row.destination);
        let is_reused = ends.is_some_and(|(source, to)| state.ports.reuses(source, to));
        if state.ports.tw_reuse != TwReuse::Always && !is_reused {
            settings.push(set(SettingName::TwReuse));
        }
    }
    settings
}

/// What not to do.
pub fn do_not(row: &BudgetRow) -> Vec<String> {
    let of_bind = (row.pool == PoolWord::Bind).then_some(NO_REUSE_FOR_BIND);
    let others = if is_live(row) {
        &[advice::NO_LINGER][..]
    } else {
        &[
            advice::NO_RECYCLE,
            advice::NO_FIN_TIMEOUT,
            advice::NO_LINGER,
            advice::NO_BUCKETS,
        ]
    };
    let all = of_bind.into_iter().chain(others.iter().copied());
    all.map(str::to_owned).collect()
}
