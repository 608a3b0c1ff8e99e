//! Tests of the comparison, with made-up lives.

use serde_json::{Value, json};

use super::{
    judge::*, ledger::LedgerEntry, namespace::NamespaceOutcome, tracer::TraceEvent,
    verdict::StormVerdict,
};
use crate::{
    storm::{
        plan::{self, End, FIRST_LIFE, Life, ServerKind, StepAction},
        server_address,
    },
    sys::proc_net::KernelCounters,
};

const CLIENT: i32 = 10;
const SERVER: i32 = 20;
const SIGHT: StormSight = StormSight {
    counts_births: true,
    sees_ends: true,
    ends_by_timer: false,
    sees_all_resets: true,
};

/// A life whose client connects once, by IPv4, to a server that always listens.
fn plain_life(seed: u64) -> Life {
    (FIRST_LIFE..)
        .find(|&life| {
            let plan = plan::plan(seed, life);
            plan.server == ServerKind::Separate && !plan.is_v6 && plan.again.is_none()
        })
        .unwrap()
}

fn entry(life: Life, end: End, action: StepAction, pid: i32, before_ns: u64) -> LedgerEntry {
    LedgerEntry {
        life,
        connection: 0,
        end,
        action,
        pid,
        before_ns,
        after_ns: before_ns + 5,
        errno: 0,
    }
}

/// The client aborts at 300.
fn namespace(life: Life, resets_sent: u64) -> PlayedNamespace {
    let names = [(CLIENT, "client"), (SERVER, "server")];
    PlayedNamespace {
        outcome: NamespaceOutcome {
            netns: 7,
            since_ns: 50,
            counters: KernelCounters {
                resets_sent,
                connections_reset: 2,
                ..KernelCounters::default()
            },
            read_ns: 1_000,
            alive: Vec::new(),
            names: names
                .iter()
                .map(|(pid, name)| (*pid, (*name).to_owned()))
                .collect(),
            holder: 30,
            flaky: 40,
            listening: vec![SERVER],
        },
        entries: vec![
            entry(life, End::Client, StepAction::Connect, CLIENT, 100),
            entry(life, End::Server, StepAction::Accept, SERVER, 200),
            entry(life, End::Client, StepAction::Abort, CLIENT, 300),
        ],
        lives: life..life + 1,
        settings: Vec::new(),
    }
}

fn trace_event(value: &Value) -> TraceEvent {
    let line = value.to_string();
    TraceEvent {
        line: line.clone(),
        ..serde_json::from_str(&line).unwrap()
    }
}

/// The client's RST, as sent and as received by the server.
fn events(life: Life, sender: i32) -> Vec<Value> {
    let client = format!("{}:40000", plan::address(life, false));
    let server = server_address(ServerKind::Separate, false).to_string();
    let name = if sender == CLIENT { "client" } else { "server" };
    vec![
        json!({
            "event": "reset", "direction": "sent", "reason": "linger_zero", "state": "established",
            "netns": 7, "mono_ns": 302, "local": client, "remote": server, "side": "client",
            "process": {"pid": sender, "comm": name}, "opener": {"pid": CLIENT, "comm": "client"},
        }),
        json!({
            "event": "reset", "direction": "received", "reason": "peer", "state": "established",
            "netns": 7, "mono_ns": 303, "local": server, "remote": client, "side": "server",
            "process": {"pid": SERVER, "comm": "server"}, "opener": {"pid": SERVER, "comm": "server"},
        }),
    ]
}

fn verdict(namespace: PlayedNamespace, events: &[Value]) -> StormVerdict {
    let traced: Vec<TraceEvent> = events.iter().map(trace_event).collect();
    judge(1, &[namespace], &traced, SIGHT)
}

#[test]
fn what_is_right_is_right() {
    let life = plain_life(1);
    let verdict = verdict(namespace(life, 1), &events(life, CLIENT));
    assert!(verdict.wrong.is_empty(), "{:?}", verdict.wrong);
    assert!(verdict.differences.is_empty() && verdict.incomplete.is_empty());
    assert_eq!((verdict.attributable, verdict.unknown()), (2, 0));
}

#[test]
fn the_wrong_name_is_wrong() {
    let life = plain_life(1);
    let verdict = verdict(namespace(life, 1), &events(life, SERVER));
    assert_eq!(verdict.wrong.len(), 1);
    assert!(verdict.wrong[0].contains("names 20 server, not one of {10}"));
}

#[test]
fn the_wrong_reason_is_wrong() {
    let life = plain_life(1);
    let mut events = events(life, CLIENT);
    events[0]["reason"] = json!("unread_data");
    let verdict = verdict(namespace(life, 1), &events);
    assert!(verdict.wrong[0].contains("the peer never wrote anything"));
}

#[test]
fn the_kernels_own_reason_is_asked() {
    let life = plain_life(1);
    let mut events = events(life, CLIENT);
    events[0]["kernel_reason"] = json!("TCP_ABORT_ON_CLOSE");
    let verdict = verdict(namespace(life, 1), &events);
    assert!(verdict.wrong[0].contains("the kernel's reason is TCP_ABORT_ON_CLOSE"));
}

#[test]
fn nobody_is_counted_and_a_sum_that_differs_is_said() {
    let life = plain_life(1);
    let mut events = events(life, CLIENT);
    events[0]["process"] = Value::Null;
    events[0]["unattributed"] = json!("lost");
    let verdict = verdict(namespace(life, 2), &events);
    assert!(verdict.wrong.is_empty(), "{:?}", verdict.wrong);
    assert_eq!(verdict.unknown(), 1);
    assert_eq!(verdict.differences.len(), 1);
}

#[test]
fn what_was_received_must_have_been_sent_and_what_is_left_must_be_there() {
    let life = plain_life(1);
    let mut reported = events(life, CLIENT).split_off(1);
    assert_eq!(verdict(namespace(life, 0), &reported).incomplete.len(), 1);
    reported = events(life, CLIENT);
    reported[0]["event"] = json!("time_wait");
    reported[0]["direction"] = Value::Null;
    reported[0]["reason"] = Value::Null;
    reported[1]["event"] = json!("port_alloc");
    let verdict = verdict(namespace(life, 0), &reported);
    assert!(verdict.incomplete[0].contains("1 births and 0 ends at the Client, and 0 there"));
}

#[test]
fn what_timers_end_is_allowed_for_where_it_is_not_seen() {
    const SECOND_NS: u64 = 1_000_000_000;
    let life = plain_life(1);
    let mut played = namespace(life, 0);
    played.settings = vec![("ipv4/tcp_fin_timeout", 1)];
    let mut born = events(life, CLIENT)[0].clone();
    born["event"] = json!("time_wait");
    born["state"] = json!("fin_wait2");
    born["direction"] = Value::Null;
    born["reason"] = Value::Null;
    let mut later = events(life, CLIENT)[1].clone();
    later["event"] = json!("port_alloc");
    let judged = |later: &Value, ends_by_timer| {
        let traced = [&born, later].map(trace_event);
        let sight = StormSight {
            ends_by_timer,
            ..SIGHT
        };
        let verdict = judge(1, std::slice::from_ref(&played), &traced, sight);
        (verdict.incomplete.len(), verdict.missing)
    };
    assert_eq!(
        judged(&later, true),
        (1, 0),
        "it has not been there so long"
    );
    later["mono_ns"] = json!(302 + SECOND_NS);
    assert_eq!(judged(&later, true), (0, 1));
    assert_eq!(judged(&later, false), (1, 0), "other hooks see it");

    // The client closed at 300.
    let mut timeout = events(life, CLIENT)[0].clone();
    timeout["reason"] = json!("timeout");
    let wrong = |event: &Value| {
        judge(
            1,
            std::slice::from_ref(&played),
            &[trace_event(event)],
            SIGHT,
        )
    };
    timeout["mono_ns"] = json!(300 + SECOND_NS);
    assert_eq!(wrong(&timeout).wrong.len(), 1, "in established");
    timeout["state"] = json!("fin_wait2");
    assert_eq!(wrong(&timeout).wrong.len(), 0);
    timeout["mono_ns"] = json!(302);
    assert_eq!(wrong(&timeout).wrong.len(), 1, "too early");
}
