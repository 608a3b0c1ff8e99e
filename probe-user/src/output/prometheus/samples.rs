//! A series with something of everything, for tests.

use std::time::Duration;

use twtrace_core::event::{Lost, LostBy, Moment, Process, Timestamp, samples};
use twtrace_core::hooks::{Choice, Question, Tier};
use twtrace_core::model::audit::{AuditRow, Basis};
use twtrace_core::model::budget::client_sockets::ClientSockets;
use twtrace_core::model::budget::client_sockets::samples::{live, time_wait};
use twtrace_core::model::budget::ledger::{SocketSample, SocketSamples};
use twtrace_core::model::budget::sysctls::samples::narrow;
use twtrace_core::model::close_wait::{CloseWaitConnection, NoHolder};
use twtrace_core::model::host::Host;
use twtrace_core::model::memory::CacheRow;
use twtrace_core::model::namespace;
use twtrace_core::model::netns_name::{NamedAfter, NetnsName};
use twtrace_core::model::observation::{CloseWait, KernelTotals, Observation, ObservationData};
use twtrace_core::model::series::SeriesLimits;
use twtrace_core::model::socket::Times;
use twtrace_core::model::tally::TracingStart;
use twtrace_wire::{EventKind, PortKey, PortOp, PortTotals, ProcessTotals, Side, bucket_of_ns};

use super::*;

const AT: Moment = Moment {
    ts: Timestamp(1_700_000_000_500_000_000),
    mono_ns: 500,
};

pub fn tracing_start() -> TracingStart {
    let choice = |question, tier| Choice {
        question,
        tier,
        hooks: Vec::new(),
        lost: None,
        refused: Vec::new(),
    };
    TracingStart {
        at: AT,
        host: Host {
            name: "web-1".into(),
            kernel: "6.12.1".into(),
        },
        tiers: vec![
            choice(Question::TimeWait, Tier::Timer),
            choice(Question::TimeWaitEnd, Tier::Timer),
        ],
    }
}

pub fn taken(process: Process) -> KernelTotals {
    let mut totals = ProcessTotals::default();
    totals.time_wait[Side::Client as usize] = 3;
    totals.fin_wait2[Side::Client as usize] = 1;
    totals.overflow[Side::Server as usize] = 5;
    totals.reset_sent[1] = 2;
    totals.abort[1] = 1;
    totals.ended[0] = 2;
    totals.reused = 1;
    totals.hindered = 1;
    totals.refused[1] = 4;
    let mut searches = PortTotals {
        count: 2,
        failures: 1,
        max_ns: 3_000_000,
        ..PortTotals::default()
    };
    searches.buckets[bucket_of_ns(2_000)] += 1;
    searches.buckets[bucket_of_ns(3_000_000)] += 1;
    let key = PortKey {
        process: process.key,
        op: PortOp::Connect as u32,
        exact: 1,
    };
    KernelTotals {
        processes: vec![(process.key, totals)],
        ports: vec![(key, searches)],
        recursion_misses: Some(vec![("state".to_owned(), 0)]),
        named: [(process.key, process)].into(),
    }
}

/// Series with a value for everything.
pub fn series() -> Series {
    let limits = SeriesLimits {
        max_processes: 2,
        max_destinations: 2,
    };
    let mut series = Series::new(&tracing_start(), limits);
    for name in ["curl", "we\"ird\\\n\x1b[31m", "late"] {
        series.add_totals(&taken(samples::process(name.len() as u32, name)));
    }
    let mut refused = samples::time_wait();
    refused.event = EventKind::TimeWaitOverflow;
    for event in [
        samples::time_wait(),
        refused,
        samples::reset(),
        samples::abort(),
        samples::port_alloc(),
        samples::time_wait_end(),
    ] {
        series.any_event(&event);
        series.event(&event);
    }
    series.lost(&Lost {
        ts: AT.ts,
        mono_ns: 600,
        event: Default::default(),
        probe: LostBy::Decode,
        count: 7,
    });
    for data in data() {
        series.observe(&Observation { at: AT, data });
    }
    series
}

/// Two tuples, one of which will never be full.
fn sockets() -> SocketSamples {
    let sysctls = narrow();
    let sockets = [
        time_wait("10.0.0.1:40000", "10.0.0.2:80", 58),
        time_wait("10.0.0.1:40002", "10.0.0.2:80", 57),
        live("10.0.0.1:40000", "10.0.0.3:80"),
    ];
    let sockets = ClientSockets::new(&sockets, sysctls.range, |_| false);
    [
        (5, Ok(SocketSample { sysctls, sockets })),
        (6, Err("gone".to_owned())),
    ]
    .into()
}

fn data() -> Vec<ObservationData> {
    let sample = namespace::NamespaceSample {
        path: None,
        state: Ok(namespace::NamespaceState {
            time_waits: Some(12),
            conntrack: Some(namespace::Conntrack {
                count: 40,
                max: 65_536,
                ..Default::default()
            }),
            ..namespace::samples::defaults()
        }),
    };
    let connection = |holders| CloseWaitConnection {
        netns: 5,
        side: Side::Client,
        local: "10.0.0.1:4000".parse().unwrap(),
        remote: "10.0.0.2:80".parse().unwrap(),
        cookie: 7,
        peer_waits: false,
        times: Some(Times {
            since_data: Duration::from_secs(90),
            since_ack: Duration::from_millis(72_500),
        }),
        holders,
    };
    let cache = |name: &'static str| CacheRow {
        name: name.into(),
        active_objects: Some(2),
        object_bytes: Some(256),
        active_bytes: Some(512),
        held_bytes: Some(4_096),
        why: None,
    };
    let audit = AuditRow {
        netns: 5,
        netns_nth: 0,
        births_seen: 9,
        births_kernel: Some(10),
        difference: Some(-1),
        overflow_seen: 0,
        overflow_kernel: None,
        inferred: 0,
        ends_seen: Some(2),
        ends_kernel: Some(3),
        alive_growth: None,
        alive_difference: None,
        reused_seen: Some(1),
        reused_kernel: Some(1),
        uncertainty: 0,
        basis: Basis::TcpExt,
        audited: true,
        why: None,
        resets_sent_seen: Some(3),
        resets_sent_kernel: Some(3),
        ..AuditRow::default()
    };
    vec![
        ObservationData::Sockets(sockets()),
        ObservationData::Sockets(sockets()),
        ObservationData::Namespaces([(5, sample)].into()),
        ObservationData::Names(
            [(5, "shop\n"), (7, "not told of")]
                .map(|(netns, name)| NetnsName {
                    netns,
                    after: NamedAfter::IpNetns,
                    name: name.to_owned(),
                })
                .into(),
        ),
        ObservationData::CloseWait(CloseWait {
            connections: vec![
                connection(Ok(vec![samples::process(9, "leaky")])),
                connection(Err(NoHolder::NotAccepted)),
            ],
            ..CloseWait::default()
        }),
        ObservationData::Memory(vec![cache("tw_sock_TCP"), cache("tw_sock_TCPv6")]),
        ObservationData::Audit(vec![audit]),
    ]
}
