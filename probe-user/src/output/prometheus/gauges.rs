//! Values of the last sample of the kernel's state.

use std::collections::BTreeSet;

use twtrace_core::model::audit::AuditRow;
use twtrace_core::model::budget::row::{BudgetRow, Outlook, PoolWord};
use twtrace_core::model::memory::{CacheRow, Memory};
use twtrace_core::model::netns_name::NetnsName;
use twtrace_core::model::series::Series;
use twtrace_core::model::series::gauges::{Holder, NamespaceRow};
use twtrace_core::model::series::owner::printable;

use super::event_counters::{UNATTRIBUTED, labels, of_others, of_owner};
use super::families::{self, MetricFamily};
use super::metrics_page::{Labels, MetricsPage, Samples};

/// Port pools.
pub fn budgets(page: &mut MetricsPage, series: &Series) {
    let budgets = &series.gauges().budgets;
    // Ranges that sockets set themselves may give the same labels.
    let mut shown = BTreeSet::new();
    let rows: Vec<(Labels, &BudgetRow)> = budgets
        .rows
        .iter()
        .filter(|row| {
            let range = row.range.map(|range| (range.low, range.high));
            shown.insert((row.netns, row.pool, row.source, row.destination, range))
        })
        .map(|row| (of_budget(row), row))
        .collect();
    let mut gauge = |family: &'static MetricFamily, number: fn(&BudgetRow) -> Option<u32>| {
        let mut samples = page.family(family);
        for (labels, row) in &rows {
            known(&mut samples, labels, number(row).map(u64::from));
        }
    };
    gauge(&families::BUDGET_CAPACITY, |row| row.capacity);
    gauge(&families::BUDGET_FREE, |row| row.free);
    gauge(&families::BUDGET_TIME_WAIT, |row| row.time_wait);
    let mut used = page.family(&families::BUDGET_USED);
    for (labels, row) in &rows {
        if let Some(part) = row.used() {
            used.add(labels, part);
        }
    }
    let mut exhaustion = page.family(&families::BUDGET_EXHAUSTION);
    for (labels, row) in &rows {
        match (row.outlook, row.full_in_ns) {
            (Outlook::Full, _) => exhaustion.add(labels, 0),
            (Outlook::RunsOut, Some(ns)) => exhaustion.add_ns(labels, ns),
            (Outlook::Never, _) => exhaustion.add(labels, "+Inf"),
            (Outlook::RunsOut, None) | (Outlook::Unknown, _) => {}
        }
    }
    let mut unknown = page.family(&families::BUDGET_UNKNOWN);
    unknown.only(budgets.unknown.len());
}

/// TIME_WAIT sockets and limits of namespaces.
pub fn namespaces(page: &mut MetricsPage, series: &Series) {
    let gauges = series.gauges();
    let shown: BTreeSet<u32> = gauges
        .namespaces
        .iter()
        .map(|row| row.netns)
        .chain(gauges.budgets.rows.iter().map(|row| row.netns))
        .chain(gauges.audit.rows.iter().map(|row| row.netns))
        .collect();
    let mut names = page.family(&families::NETNS);
    for NetnsName { netns, after, name } in &gauges.names {
        if shown.contains(netns) {
            let labels = of_netns(*netns)
                .with("name", &printable(name))
                .with("named_after", after.word());
            names.add(&labels, 1);
        }
    }
    if let Some(time_waits) = gauges.time_waits {
        page.family(&families::SOCKETS).only(time_waits);
    }
    let mut gauge = |family: &'static MetricFamily, number: fn(&NamespaceRow) -> Option<u64>| {
        let mut samples = page.family(family);
        for row in &gauges.namespaces {
            known(&mut samples, &of_netns(row.netns), number(row));
        }
    };
    gauge(&families::NETNS_SOCKETS, |row| row.time_waits);
    gauge(&families::NETNS_LIMIT, |row| row.max_tw_buckets);
    page.family(&families::NETNS_UNSEEN)
        .only(gauges.unseen_namespaces);
    let mut gauge = |family: &'static MetricFamily, number: fn(&NamespaceRow) -> Option<u64>| {
        let mut samples = page.family(family);
        for row in &gauges.namespaces {
            known(&mut samples, &of_netns(row.netns), number(row));
        }
    };
    gauge(&families::CONNTRACK, |row| Some(row.conntrack?.count));
    gauge(&families::CONNTRACK_LIMIT, |row| Some(row.conntrack?.max));
}

/// Connections that the peer has closed.
pub fn close_wait(page: &mut MetricsPage, series: &Series) {
    let holdings = series.gauges().close_wait.as_deref().unwrap_or_default();
    let of_holder = |holder: &Holder| match holder {
        Holder::Owner(owner) => of_owner(owner),
        Holder::Nobody(why) => labels(UNATTRIBUTED, why.word()),
        Holder::Others => of_others(),
    };
    let mut sockets = page.family(&families::CLOSE_WAIT);
    for holding in holdings {
        sockets.add(&of_holder(&holding.holder), holding.count);
    }
    let mut oldest = page.family(&families::CLOSE_WAIT_OLDEST);
    for holding in holdings {
        if let Some(oldest_ns) = holding.oldest_ns {
            oldest.add_ns(&of_holder(&holding.holder), oldest_ns);
        }
    }
}

/// Memory of the kernel's tables.
pub fn memory(page: &mut MetricsPage, series: &Series) {
    let caches = &series.gauges().caches;
    if !caches.is_empty()
        && let Some(bytes) = Memory::of(caches.clone()).time_wait_bytes
    {
        page.family(&families::TIME_WAIT_MEMORY).only(bytes);
    }
    let mut gauge = |family: &'static MetricFamily, number: fn(&CacheRow) -> Option<u64>| {
        let mut samples = page.family(family);
        for row in caches {
            known(&mut samples, &labels("cache", &row.name), number(row));
        }
    };
    gauge(&families::SLAB_OBJECTS, |row| row.active_objects);
    gauge(&families::SLAB_ACTIVE, |row| row.active_bytes);
    gauge(&families::SLAB_HELD, |row| row.held_bytes);
}

/// The values of twtrace and of the kernel.
type Compared = fn(&AuditRow) -> (Option<u64>, Option<u64>);

/// Figures besides births, whose difference has a metric of its own.
const COMPARED: [(&MetricFamily, Compared); 5] = [
    (&families::AUDIT_REFUSED, |row| {
        (Some(row.overflow_seen), row.overflow_kernel)
    }),
    (&families::AUDIT_RESETS, |row| {
        (row.resets_sent_seen, row.resets_sent_kernel)
    }),
    (&families::AUDIT_CONNECTIONS, |row| {
        (
            Some(row.connections_reset_seen),
            row.connections_reset_kernel,
        )
    }),
    (&families::AUDIT_ENDED, |row| {
        (row.ends_seen, row.ends_kernel)
    }),
    (&families::AUDIT_REUSED, |row| {
        (row.reused_seen, row.reused_kernel)
    }),
];

/// What was traced, compared with the kernel's counts.
pub fn audit(page: &mut MetricsPage, series: &Series) {
    let audit = &series.gauges().audit;
    let mut audited = page.family(&families::AUDITED);
    audited.add(&labels("audited", "true"), audit.audited);
    audited.add(&labels("audited", "false"), audit.unaudited);
    let mut births = page.family(&families::AUDIT_BIRTHS);
    for row in &audit.rows {
        let of = |by| of_netns(row.netns).with("counted_by", by);
        births.add(&of("twtrace"), row.births_seen);
        known(&mut births, &of("kernel"), row.births_kernel);
    }
    let mut difference = page.family(&families::AUDIT_DIFFERENCE);
    for row in audit.rows.iter().filter(|row| row.audited) {
        if let Some(number) = row.difference {
            difference.add(&of_netns(row.netns), number);
        }
    }
    let mut uncertainty = page.family(&families::AUDIT_UNCERTAINTY);
    for row in audit.rows.iter().filter(|row| row.audited) {
        uncertainty.add(&of_netns(row.netns), row.uncertainty);
    }
    for (family, of) in COMPARED {
        let mut samples = page.family(family);
        for row in &audit.rows {
            let by = |by| of_netns(row.netns).with("counted_by", by);
            let (seen, kernel) = of(row);
            known(&mut samples, &by("twtrace"), seen);
            known(&mut samples, &by("kernel"), kernel);
        }
    }
    page.family(&families::AUDIT_OFF).only(audit.off);
    page.family(&families::AUDIT_ALL).only(audit.difference);
}

fn of_budget(row: &BudgetRow) -> Labels {
    let pool = match row.pool {
        PoolWord::Connect => "connect",
        PoolWord::Bind => "bind",
    };
    let source = row.source.map(|source| source.to_string());
    let destination = row.destination.map(|destination| destination.to_string());
    let range = row
        .range
        .map(|range| format!("{}-{}", range.low, range.high));
    of_netns(row.netns)
        .with("pool", pool)
        .with_some("source", source.as_deref())
        .with_some("destination", destination.as_deref())
        .with_some("range", range.as_deref())
}

fn of_netns(netns: u32) -> Labels {
    labels("netns", &netns.to_string())
}

fn known(samples: &mut Samples<'_>, labels: &Labels, number: Option<u64>) {
    if let Some(number) = number {
        samples.add(labels, number);
    }
}
