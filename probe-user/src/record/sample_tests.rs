//! A recording of the first format, with real traffic, stays readable.

use std::collections::BTreeMap;
use std::io::Cursor;

use twtrace_core::event::words::Word;

use super::entry::Entry;
use super::reader::RecordingReader;

const SAMPLE: &[u8] = include_bytes!("../../../tests/data/format_1.twt");

/// The number of each kind of event, and of everything else.
fn counts(file: &[u8]) -> (BTreeMap<&'static str, u32>, u32) {
    let mut reader =
        RecordingReader::new("sample".into(), Box::new(Cursor::new(file.to_vec()))).unwrap();
    let (mut events, mut others) = (BTreeMap::new(), 0);
    while let Some(entry) = reader.next().unwrap() {
        match entry {
            Entry::Event(event) => *events.entry(event.event.word()).or_default() += 1,
            _ => others += 1,
        }
    }
    (events, others)
}

#[test]
fn the_first_format_stays_readable() {
    let (events, others) = counts(SAMPLE);
    let expected = [
        ("port_alloc", 15),
        ("reset", 8),
        ("time_wait", 7),
        ("time_wait_end", 7),
        ("time_wait_overflow", 1),
    ];
    assert_eq!(events, expected.into());
    // Two samples of sockets and of namespaces; close_wait, memory, audit, totals and the end.
    assert_eq!(others, 9);
}

#[test]
fn events_of_the_first_format_are_written_as_they_were() {
    let reader = RecordingReader::new("sample".into(), Box::new(Cursor::new(SAMPLE.to_vec())));
    let mut reader = reader.unwrap();
    let mut frames = super::frames::Frames::new(Cursor::new(SAMPLE), Default::default()).unwrap();
    let mut text = Vec::new();
    let mut frame = Vec::new();
    while frames.next(&mut frame).unwrap() {
        text.extend_from_slice(&frame);
    }
    let text = String::from_utf8(text).unwrap();
    let mut lines = text.lines();
    while let Some(entry) = reader.next().unwrap() {
        if let Entry::Event(event) = entry {
            let again = serde_json::to_string(&event).unwrap();
            // Fields that were added later.
            let again = again
                .replace(r#","peer_silent_ns":null,"send_idle_ns":null"#, "")
                .replace(r#","after_close_ns":null,"unread_bytes":null"#, "")
                .replace(r#","awaits_answer":null"#, "");
            assert!(lines.any(|line| line == again), "{again}");
        }
    }
}

#[test]
fn cut_anywhere_it_is_no_panic() {
    for length in 0..SAMPLE.len() {
        crate::read_recording(&SAMPLE[..length]);
    }
}
