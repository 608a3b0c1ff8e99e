use std::io::Cursor;

use proptest::prelude::*;
use twtrace_core::event::samples;

use super::*;

const START: &str = r#"{"ts":"2026-11-25T16:00:00.000000000Z","mono_ns":1000,"event":"start","format":1,"part":1,"kernel":"6.12","host":"h","options":{},"tiers":[]}"#;

fn event_line(number: usize) -> String {
    let mut event = samples::time_wait();
    event.mono_ns = number as u64;
    serde_json::to_string(&event).unwrap()
}

/// A frame of some lines.
fn frame(lines: impl IntoIterator<Item = String>) -> Vec<u8> {
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    compressor
        .set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))
        .unwrap();
    compressor.compress(text.as_bytes()).unwrap()
}

/// Three frames of ten events each, and where the last one begins.
fn recording() -> (Vec<u8>, usize) {
    let mut file = frame([START.to_owned()]);
    let mut last = 0;
    for begin in [0, 10, 20] {
        last = file.len();
        file.extend(frame((begin..begin + 10).map(event_line)));
    }
    (file, last)
}

/// The times of the events that can be read, and the error that stops reading.
fn read(bytes: Vec<u8>) -> (Vec<u64>, Option<ReadError>) {
    let mut events = Vec::new();
    let reader = RecordingReader::new("r".into(), Box::new(Cursor::new(bytes)));
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(error) => return (events, Some(error)),
    };
    loop {
        match reader.next() {
            Ok(Some(entry)) => events.push(entry.at().mono_ns),
            Ok(None) => return (events, None),
            Err(error) => return (events, Some(error)),
        }
    }
}

#[test]
fn a_whole_recording_is_read_to_its_end() {
    let (file, _) = recording();
    let (events, error) = read(file);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(events, (0..30).collect::<Vec<u64>>());
}

#[test]
fn cut_at_every_byte_of_its_last_frame_the_rest_is_good() {
    let (file, last) = recording();
    for length in last..file.len() {
        let (events, error) = read(file[..length].to_vec());
        assert_eq!(events, (0..20).collect::<Vec<u64>>(), "{length}");
        match (length == last, error) {
            (true, None) => {}
            (false, Some(ReadError::CutOff { offset, .. })) => {
                assert_eq!(offset, last as u64, "{length}");
            }
            (_, error) => panic!("cut at {length}: {error:?}"),
        }
    }
}

#[test]
fn every_flipped_bit_of_a_frame_is_noticed_before_its_lines_are_given() {
    let (file, last) = recording();
    for at in last..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            let (events, error) = read(damaged);
            // All events are intact if the bit has no meaning, or if the only damage is that it says that no checksum
            // follows.
            let good = if events.len() > 20 { 30 } else { 20 };
            assert_eq!(
                events,
                (0..good).collect::<Vec<u64>>(),
                "byte {at} bit {bit}"
            );
            assert!(good == 30 || error.is_some(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn plain_lines_are_read_too() {
    let text = format!("{START}\n{}\n\n{}\n", event_line(1), event_line(2));
    let (events, error) = read(text.into_bytes());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(events, [1, 2]);
    let cut = format!("{START}\n{}\n{{\"ts\":\"20", event_line(1));
    let (events, error) = read(cut.into_bytes());
    assert_eq!(events, [1]);
    assert!(
        matches!(&error, Some(ReadError::Line { line: 3, .. })),
        "{error:?}"
    );
}

#[test]
fn lines_may_lie_across_frames() {
    let text = format!("{START}\n{}\n{}\n", event_line(1), event_line(2));
    for cut in 0..text.len() {
        let mut file = zstd::bulk::compress(&text.as_bytes()[..cut], 1).unwrap();
        file.extend(zstd::bulk::compress(&text.as_bytes()[cut..], 1).unwrap());
        let (events, error) = read(file);
        assert!(error.is_none(), "{cut}: {error:?}");
        assert_eq!(events, [1, 2], "{cut}");
    }
}

#[test]
fn what_is_no_recording_is_said_to_be_none() {
    let png = b"\x89PNG\r\n\x1a\n0000".to_vec();
    let piece = format!("{}\n", event_line(1)).into_bytes();
    let other = zstd::bulk::compress(&piece, 1).unwrap();
    for bytes in [Vec::new(), b"x".to_vec(), png, piece, other] {
        let (events, error) = read(bytes.clone());
        assert!(events.is_empty());
        assert!(
            matches!(error, Some(ReadError::NotARecording { .. })),
            "{bytes:?}: {error:?}"
        );
    }
    let newer = START.replace("\"format\":1", "\"format\":2");
    assert!(matches!(
        read(newer.into_bytes()).1,
        Some(ReadError::TooNew { format: 2, .. })
    ));
}

#[test]
fn garbage_behind_the_last_frame_is_said() {
    let (mut file, _) = recording();
    let length = file.len() as u64;
    file.extend(b"garbage");
    let (events, error) = read(file);
    assert_eq!(events.len(), 30);
    assert!(
        matches!(error, Some(ReadError::Damaged { offset, .. }) if offset == length),
        "{error:?}"
    );
}

proptest! {
    #[test]
    fn bytes_of_strangers_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), is_framed: bool) {
        let bytes = if is_framed { [&MAGIC[..], &bytes].concat() } else { bytes };
        read(bytes);
    }

    #[test]
    fn damage_takes_nothing_that_comes_before(
        at in 0_usize..100_000,
        bytes in prop::collection::vec(any::<u8>(), 1..20),
        removed in 0_usize..40,
    ) {
        let (mut file, _) = recording();
        let at = at % file.len();
        let end = (at + removed).min(file.len());
        file.splice(at..end, bytes);
        let (events, _) = read(file);
        prop_assert!(events.iter().copied().eq(0..events.len() as u64), "{events:?}");
        prop_assert!(events.len() % 10 == 0);
    }
}
