use std::io::Cursor;

use twtrace_core::event::samples;
use twtrace_core::model::observation::KernelTotals;

use super::*;
use crate::record::observation;
use crate::record::window::Bound;

const SECOND_NS: u64 = 1_000_000_000;

/// When the recordings here begin.
fn begin() -> Timestamp {
    "2026-11-25T16:00:00Z".parse().unwrap()
}

fn at(second: u64) -> Moment {
    Moment {
        ts: Timestamp(begin().0 + second * SECOND_NS),
        mono_ns: (second + 1) * SECOND_NS,
    }
}

fn start(host: &str, part: u32) -> String {
    format!(
        r#"{{"ts":"{}","mono_ns":1000000000,"event":"start","format":1,"part":{part},"kernel":"6.12","host":"{host}"}}"#,
        begin()
    )
}

fn event(second: u64) -> String {
    let mut event = samples::time_wait();
    (event.ts, event.mono_ns) = (at(second).ts, at(second).mono_ns);
    serde_json::to_string(&event).unwrap()
}

fn data(second: u64, data: ObservationData) -> String {
    let mut text = Vec::new();
    let observation = Observation {
        at: at(second),
        data,
    };
    observation::append(&mut text, &observation).unwrap();
    String::from_utf8(text).unwrap()
}

fn reader(lines: &[String]) -> RecordingReader {
    let text = lines.join("\n");
    RecordingReader::new("r".into(), Box::new(Cursor::new(text.into_bytes()))).unwrap()
}

/// Number of the recording, and seconds.
fn read(mut recordings: Recordings) -> Vec<(usize, u64)> {
    std::iter::from_fn(|| recordings.next())
        .map(|(index, entry)| (index, entry.at().mono_ns / SECOND_NS - 1))
        .collect()
}

fn window(since: Option<&str>, until: Option<&str>) -> Window {
    let bound = |text: &str| text.parse::<Bound>().unwrap();
    Window {
        since: since.map(bound),
        until: until.map(bound),
    }
}

#[test]
fn hosts_are_merged_by_time() {
    let one = reader(&[start("a", 1), event(1), event(4), event(5)]);
    let other = reader(&[start("b", 1), event(2), event(3), event(9)]);
    let recordings = Recordings::of(vec![one, other], Window::default());
    let hosts: Vec<_> = recordings
        .tracing_starts()
        .map(|it| it.host.name.clone())
        .collect();
    assert_eq!(hosts, ["a", "b"]);
    assert!(!recordings.has_excerpts() && !recordings.lack_parts());
    assert_eq!(
        read(recordings),
        [(0, 1), (1, 2), (1, 3), (0, 4), (0, 5), (1, 9)]
    );
}

#[test]
fn parts_of_one_recording_are_put_in_order() {
    let parts = [
        reader(&[start("a", 2), event(3), event(4)]),
        reader(&[start("a", 3), event(5)]),
        // Its last event is reported late.
        reader(&[start("a", 1), event(1), event(5), event(2)]),
    ];
    let recordings = Recordings::of(parts.into(), Window::default());
    assert_eq!(recordings.tracing_starts().len(), 1);
    let seconds: Vec<u64> = read(recordings).into_iter().map(|(_, at)| at).collect();
    assert_eq!(seconds, [1, 5, 2, 3, 4, 5]);
}

#[test]
fn without_its_first_part_a_recording_begins_later() {
    let parts = vec![reader(&[
        start("a", 2),
        event(3),
        data(4, ObservationData::Totals(KernelTotals::default())),
        data(5, ObservationData::End),
    ])];
    let recordings = Recordings::of(parts, Window::default());
    assert!(recordings.has_excerpts() && recordings.lack_parts());
    assert_eq!(recordings.tracing_starts().next().unwrap().at, at(3));
    // Totals include the parts that are missing.
    assert_eq!(read(recordings), [(0, 3), (0, 5)]);
}

#[test]
fn a_window_leaves_out_what_lies_outside() {
    let lines = [
        start("a", 1),
        data(0, ObservationData::Sockets(Default::default())),
        event(1),
        data(2, ObservationData::Sockets(Default::default())),
        event(3),
        event(4),
        event(6),
        data(7, ObservationData::Sockets(Default::default())),
        data(8, ObservationData::End),
    ];
    let given = |since, until| {
        let recordings = Recordings::of(vec![reader(&lines)], window(since, until));
        let began = recordings.tracing_starts().next().unwrap().at;
        (began, read(recordings))
    };
    // Rates start at the latest sample before it.
    assert_eq!(
        given(Some("+3s"), Some("16:00:06")),
        (at(3), vec![(0, 2), (0, 3), (0, 4)])
    );
    assert_eq!(given(None, Some("+2s")), (at(0), vec![(0, 0), (0, 1)]));
    assert_eq!(
        given(Some("2026-11-25T16:00:06Z"), None),
        (at(6), vec![(0, 2), (0, 6), (0, 7), (0, 8)])
    );
    assert_eq!(given(Some("+1h"), None).1, [(0, 7)]);
}

#[test]
fn a_window_outside_of_the_recording_is_found_out() {
    let lines = [
        start("a", 1),
        event(1),
        // Nothing happened for a while.
        data(6, ObservationData::Sockets(Default::default())),
        data(8, ObservationData::End),
    ];
    let outside = |since, until| {
        let mut recordings = Recordings::of(vec![reader(&lines)], window(since, until));
        let empty = recordings.empty_windows();
        empty.first().map(ToString::to_string)
    };
    for (since, until) in [
        (None, None),
        (Some("+8s"), None),
        (Some("15:59"), Some("+2s")),
        (None, Some("17:00")),
    ] {
        assert_eq!(outside(since, until), None, "{since:?} {until:?}");
    }
    let whole = "it covers 2026-11-25T16:00:00.000000000Z to 2026-11-25T16:00:08.000000000Z";
    let cut = "it covers 2026-11-25T16:00:00.000000000Z to 2026-11-25T16:00:01.000000000Z or later";
    let second = |time: &str| format!("2026-11-25T{time}.000000000Z");
    for (since, until, named, extent) in [
        (
            Some("+9s"),
            None,
            format!(" from {}", second("16:00:09")),
            whole,
        ),
        (
            Some("+9s"),
            Some("+10s"),
            format!(" from {} to {}", second("16:00:09"), second("16:00:10")),
            whole,
        ),
        (
            None,
            Some("16:00:00"),
            format!(" to {}", second("16:00:00")),
            whole,
        ),
        (
            None,
            Some("15:00"),
            format!(" to {}", second("15:00:00")),
            cut,
        ),
    ] {
        let said = outside(since, until).unwrap();
        assert_eq!(said, format!("r has nothing of that time{named}: {extent}"));
    }
    let reversed = outside(Some("+5s"), Some("+5s")).unwrap();
    assert!(
        reversed.starts_with("--since 2026-11-25T16:00:05"),
        "{reversed}"
    );
    assert!(reversed.contains(&whole[3..40]), "{reversed}");
    let quiet = outside(Some("+2s"), Some("+3s")).unwrap();
    let expected = format!(
        "r: nothing happened in that time from {} to {}; it covers ",
        second("16:00:02"),
        second("16:00:03")
    );
    assert!(quiet.starts_with(&expected), "{quiet}");
    // What comes after the damage is not known.
    let damaged = reader(&[start("a", 1), event(1), "{".to_owned()]);
    let mut recordings = Recordings::of(vec![damaged], window(Some("+9s"), None));
    assert!(recordings.empty_windows().is_empty());
}

#[test]
fn one_that_is_damaged_does_not_hide_the_other() {
    let one = reader(&[start("a", 1), event(1), "{".to_owned(), event(4)]);
    let other = reader(&[start("b", 1), event(2), event(3)]);
    let mut recordings = Recordings::of(vec![one, other], Window::default());
    let mut given = 0;
    while recordings.next().is_some() {
        given += 1;
    }
    assert_eq!(given, 3);
    let errors = recordings.into_errors();
    assert!(matches!(&errors[..], [ReadError::Line { line: 3, .. }]));
}
