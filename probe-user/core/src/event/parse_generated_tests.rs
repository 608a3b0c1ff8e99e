//! Events of every kind with arbitrary values: parsed and written again, they are unchanged.

use std::net::SocketAddr;

use proptest::prelude::*;
use proptest::sample::select;
use twtrace_wire::{EndCause, ResetReason, ReuseRefusal, Side, TcpState};

use super::*;
use crate::event::any::Any;
use crate::event::counts_by::CountsBy;
use crate::event::event_json::EventJson;
use crate::event::{EventFacts, PortResult, SocketRange, Timestamp};

fn kind_and_facts() -> impl Strategy<Value = (EventKind, EventFacts)> {
    EventKind::any().prop_flat_map(|kind| (Just(kind), EventFacts::any(kind)))
}

prop_compose! {
    fn event()(
        clocks: (u64, u64),
        (event, facts) in kind_and_facts().boxed(),
        netns: Option<u32>,
        netns_nth in 0..3_u32,
        (local, remote) in (Option::any(), Option::any()),
        mapped: bool,
        side in Side::any(),
        process in Option::any(),
        unattributed in Option::any(),
        opener in Option::any(),
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

/// Both ways of parsing give the same result; also for a line with one changed byte, if the fast path accepts it.
fn either_way_the_same<T: Any + Value>(at: prop::sample::Index, byte: u8) -> impl Fn(T) {
    move |value| {
        let json = EventJson::default().value(&value);
        let mut changed = json.clone().into_bytes();
        let at = at.index(changed.len());
        changed[at] = byte;
        for json in [Ok(json), String::from_utf8(changed)].into_iter().flatten() {
            let parser = &mut Parser::default();
            let mut rest = Rest(json.as_bytes());
            if let Some(quick) = T::read_written(&mut rest, parser)
                && rest.0.is_empty()
            {
                let long = T::read("x", Some(&json), parser);
                assert_eq!(
                    format!("{:?}", Ok::<T, ParseError>(quick)),
                    format!("{long:?}"),
                    "{json}"
                );
            }
        }
    }
}

/// Tests a type of fields.
macro_rules! values {
    ($($name:ident: $type:ty;)+) => {
        proptest! {$(
            #[test]
            fn $name(
                value in <$type>::any(),
                at: prop::sample::Index,
                byte in select(&b"0192,:{}\"\\nTZ. \x1f"[..]),
            ) {
                either_way_the_same::<$type>(at, byte)(value);
            }
        )+}
    };
}

values! {
    truths: bool;
    ports: u16;
    numbers: Option<u32>;
    large_numbers: Option<u64>;
    addresses: Option<SocketAddr>;
    timestamps: Timestamp;
    processes: Option<Process>;
    kernel_reasons: Option<KernelReason>;
    results: PortResult;
    counts: Option<CountsBy<ReuseRefusal, { ReuseRefusal::COUNT }>>;
    ranges: Option<SocketRange>;
    words: ResetReason;
    words_without_an_unknown_one: EndCause;
    words_or_null: Option<TcpState>;
}

proptest! {
    #[test]
    fn an_event_that_is_read_and_written_again_is_the_same(event in event().boxed()) {
        let line = serde_json::to_string(&event).unwrap();
        let Ok(ParsedLine::Event(read)) = Parser::default().parse(line.as_bytes()) else {
            panic!("{line}");
        };
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), line);
    }

    #[test]
    fn a_line_is_json_as_serde_writes_it(events in prop::collection::vec(event().boxed(), 1..5)) {
        let mut event_json = EventJson::default();
        for event in events.iter().flat_map(|event| [event, event]) {
            let mut text = Vec::new();
            event_json.append(&mut text, event).unwrap();
            let line = String::from_utf8(text).unwrap();
            prop_assert_eq!(&line, &(serde_json::to_string(event).unwrap() + "\n"), "what was kept");
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            // Except for the order of fields.
            prop_assert_eq!(value.to_string().len() + 1, line.len(), "{}", line);
            let own = EventFacts::list(event.event).into_iter().map(|field| field.name);
            for name in own.chain(["ts", "mono_ns", "netns", "local", "remote", "process"]) {
                prop_assert!(value.get(name).is_some(), "no {}: {}", name, line);
            }
        }
    }

    #[test]
    fn the_quick_way_reads_as_the_long_way_does(events in prop::collection::vec(event().boxed(), 1..5)) {
        let mut parsers = [Parser::default(), Parser::default()];
        for event in events.iter().flat_map(|event| [event, event]) {
            let line = serde_json::to_string(&event).unwrap();
            let [quick, long] = &mut parsers;
            let Ok(ParsedLine::Event(read)) = long.parse_any(line.as_bytes()) else {
                panic!("{line}");
            };
            if let Some(quick) = quick.as_written(line.as_bytes()) {
                prop_assert_eq!(format!("{quick:?}"), format!("{read:?}"));
            } else {
                let is_rare = matches!(&event.facts, EventFacts::Reset(facts) if facts.kernel_reason.is_some());
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
            let Ok(ParsedLine::Event(long)) = Parser::default().parse_any(&line) else {
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
