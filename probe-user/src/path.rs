//! The path of an event through the program, stage by stage, for `cargo xtask bench --only path`.
//!
//! Each stage repeats the same work on the same events, so the cost of one event is the difference between many rounds
//! and few.

use std::hint::black_box;
use std::time::Instant;

use twtrace_core::event::batch::{Batch, BatchBuilder};
use twtrace_core::event::decode::{Decoder, Wire};
use twtrace_core::event::event_json::EventJson;
use twtrace_core::event::reset_correlation::ResetCorrelation;
use twtrace_core::event::timestamp::SECOND_NS;
use twtrace_core::event::{Event, Moment};
use twtrace_core::filter::Filter;
use twtrace_core::model::host::Host;
use twtrace_core::model::series::{Series, SeriesLimits};
use twtrace_core::model::tally::{Tally, TracingStart};
use twtrace_wire::{
    ConnectionEvent, EndCause, EndEvent, EventKind, NO_KERNEL_REASON, PortEvent, PortOp, Process,
    ProcessKey, ResetDirection, ResetReason, Side, TcpState, Tuple, UNKNOWN, flags,
};
use zstd::bulk::Compressor;

use crate::clock;
use crate::enrich::Enricher;
use crate::output::trace_lines::TraceLines;
use crate::record::FRAME_TEXT;
use crate::record::entry::EntryParser;

/// Names of the stages, in the order in which an event passes through them.
pub const STAGES: [&str; 10] = [
    "decode",
    "enrich",
    "enrich-new",
    "filter",
    "tally",
    "series",
    "text",
    "json",
    "compress",
    "read",
];

/// Number of events in a round.
pub const EVENTS: u64 = 1024;
/// Number of processes and of destinations among them.
const PROCESSES: u64 = 8;
const DESTINATIONS: u64 = 64;
/// No process has a pid as large as this.
const NO_PID: u32 = 0x4000_0000;

/// Runs a stage for this many rounds; returns the time per event, nanoseconds. `None` if there is no such stage, or the
/// system refuses what it needs.
pub fn run(stage: &str, rounds: u64) -> Option<f64> {
    let mut stage = PathStage::new(stage)?;
    let started = Instant::now();
    for _ in 0..rounds {
        black_box(stage.round());
    }
    Some(started.elapsed().as_nanos() as f64 / (rounds.max(1) * EVENTS) as f64)
}

/// The work of one round; returns the number of events that passed through it.
struct PathStage(Box<dyn FnMut() -> u64>);

impl PathStage {
    fn round(&mut self) -> u64 {
        (self.0)()
    }

    fn new(name: &str) -> Option<Self> {
        let clocks = clock::measure().ok()?;
        let batch = batch();
        let decoder = Decoder {
            clocks,
            kernel_reasons: Default::default(),
            sees_refused_reuse: true,
            sees_accept: true,
            netns_order: Default::default(),
        };
        let mut enricher = Enricher::new(clocks);
        let mut events: Vec<Event> = batch
            .records()
            .filter_map(|record| Some(decoder.decode(record).ok()?.event))
            .collect();
        assert_eq!(events.len() as u64, EVENTS);
        events
            .iter_mut()
            .for_each(|event| enricher.complete_event(event, &|_| None));
        let tracing_start = TracingStart {
            at: Moment::default(),
            host: Host {
                name: String::new(),
                kernel: String::new(),
            },
            tiers: Vec::new(),
        };
        let mut text = Vec::new();
        let work: Box<dyn FnMut() -> u64> = match name {
            "decode" => {
                let mut reset_correlation = ResetCorrelation::default();
                Box::new(move || {
                    for record in batch.records() {
                        if let Ok(decoded) = decoder.decode(record) {
                            reset_correlation.push(decoded);
                        }
                    }
                    reset_correlation.release(u64::MAX).map(black_box).count() as u64
                })
            }
            "enrich" => Box::new(move || {
                let mut done = 0;
                for event in &mut events {
                    enricher.complete_event(event, &|_| None);
                    done += u64::from(
                        event
                            .process
                            .as_ref()
                            .is_some_and(|it| it.details.is_some()),
                    );
                }
                done
            }),
            "enrich-new" => {
                let mut number = 0;
                Box::new(move || {
                    let mut done = 0;
                    for event in &mut events {
                        number += 1;
                        if let Some(process) = &mut event.process {
                            process.key.tgid = NO_PID + number;
                            enricher.complete(process, &|_| None);
                            done += 1;
                        }
                    }
                    done
                })
            }
            "filter" => {
                let filter = Filter {
                    remote: vec!["10.9.0.0/16".parse().ok()?],
                    ..Filter::default()
                };
                Box::new(move || {
                    let matching = events.iter().filter(|event| filter.matches(event));
                    matching.count() as u64
                })
            }
            "tally" => {
                let mut tally = Tally::new(tracing_start, Filter::default());
                Box::new(move || {
                    for event in &events {
                        tally.any_event(event);
                        tally.event(event);
                    }
                    events.len() as u64
                })
            }
            "series" => {
                let limits = SeriesLimits {
                    max_processes: 100,
                    max_destinations: 100,
                };
                let mut series = Series::new(&tracing_start, limits);
                Box::new(move || {
                    for event in &events {
                        series.any_event(event);
                        series.event(event);
                    }
                    events.len() as u64
                })
            }
            "text" => {
                let mut lines = TraceLines::new(None);
                Box::new(move || {
                    let lines = events.iter().map(|event| lines.event(0, event));
                    lines.map(black_box).filter(|line| !line.is_empty()).count() as u64
                })
            }
            "json" => {
                let mut event_json = EventJson::default();
                Box::new(move || {
                    text.clear();
                    let mut done = 0;
                    for event in &events {
                        done += u64::from(event_json.append(&mut text, event).is_ok());
                    }
                    black_box(&text);
                    done
                })
            }
            "compress" => {
                let mut compressor = Compressor::new(1).ok()?;
                let mut event_json = EventJson::default();
                for event in events.iter().cycle() {
                    event_json.append(&mut text, event).ok()?;
                    if text.len() >= FRAME_TEXT {
                        break;
                    }
                }
                let mut frame = Vec::with_capacity(2 * FRAME_TEXT);
                // As many bytes as the events of a round have.
                let share = json_bytes(&events);
                Box::new(move || {
                    frame.clear();
                    let bytes = compressor.compress_to_buffer(&text[..share], &mut frame);
                    black_box(&frame);
                    bytes.map_or(0, |bytes| EVENTS * u64::from(bytes > 0))
                })
            }
            "read" => {
                let mut event_json = EventJson::default();
                for event in &events {
                    event_json.append(&mut text, event).ok()?;
                }
                let mut lines = EntryParser::default();
                Box::new(move || {
                    let mut rest = &text[..];
                    let mut done = 0;
                    while let Some(end) = memchr::memchr(b'\n', rest) {
                        done += u64::from(black_box(lines.read(&rest[..end])).is_ok());
                        rest = &rest[end + 1..];
                    }
                    done
                })
            }
            _ => return None,
        };
        Some(Self(work))
    }
}

fn json_bytes(events: &[Event]) -> usize {
    let mut text = Vec::new();
    let mut event_json = EventJson::default();
    for event in events {
        let _ = event_json.append(&mut text, event);
    }
    text.len().min(FRAME_TEXT)
}

/// The same records each time: of ten, four TIME_WAITs and their ends, a RST, and a port allocation.
fn batch() -> Batch {
    let mut builder = BatchBuilder::default();
    for number in 0..EVENTS {
        match number % 10 {
            0..4 => builder.push(bytes_of(&birth(number))),
            4..8 => builder.push(bytes_of(&end(number))),
            8 => builder.push(bytes_of(&reset(number))),
            _ => builder.push(bytes_of(&search(number))),
        }
    }
    builder.finish()
}

fn bytes_of<T: Wire>(wire: &T) -> &[u8] {
    // SAFETY: such a struct has integers and no padding, so all its bytes are initialised; the slice borrows it.
    unsafe { std::slice::from_raw_parts((&raw const *wire).cast(), size_of::<T>()) }
}

fn process(number: u64) -> Process {
    let id = (number % PROCESSES) as u32;
    let mut comm = [0; 16];
    comm[..8].copy_from_slice(b"worker-0");
    comm[7] += id as u8;
    Process {
        key: ProcessKey {
            tgid: NO_PID - 1 - id,
            unattributed: 0,
            start_boot_ns: SECOND_NS * u64::from(id + 1),
        },
        execs: 0,
        uid: 1000,
        cgroup_id: 0,
        comm,
        thread_comm: [0; 16],
    }
}

fn tuple(number: u64) -> Tuple {
    let mut tuple = Tuple {
        local_port: 32_768 + number as u16,
        remote_port: 443,
        ip_version: 4,
        netns: 4_026_531_840,
        ..Tuple::NONE
    };
    tuple.local[..4].copy_from_slice(&[10, 0, 0, 1]);
    tuple.remote[..4].copy_from_slice(&[10, 9, 0, (number % DESTINATIONS) as u8]);
    tuple
}

fn mono_ns(number: u64) -> u64 {
    3_600 * SECOND_NS + number * 10_000
}

fn birth(number: u64) -> ConnectionEvent {
    ConnectionEvent {
        mono_ns: mono_ns(number),
        kind: EventKind::TimeWait as u8,
        side: Side::Client as u8,
        state: TcpState::FinWait2 as u8,
        from: TcpState::FinWait2 as u8,
        reason: 0,
        kernel_reason: NO_KERNEL_REASON,
        flags: 0,
        tuple: tuple(number),
        socket: number + 1,
        connection_ns: 1_234_567,
        idle_ns: 1_000_000,
        peer_silent_ns: 0,
        send_idle_ns: 1_000_000,
        after_close_ns: UNKNOWN,
        unread_bytes: UNKNOWN,
        bytes_sent: 512,
        bytes_received: 4_096,
        process: process(number),
        opener: process(number),
    }
}

fn end(number: u64) -> EndEvent {
    EndEvent {
        mono_ns: mono_ns(number),
        kind: EventKind::TimeWaitEnd as u8,
        side: Side::Client as u8,
        cause: EndCause::Expired as u8,
        before_start: 0,
        flags: 0,
        reserved2: 0,
        tuple: tuple(number),
        age_ns: 60 * SECOND_NS + number,
        promoted_ns: UNKNOWN,
        process: process(number),
        opener: process(number),
        by: Process::NONE,
    }
}

fn reset(number: u64) -> ConnectionEvent {
    ConnectionEvent {
        kind: EventKind::Reset as u8,
        state: TcpState::Established as u8,
        from: ResetDirection::Sent as u8,
        reason: ResetReason::LingerZero as u8,
        ..birth(number)
    }
}

fn search(number: u64) -> PortEvent {
    PortEvent {
        mono_ns: mono_ns(number),
        kind: EventKind::PortAlloc as u8,
        op: PortOp::Connect as u8,
        requested: 0,
        errno: 0,
        flags: flags::EXACT,
        tuple: tuple(number),
        latency_ns: 1_500_000,
        refused: Default::default(),
        range_low: 0,
        range_high: 0,
        process: process(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_does_its_work() {
        for stage in STAGES {
            // The second round must equal the first: rounds are repeated.
            let mut once = PathStage::new(stage).unwrap();
            assert_eq!([once.round(), once.round()], [EVENTS; 2], "{stage}");
            assert!(
                run(stage, 1).is_some_and(|event_ns| event_ns > 0.0),
                "{stage}"
            );
        }
        assert!(run("no such stage", 1).is_none());
    }
}
