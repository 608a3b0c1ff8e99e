//! Events of every kind with anything in them: read back and written again, they are the same.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use twtrace_wire::ProcessKey;

use super::*;
use crate::event::comm::Comm;
use crate::event::event_json::EventJson;
use crate::event::place::Place;
use crate::event::process::Details;

fn member<T: Word + std::fmt::Debug>() -> impl Strategy<Value = T> {
    select(T::MEMBERS)
}

prop_compose! {
    fn place()(
        path in "\\PC*",
        container_id in option::of(any::<String>()),
        pod_uid in option::of(any::<String>()),
        unit in option::of(any::<String>()),
    ) -> Place {
        Place { path, container_id, pod_uid, unit }
    }
}

prop_compose! {
    fn details()(
        start_time in option::of(any::<u64>().prop_map(Timestamp)),
        exe in option::of(any::<String>()),
        cgroup in option::of(place().boxed()),
    ) -> Details {
        Details { comm: Comm::default(), start_time, exe, cgroup }
    }
}

prop_compose! {
    fn process()(
        tgid in 1..=u32::MAX,
        uid: Option<u32>,
        comm: [u8; 15],
        thread_comm in option::of(any::<[u8; 15]>()),
        details in option::of(details().boxed()),
    ) -> Process {
        Process {
            key: ProcessKey { tgid, unattributed: 0, start_boot_ns: 5 },
            uid,
            cgroup_id: 0,
            execs: 0,
            comm: Comm::from_bytes(&comm),
            thread_comm: Comm::from_bytes(&thread_comm.unwrap_or_default()),
            details: details.map(Arc::new),
        }
    }
}

fn address() -> impl Strategy<Value = Option<SocketAddr>> {
    option::of((any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from))
}

prop_compose! {
    fn flow()(
        connection_ns: Option<u64>,
        idle_ns: Option<u64>,
        peer_silent_ns: Option<u64>,
        send_idle_ns: Option<u64>,
        bytes_sent: Option<u64>,
        bytes_received: Option<u64>,
    ) -> Flow {
        Flow { connection_ns, idle_ns, peer_silent_ns, send_idle_ns, bytes_sent, bytes_received }
    }
}

prop_compose! {
    fn time_wait()(
        state in option::of(member()),
        from in option::of(member()),
        flow in flow().boxed(),
        inferred: bool,
    ) -> Facts {
        Facts::TimeWait(TimeWait { state, from, flow, inferred })
    }
}

prop_compose! {
    fn reset()(
        direction in member(),
        reason in member(),
        kernel_reason in option::of("\\PC*"),
        state in option::of(member()),
        flow in flow().boxed(),
        after_close_ns: Option<u64>,
    ) -> Facts {
        let kernel_reason = kernel_reason.map(|word| KernelReason::new(&word));
        Facts::Reset(Reset { direction, reason, kernel_reason, state, flow, after_close_ns })
    }
}

prop_compose! {
    fn abort()(reason in member(), state in option::of(member()), flow in flow().boxed()) -> Facts {
        Facts::Abort(Abort { reason, state, flow })
    }
}

prop_compose! {
    fn search()(
        op in member(),
        requested: u16,
        failed: Option<u16>,
        latency_ns: Option<u64>,
        exact: bool,
        refused: Option<[u64; 7]>,
        range: Option<(u16, u16)>,
    ) -> Facts {
        Facts::PortAlloc(PortAlloc {
            op,
            requested,
            result: failed.map_or(PortResult::Ok, |number| PortResult::Failed(Errno(number))),
            latency_ns,
            exact,
            refused_reuse: refused.map(By::new),
            socket_range: range.map(|(low, high)| SocketRange { low, high }),
        })
    }
}

prop_compose! {
    fn end()(
        cause in member(),
        age_ns: Option<u64>,
        promoted_ns: Option<u64>,
        by in option::of(process().boxed()),
        inferred: bool,
    ) -> Facts {
        Facts::TimeWaitEnd(TimeWaitEnd { cause, age_ns, promoted_ns, by, inferred })
    }
}

fn kind_and_facts() -> impl Strategy<Value = (EventKind, Facts)> {
    member::<EventKind>().prop_flat_map(|kind| {
        let facts = match kind {
            EventKind::TimeWait | EventKind::TimeWaitOverflow => time_wait().boxed(),
            EventKind::Reset => reset().boxed(),
            EventKind::Abort => abort().boxed(),
            EventKind::PortAlloc => search().boxed(),
            EventKind::TimeWaitEnd => end().boxed(),
        };
        (Just(kind), facts)
    })
}

prop_compose! {
    fn event()(
        clocks: (u64, u64),
        (event, facts) in kind_and_facts().boxed(),
        netns: Option<u32>,
        netns_nth in 0..3_u32,
        (local, remote) in (address().boxed(), address().boxed()),
        mapped: bool,
        side in member(),
        process in option::of(process().boxed()),
        unattributed in option::of(member()),
        opener in option::of(process().boxed()),
    ) -> Event {
        Event {
            ts: Timestamp(clocks.0),
            mono_ns: clocks.1,
            event,
            netns,
            netns_nth,
            local,
            remote,
            mapped,
            side,
            process,
            unattributed,
            opener,
            facts,
        }
    }
}

proptest! {
    #[test]
    fn an_event_that_is_read_and_written_again_is_the_same(event in event().boxed()) {
        let line = serde_json::to_string(&event).unwrap();
        let Ok(Told::Event(read)) = Parser::default().parse(line.as_bytes()) else {
            panic!("{line}");
        };
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), line);
    }

    #[test]
    fn events_are_written_as_serde_writes_them(events in prop::collection::vec(event().boxed(), 1..5)) {
        let mut event_json = EventJson::default();
        for event in events.iter().flat_map(|event| [event, event]) {
            let mut text = Vec::new();
            event_json.append(&mut text, event).unwrap();
            let expected = serde_json::to_string(event).unwrap() + "\n";
            prop_assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }

    #[test]
    fn the_quick_way_reads_as_the_long_way_does(events in prop::collection::vec(event().boxed(), 1..5)) {
        let mut parsers = [Parser::default(), Parser::default()];
        for event in events.iter().flat_map(|event| [event, event]) {
            let line = serde_json::to_string(&event).unwrap();
            let [quick, long] = &mut parsers;
            let Ok(Told::Event(read)) = long.parse_any(line.as_bytes()) else {
                panic!("{line}");
            };
            if let Some(quick) = quick.as_written(line.as_bytes()) {
                prop_assert_eq!(format!("{quick:?}"), format!("{read:?}"));
            } else {
                let is_rare = match &event.facts {
                    Facts::PortAlloc(_) => true,
                    Facts::Reset(facts) => facts.kernel_reason.is_some(),
                    _ => false,
                };
                let is_rare = is_rare || event.netns_nth != 0;
                prop_assert!(is_rare, "not read: {line}");
            }
        }
    }

    #[test]
    fn a_changed_line_is_not_read_otherwise(
        event in event().boxed(),
        at: prop::sample::Index,
        byte in select(&b"0192,:{}\"\\nTZ. \x1f\xff"[..]),
    ) {
        let mut line = serde_json::to_string(&event).unwrap().into_bytes();
        let at = at.index(line.len());
        line[at] = byte;
        if let Some(quick) = Parser::default().as_written(&line) {
            let Ok(Told::Event(long)) = Parser::default().parse_any(&line) else {
                panic!("{}", String::from_utf8_lossy(&line));
            };
            prop_assert_eq!(format!("{quick:?}"), format!("{long:?}"));
        }
    }

    #[test]
    fn a_changed_event_is_read_without_a_panic(
        event in event().boxed(),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut line = serde_json::to_string(&event).unwrap().into_bytes();
        let at = at.index(line.len());
        line[at] = byte;
        let _ = Parser::default().parse(&line);
    }
}
