use std::time::Duration;

use twtrace_core::event::answerable::without_process;
use twtrace_core::event::{Process, SocketRange};
use twtrace_core::model::audit::Basis;
use twtrace_core::model::budget::client_sockets::samples::{listener, live, time_wait};
use twtrace_core::model::budget::client_sockets::{ClientSockets, Hold, Socket, SocketState};
use twtrace_core::model::budget::evidence::{Pool, PoolCounts};
use twtrace_core::model::budget::ledger::{SocketSample, SocketSamples};
use twtrace_core::model::budget::sysctls::samples::narrow;
use twtrace_core::model::close_wait::{CloseWaitConnection, NoHolder};
use twtrace_core::model::listener::ListenerSample;
use twtrace_core::model::namespace;
use twtrace_core::model::netns_name::NamedAfter;
use twtrace_core::model::report::UnscannedRow;
use twtrace_core::model::socket::Times;
use twtrace_core::model::unacknowledged::UnacknowledgedRow;
use twtrace_wire::{
    LATENCY_BUCKETS, PortKey, PortOp, PortTotals, ProcessTotals, ResetReason, Side, Unattributed,
};

use super::*;

#[path = "holders_tests.rs"]
mod holders;

fn written(data: ObservationData) -> String {
    let observation = Observation {
        at: Moment {
            ts: Timestamp(1_700_000_000_000_000_007),
            mono_ns: 9,
        },
        data,
    };
    let mut text = Vec::new();
    append(&mut text, &observation).unwrap();
    String::from_utf8(text).unwrap()
}

fn read(text: &str) -> Vec<Observation> {
    let mut assembler = Assembler::default();
    text.lines()
        .filter_map(|line| assembler.take(line.as_bytes()).unwrap())
        .collect()
}

/// Written, read back and written again, it must be the same.
fn goes_there_and_back(data: ObservationData) -> String {
    let text = written(data);
    let mut again = read(&text);
    assert_eq!(again.len(), 1, "{text}");
    let mut rewritten = Vec::new();
    append(&mut rewritten, &again.remove(0)).unwrap();
    assert_eq!(String::from_utf8(rewritten).unwrap(), text);
    text
}

fn in_fin_wait2(local: &str, remote: &str) -> Socket {
    Socket {
        state: SocketState::Holding(Hold::TimeWait {
            left_ns: 59_999_000_000,
            in_fin_wait2: true,
        }),
        ..live(local, remote)
    }
}

/// A process as a recording stores it: its start is on the wall clock.
fn process(pid: u32) -> Process {
    let line = format!(
        r#"{{"pid":{pid},"comm":"a\ufffd","start_time":"2023-11-14T22:13:20.000000007Z","uid":5,"exe":"/bin/a","cgroup":"/x.service","unit":"x.service"}}"#
    );
    serde_json::from_str(&line).unwrap()
}

#[test]
fn sockets() {
    let sockets = ClientSockets::new(
        &[
            listener("10.0.0.1:40001"),
            live("10.0.0.1:40000", "10.0.0.2:80"),
            time_wait("10.0.0.1:40002", "10.0.0.2:80", 30),
            in_fin_wait2("10.0.0.1:40003", "10.0.0.2:80"),
        ],
        narrow().range,
        |_| false,
    );
    let mut samples = SocketSamples::new();
    let mut sample = SocketSample {
        sysctls: narrow(),
        sockets,
    };
    samples.insert(7, Ok(sample.clone()));
    let text = goes_there_and_back(ObservationData::Sockets(samples.clone()));
    assert!(!text.contains("of_bind"), "{text}");
    for (ports, written) in [
        (vec![], r#""of_bind":[]"#),
        (vec![40_001], r#""of_bind":[40001]"#),
    ] {
        sample
            .sockets
            .set_of_bind(Some(ports.into_iter().collect()));
        samples.insert(7, Ok(sample.clone()));
        let text = goes_there_and_back(ObservationData::Sockets(samples.clone()));
        assert!(text.contains(written), "{text}");
    }
    assert!(
        text.contains(r#""time_wait":[[40002,30000]],"fin_wait2":[[40003,59999]]"#),
        "{text}"
    );
    let mut gone = SocketSamples::new();
    gone.insert(8, Err("no way in".to_owned()));
    goes_there_and_back(ObservationData::Sockets(gone));
    goes_there_and_back(ObservationData::Sockets(SocketSamples::new()));
}

#[test]
fn exited_processes() {
    let text = goes_there_and_back(ObservationData::Exited(vec![process(7), process(8)]));
    assert!(text.contains(r#""event":"exited""#), "{text}");
}

#[test]
fn names() {
    let text = goes_there_and_back(ObservationData::Names(vec![NetnsName {
        netns: 7,
        after: NamedAfter::IpNetns,
        name: "blue".to_owned(),
    }]));
    assert!(
        text.contains(r#""names":[{"netns":7,"after":"ip_netns","name":"blue"}]"#),
        "{text}"
    );
    goes_there_and_back(ObservationData::Names(Vec::new()));
}

#[test]
fn many_sockets_take_several_lines_and_all_of_them_count() {
    let many: Vec<Socket> = (0..30_000_u16)
        .map(|port| live(&format!("10.0.0.1:{}", 20_000 + port), "10.0.0.2:80"))
        .collect();
    let mut sysctls = narrow();
    (sysctls.range.low, sysctls.range.high) = (20_000, 60_000);
    let sockets = ClientSockets::new(&many, sysctls.range, |_| false);
    let mut samples = SocketSamples::new();
    samples.insert(7, Ok(SocketSample { sysctls, sockets }));
    let text = written(ObservationData::Sockets(samples));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() > 2);
    let found = read(&text);
    let [
        Observation {
            data: ObservationData::Sockets(samples),
            ..
        },
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    let Ok(sample) = &samples[&7] else {
        panic!("{samples:?}");
    };
    let held = sample.sockets.held_on("10.0.0.1".parse().unwrap());
    assert_eq!(held.len(), many.len());
    // An observation that lacks a line is left out.
    for missing in 0..lines.len() {
        let mut kept = lines.clone();
        kept.remove(missing);
        assert!(read(&kept.join("\n")).is_empty(), "without line {missing}");
    }
}

#[test]
fn namespaces() {
    let mut samples = namespace::NamespaceSamples::new();
    let sample = |path: Option<&str>, state| namespace::NamespaceSample {
        path: path.map(Into::into),
        state,
    };
    let state = namespace::samples::defaults();
    samples.insert(1, sample(None, Ok(state)));
    samples.insert(2, sample(Some("/run/netns/x"), Err("gone".to_owned())));
    goes_there_and_back(ObservationData::Namespaces(samples));
}

#[test]
fn close_wait() {
    let connection = |holders, times| CloseWaitConnection {
        netns: 3,
        side: Side::Server,
        local: "10.0.0.1:80".parse().unwrap(),
        remote: "[2001:db8::1]:5".parse().unwrap(),
        cookie: 8,
        peer_waits: true,
        times,
        holders,
    };
    let times = Times {
        since_data: Duration::from_millis(90),
        since_ack: Duration::from_millis(30),
    };
    goes_there_and_back(ObservationData::CloseWait(CloseWait {
        connections: vec![
            connection(Ok(vec![process(1), process(2)]), Some(times)),
            connection(Err(NoHolder::NotAccepted), None),
        ],
        listeners: vec![ListenerSample {
            netns: 3,
            cookie: 9,
            local: "10.0.0.1:80".parse().unwrap(),
            v6only: Some(true),
            queued: 3,
            backlog: 2,
            drops: Some(40),
            holders: vec![process(1)],
        }],
        unacknowledged: vec![UnacknowledgedRow {
            netns: 3,
            remote: "10.0.0.2:80".parse().unwrap(),
            is_connecting: true,
            process: Some(process(1)),
            count: 4,
            retransmits: 2,
        }],
        unscanned: vec![UnscannedRow {
            netns: 4,
            why: "no way".to_owned(),
        }],
        tick_ns: 10_000_000,
    }));
    goes_there_and_back(ObservationData::CloseWait(CloseWait::default()));
}

#[test]
fn what_hidden_events_told_of_budgets() {
    let pool = |source: Option<&str>, own| Pool::Connect {
        source: source.map(|source| source.parse().unwrap()),
        destination: "[2001:db8::1]:80".parse().unwrap(),
        own,
    };
    let counts = PoolCounts {
        made: 3,
        failures: 4,
    };
    let bind = Pool::Bind {
        source: "::".parse().unwrap(),
    };
    let since = EvidenceDelta {
        taken_over: vec![2, 9],
        budgets: vec![
            (1, pool(Some("2001:db8::2"), None), counts),
            (1, pool(None, Some(SocketRange { low: 5, high: 9 })), counts),
            (2, bind, PoolCounts::default()),
        ],
        further_failures: 7,
    };
    let text = goes_there_and_back(ObservationData::Evidence(since.clone()));
    let ObservationData::Evidence(found) = &read(&text)[0].data else {
        panic!("{text}");
    };
    assert_eq!(*found, since);
    goes_there_and_back(ObservationData::Evidence(EvidenceDelta::default()));
}

#[test]
fn the_processes_of_a_command() {
    goes_there_and_back(ObservationData::Family(vec![process(1), process(2)]));
    goes_there_and_back(ObservationData::Family(Vec::new()));
}

#[test]
fn memory_audit_and_end() {
    let cache = CacheRow {
        name: "tw_sock_TCP".into(),
        active_objects: Some(5),
        object_bytes: Some(256),
        active_bytes: Some(1280),
        held_bytes: None,
        why: None,
    };
    goes_there_and_back(ObservationData::Memory(vec![cache]));
    goes_there_and_back(ObservationData::Audit(vec![AuditRow {
        netns: 5,
        netns_nth: 0,
        births_seen: 7,
        births_kernel: Some(8),
        difference: Some(-1),
        overflow_seen: 0,
        overflow_kernel: None,
        inferred: 0,
        ends_seen: None,
        alive_growth: None,
        alive_difference: None,
        reused_seen: None,
        reused_kernel: None,
        uncertainty: 1,
        basis: Basis::TcpExt,
        audited: false,
        why: Some("because".to_owned()),
        ..AuditRow::default()
    }]));
    assert_eq!(
        goes_there_and_back(ObservationData::End),
        "{\"ts\":\"2023-11-14T22:13:20.000000007Z\",\"mono_ns\":9,\"event\":\"end\",\"part\":1,\"parts\":1}\n"
    );
}

#[test]
fn totals() {
    let process = process(1);
    let key = process.key;
    let mut counted = ProcessTotals::default();
    counted.time_wait[Side::Client as usize] = 3;
    counted.reset_sent[ResetReason::LingerZero as usize] = 2;
    counted.reused = 1;
    let mut ports = PortTotals {
        count: 9,
        max_ns: 1_000,
        ..PortTotals::default()
    };
    ports.buckets[5] = 4;
    ports.buckets[LATENCY_BUCKETS - 1] = 1;
    let port_key = PortKey {
        process: key,
        op: PortOp::Bind as u32,
        exact: 1,
    };
    let totals = KernelTotals {
        processes: vec![
            (key, counted),
            (without_process(Unattributed::NoSocket), counted),
        ],
        ports: vec![(port_key, ports)],
        recursion_misses: Some(vec![("a_program".to_owned(), 4)]),
        named: [(key, process)].into(),
    };
    let text = goes_there_and_back(ObservationData::Totals(totals.clone()));
    let found = read(&text);
    let [
        Observation {
            data: ObservationData::Totals(read),
            ..
        },
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!(read.processes, totals.processes);
    assert_eq!(read.ports, totals.ports);
    goes_there_and_back(ObservationData::Totals(KernelTotals::default()));
}

#[test]
fn what_is_not_known_is_an_error_and_no_panic() {
    let mut assembler = Assembler::default();
    for line in [
        "",
        "{}",
        r#"{"ts":"2023-11-14T22:13:20Z","mono_ns":1,"event":"weather"}"#,
        r#"{"ts":"2023-11-14T22:13:20Z","mono_ns":1,"event":"sockets","namespaces":[{"netns":1,"sysctls":{"ip_local_port_range":{"low":9,"high":1},"ip_local_reserved_ports":"","tcp_tw_reuse":2,"tcp_timestamps":true,"tcp_tw_reuse_delay_ns":0},"tuples":[],"bound":[]}]}"#,
    ] {
        assert!(assembler.take(line.as_bytes()).is_err(), "{line}");
    }
}

#[test]
fn an_observation_without_end_is_an_error() {
    let part = |part: u32| {
        format!(
            r#"{{"ts":"2026-11-25T03:00:00Z","mono_ns":1,"event":"stacks","part":{part},"parts":4000000000,"rows":[]}}"#
        )
    };
    let mut assembler = Assembler::default();
    let first = part(1);
    assert!(assembler.take(first.as_bytes()).unwrap().is_none());
    assert_eq!(assembler.stacks.text_bytes, first.len());
    // As if many other lines had been read.
    assembler.stacks.text_bytes = MAX_TEXT - part(2).len();
    assert!(assembler.take(part(2).as_bytes()).unwrap().is_none());
    let error = assembler.take(part(3).as_bytes()).unwrap_err();
    assert!(error.to_string().contains("256 MiB"), "{error}");
    assert_eq!(assembler.stacks.text_bytes, 0);
    // The count starts again after it.
    assert!(assembler.take(part(1).as_bytes()).unwrap().is_none());
    assert_eq!(assembler.stacks.text_bytes, first.len());
}
