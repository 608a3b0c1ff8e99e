use proptest::prelude::*;
use twtrace_wire::{
    COMM_LEN, NO_KERNEL_REASON, Process as WireProcess, ProcessKey, ReuseRefusal, Unattributed,
};

use super::*;
use crate::event::batch::BatchBuilder;
use crate::event::timestamp::Timestamp;

fn decoder() -> Decoder {
    Decoder {
        clocks: Clocks::fixed(1_000_000, 0),
        kernel_reasons: KernelReasons::new(|code| (code == 14).then_some("TCP_STATE")),
        sees_refused_reuse: true,
        sees_accept: true,
        netns_order: Default::default(),
    }
}

/// The bytes that the kernel side would have written.
fn bytes_of<T: Wire>(wire: &T) -> Vec<u8> {
    let pointer = std::ptr::from_ref(wire).cast::<u8>();
    // SAFETY: `Wire` structs have no padding, so all their bytes are initialised.
    unsafe { std::slice::from_raw_parts(pointer, size_of::<T>()) }.to_vec()
}

fn decode_in_batch(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let mut builder = BatchBuilder::default();
    builder.push(bytes);
    let batch = builder.finish();
    let record = batch.records().next().unwrap();
    decoder().decode(record)
}

fn wire_process(tgid: u32, comm: &[u8]) -> WireProcess {
    let mut padded = [0; COMM_LEN];
    padded[..comm.len()].copy_from_slice(comm);
    WireProcess {
        key: ProcessKey {
            tgid,
            unattributed: 0,
            start_boot_ns: 9,
        },
        execs: 3,
        uid: 33,
        comm: padded,
        ..WireProcess::default()
    }
}

fn wire_reset() -> ConnectionEvent {
    ConnectionEvent {
        mono_ns: 5,
        kind: EventKind::Reset as u8,
        side: Side::Server as u8,
        state: TcpState::Established as u8,
        from: ResetDirection::Sent as u8,
        reason: ResetReason::LingerZero as u8,
        kernel_reason: 14,
        flags: 0,
        tuple: Tuple {
            local: [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            remote: [10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            local_port: 80,
            remote_port: 50_000,
            ip_version: 4,
            netns: 4_026_531_840,
            ..Tuple::default()
        },
        socket: 0xffff_8880_1234_5678,
        connection_ns: 100,
        idle_ns: UNKNOWN,
        peer_silent_ns: 70,
        send_idle_ns: 80,
        after_close_ns: 90,
        unread_bytes: 31,
        bytes_sent: 1,
        bytes_received: 2,
        process: wire_process(42, b"nginx"),
        opener: WireProcess::default(),
    }
}

#[test]
fn a_reset_comes_out_whole() {
    let decoded = decode_in_batch(&bytes_of(&wire_reset())).unwrap();
    assert_eq!(decoded.socket, 0xffff_8880_1234_5678);
    assert!(!decoded.may_be_replaced && !decoded.replaces);
    let event = decoded.event;
    assert_eq!(event.event, EventKind::Reset);
    assert_eq!(event.ts, Timestamp(1_000_005));
    assert_eq!(event.side, Side::Server);
    assert_eq!(event.netns, Some(4_026_531_840));
    assert_eq!(event.local.unwrap().to_string(), "10.0.0.1:80");
    assert_eq!(event.remote.unwrap().to_string(), "10.0.0.2:50000");
    assert!(event.opener.is_none() && event.unattributed.is_none());
    let process = event.process.unwrap();
    assert_eq!((process.key.tgid, process.uid), (42, Some(33)));
    assert_eq!(process.comm.text(), "nginx");
    let EventFacts::Reset(reset) = event.facts else {
        panic!("{:?}", event.facts);
    };
    assert_eq!(reset.reason, ResetReason::LingerZero);
    assert_eq!(reset.kernel_reason.unwrap().to_string(), "TCP_STATE");
    assert_eq!(reset.flow.connection_ns, Some(100));
    assert_eq!(reset.flow.idle_ns, None);
    assert_eq!(reset.flow.peer_silent_ns, Some(70));
    assert_eq!(reset.flow.send_idle_ns, Some(80));
    assert_eq!(
        (reset.after_close_ns, reset.unread_bytes),
        (Some(90), Some(31))
    );
}

fn wire_end() -> EndEvent {
    EndEvent {
        mono_ns: 5,
        kind: EventKind::TimeWaitEnd as u8,
        side: Side::Client as u8,
        cause: EndCause::ReusedByConnect as u8,
        before_start: 0,
        flags: 0,
        reserved2: 0,
        tuple: wire_reset().tuple,
        age_ns: 2_000,
        promoted_ns: UNKNOWN,
        process: wire_process(42, b"nginx"),
        opener: WireProcess::default(),
        by: wire_process(43, b"curl"),
    }
}

#[test]
fn an_end_comes_out_whole() {
    let event = decode_in_batch(&bytes_of(&wire_end())).unwrap().event;
    assert_eq!(event.event, EventKind::TimeWaitEnd);
    assert_eq!(event.side, Side::Client);
    assert_eq!(event.process.unwrap().comm.text(), "nginx");
    let EventFacts::TimeWaitEnd(end) = event.facts else {
        panic!("{:?}", event.facts);
    };
    assert_eq!(end.cause, EndCause::ReusedByConnect);
    assert_eq!((end.age_ns, end.promoted_ns), (Some(2_000), None));
    assert_eq!(end.by.unwrap().comm.text(), "curl");
    let mut unknown = wire_end();
    unknown.cause = 99;
    assert_eq!(
        decode_in_batch(&bytes_of(&unknown)).unwrap_err(),
        DecodeError::UnknownCode {
            field: "cause",
            code: 99
        }
    );
}

#[test]
fn why_there_is_no_process() {
    let mut wire = wire_reset();
    wire.kernel_reason = NO_KERNEL_REASON;
    wire.flags = flags::MAY_BE_DATA;
    wire.process = WireProcess::default();
    for (code, reason) in [
        (Unattributed::NoSocket as u32, Unattributed::NoSocket),
        (0, Unattributed::Unknown),
        (900, Unattributed::Unknown),
    ] {
        wire.process.key.unattributed = code;
        let decoded = decode_in_batch(&bytes_of(&wire)).unwrap();
        assert!(decoded.event.process.is_none());
        assert_eq!(decoded.event.unattributed, Some(reason));
        assert!(decoded.may_be_replaced);
    }
}

#[test]
fn a_port_search_has_the_side_of_its_system_call() {
    let mut wire = PortEvent {
        mono_ns: 5,
        kind: EventKind::PortAlloc as u8,
        op: PortOp::Bind as u8,
        requested: 80,
        errno: 98,
        flags: flags::UNTIMED,
        tuple: Tuple {
            ip_version: 6,
            ..Tuple::default()
        },
        latency_ns: 7,
        refused: [0, 0, 3, 0, 0, 0, 1],
        range_low: 0,
        range_high: 0,
        process: wire_process(42, b"nginx"),
    };
    let event = decode_in_batch(&bytes_of(&wire)).unwrap().event;
    assert_eq!((event.side, event.remote), (Side::Unknown, None));
    assert_eq!(event.local.unwrap().to_string(), "[::]:0");
    assert_eq!(event.netns, None);
    let EventFacts::PortAlloc(port) = &event.facts else {
        panic!("{:?}", event.facts);
    };
    assert_eq!(port.result, PortResult::Failed(Errno(98)));
    assert_eq!((port.latency_ns, port.exact), (None, false));
    assert_eq!(port.refused_reuse, None, "only connect() can reuse");

    wire.op = PortOp::Connect as u8;
    wire.errno = 0;
    wire.flags = flags::EXACT;
    let event = decode_in_batch(&bytes_of(&wire)).unwrap().event;
    assert_eq!(event.side, Side::Client);
    assert!(event.remote.is_some());
    let EventFacts::PortAlloc(port) = &event.facts else {
        panic!("{:?}", event.facts);
    };
    assert_eq!(port.result, PortResult::Ok);
    assert_eq!((port.latency_ns, port.exact), (Some(7), true));
    let refused = port.refused_reuse.unwrap();
    assert_eq!(refused.of(ReuseRefusal::NotLoopback), 3);
    assert_eq!(refused.of(ReuseRefusal::TooYoung), 1);
}

#[test]
fn what_is_no_record_is_an_error() {
    assert_eq!(decode_in_batch(&[0; 8]).unwrap_err(), DecodeError::Short(8));
    let mut bytes = bytes_of(&wire_reset());
    assert!(matches!(
        decode_in_batch(&bytes[..100]),
        Err(DecodeError::Length { found: 100, .. })
    ));
    bytes[KIND_OFFSET] = 200;
    assert_eq!(
        decode_in_batch(&bytes).unwrap_err(),
        DecodeError::UnknownKind(200)
    );
    let mut wire = wire_reset();
    wire.reason = 99;
    assert_eq!(
        decode_in_batch(&bytes_of(&wire)).unwrap_err(),
        DecodeError::UnknownCode {
            field: "reason",
            code: 99
        }
    );
    let mut shifted = vec![0u64; 64];
    let bytes = bytes_of(&wire_reset());
    // SAFETY: the words are initialised, and no byte is an invalid u8.
    let space = unsafe {
        std::slice::from_raw_parts_mut(shifted.as_mut_ptr().cast::<u8>(), 64 * size_of::<u64>())
    };
    space[1..=bytes.len()].copy_from_slice(&bytes);
    assert_eq!(
        decoder().decode(&space[1..=bytes.len()]).unwrap_err(),
        DecodeError::Misaligned
    );
}

proptest! {
    #[test]
    fn any_bytes_are_an_event_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_in_batch(&bytes);
        // Most random kinds and lengths are refused at once, so these are made valid to reach the fields.
        for (kind, length) in [
            (EventKind::TimeWait, size_of::<ConnectionEvent>()),
            (EventKind::Reset, size_of::<ConnectionEvent>()),
            (EventKind::Abort, size_of::<ConnectionEvent>()),
            (EventKind::PortAlloc, size_of::<PortEvent>()),
            (EventKind::TimeWaitEnd, size_of::<EndEvent>()),
        ] {
            bytes.resize(length, 0);
            bytes[KIND_OFFSET] = kind as u8;
            if let Ok(decoded) = decode_in_batch(&bytes) {
                prop_assert_eq!(decoded.event.event, kind);
                let json = serde_json::to_string(&decoded.event).unwrap();
                prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
            }
        }
    }

    #[test]
    fn a_record_keeps_its_measures(
        connection_ns in any::<u64>(),
        tgid in any::<u32>(),
        local_port in any::<u16>(),
        mono_ns in any::<u64>(),
    ) {
        let mut wire = wire_reset();
        wire.connection_ns = connection_ns;
        wire.process.key.tgid = tgid;
        wire.tuple.local_port = local_port;
        wire.mono_ns = mono_ns;
        let event = decode_in_batch(&bytes_of(&wire)).unwrap().event;
        prop_assert_eq!(event.mono_ns, mono_ns);
        prop_assert_eq!(event.local.unwrap().port(), local_port);
        prop_assert_eq!(event.process.map_or(0, |process| process.key.tgid), tgid);
        let EventFacts::Reset(reset) = event.facts else { panic!() };
        prop_assert_eq!(reset.flow.connection_ns.unwrap_or(UNKNOWN), connection_ns);
    }
}
