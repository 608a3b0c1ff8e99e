//! Facts for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use twtrace_wire::{ResetReason, ReuseRefusal, Side};

use super::facts::{DoctorFacts, NamespaceFacts};
use crate::event::{Timestamp, samples};
use crate::hooks::{Choice, Question, Tier};
use crate::model::budget::ports::PortRange;
use crate::model::budget::row::{BudgetRow, Outlook, PoolWord};
use crate::model::destination::Destination;
use crate::model::destinations::DestinationRow;
use crate::model::memory::Memory;
use crate::model::namespace::samples::defaults;
use crate::model::pairs::{PairRow, Pairs};
use crate::model::report::{Exact, ProcessRow, Report};

/// The only namespace.
pub const NETNS: u32 = 42;

fn by_fentry(question: Question) -> Choice {
    Choice {
        question,
        tier: Tier::Fentry,
        hooks: vec![],
        lost: None,
        refused: vec![],
    }
}

/// Ten seconds without events, with the kernel's defaults.
pub fn healthy() -> DoctorFacts {
    DoctorFacts {
        report: Report {
            start: Timestamp(0),
            end: Timestamp(10_000_000_000),
            audit_off: 0,
            duration_ns: 10_000_000_000,
            host: "host".into(),
            kernel: "6.18".into(),
            tiers: [Question::Port, Question::TimeWaitEnd]
                .map(by_fentry)
                .into(),
            exact: Exact {
                refused_reuse: true,
                ends: true,
                processes: true,
                destinations: true,
            },
            inexact: vec![],
            processes: vec![],
            destinations: vec![],
            pairs: vec![],
            pairs_left_out: 0,
            time_waits_alive: Default::default(),
            budgets: vec![budget(900, 0)],
            other_budgets: Default::default(),
            budgets_unknown: vec![],
            close_wait: vec![],
            fixed_ports: vec![],
            fixed_ports_left_out: 0,
            missing_addresses: vec![],
            missing_addresses_left_out: 0,
            unscanned: vec![],
            netns_names: vec![],
            stacks: None,
            memory: Memory::of(vec![]),
            audit: vec![],
            lost: vec![],
            recursion_misses: Some(vec![]),
            has_totals: true,
            history: None,
        },
        pairs: vec![],
        namespaces: BTreeMap::from([(
            NETNS,
            NamespaceFacts {
                path: Some("/proc/7/ns/net".into()),
                before: Some(defaults()),
                now: defaults(),
            },
        )]),
        overflown: vec![],
        ended_listeners: vec![],
        new_listeners: None,
        exited: Default::default(),
        unacknowledged: Vec::new(),
        sees_all: true,
        scarce_binds: Default::default(),
        unknown: vec![],
    }
}

/// 1,000 ports for 10.0.0.2:80, the others in TIME_WAIT.
pub fn budget(free: u32, failures: u64) -> BudgetRow {
    BudgetRow {
        netns: NETNS,
        pool: PoolWord::Connect,
        source: Some("10.0.0.1".parse().unwrap()),
        destination: Some("10.0.0.2:80".parse().unwrap()),
        range: Some(PortRange {
            low: 40_000,
            high: 40_999,
        }),
        socket_range: false,
        excluded: Some(0),
        capacity: Some(1_000),
        live: Some(0),
        time_wait: Some(1_000 - free),
        time_wait_reusable: Some(0),
        free: Some(free),
        fast_half: None,
        connections_per_s: Some(12.0),
        live_growth_per_s: Some(0.0),
        expiry_per_s: Some(0.0),
        live_by: Vec::new(),
        bound_by: Vec::new(),
        failures,
        outlook: match free {
            0 => Outlook::Full,
            _ => Outlook::Never,
        },
        full_in_ns: (free == 0).then_some(0),
        why: None,
    }
}

/// Events of `nginx(7)` with a destination.
pub fn pair(side: Side, destination: &str, time_wait: u64, linger_zero: u64) -> PairRow {
    let mut pairs = Pairs::default();
    pairs.apply(&samples::time_wait());
    let mut row = pairs.rows().remove(0);
    row.netns = NETNS;
    row.side = side;
    row.process = Some(Arc::new(samples::process(7, "nginx")));
    row.destination = match side {
        Side::Server => Destination::LocalPort(destination.parse().unwrap()),
        _ => Destination::Remote(destination.parse().unwrap()),
    };
    row.counts.time_wait = time_wait;
    for _ in 0..linger_zero {
        row.counts.deaths.reset_sent.add(ResetReason::LingerZero);
    }
    row
}

/// Connects of `nginx(7)` that found TIME_WAITs and could not reuse them.
pub fn refused(remote: &str, hindered: u64, why: ReuseRefusal, count: u64) -> PairRow {
    let mut row = pair(Side::Client, remote, 0, 0);
    row.counts.reuse.hindered = hindered;
    for _ in 0..count {
        row.counts.reuse.refused.add(why);
    }
    row
}

/// A process without figures.
pub fn process(comm: &str) -> ProcessRow {
    let process = samples::process(7, comm);
    ProcessRow::new(Some(process.clone()), process.key)
}

/// TIME_WAITs of one side in the namespace.
pub fn destination(side: Side, time_wait: u64) -> DestinationRow {
    let mut destinations = crate::model::destinations::Destinations::default();
    destinations.apply(&samples::time_wait());
    let mut row = destinations.rows().remove(0);
    row.netns = Some(NETNS);
    row.side = side;
    row.time_wait = time_wait;
    row
}
