use std::path::Path;
use std::sync::mpsc::channel;

use rusqlite::Connection;
use twtrace_core::event::timestamp::SECOND_NS;
use twtrace_core::filter::Filter;

use super::database::Lock;
use super::merge::Merge;
use super::reader::{Reader, Span};
use super::samples::{LENGTH_NS, START_NS, interval, kept, moment, resets_of_curl, with_clock};
use super::writer::Writer;
use super::*;

const YEAR_NS: i64 = 365 * 86_400 * SECOND_NS as i64;

mod damage;
mod full_disk;
mod hostile;
mod killed;

fn options(directory: &Path) -> Options {
    Options {
        directory: directory.to_owned(),
        max_age: Duration::from_secs(30 * 86_400),
        max_bytes: 64 << 20,
    }
}

fn ids(directory: &Path) -> Vec<i64> {
    let reader = Reader::open(directory).unwrap();
    let places = reader.places(Span::default()).unwrap();
    places.iter().map(|place| place.id).collect()
}

fn merged(directory: &Path, span: Span, filter: &Filter) -> merge::Merged {
    let mut reader = Reader::open(directory).unwrap();
    let mut merge = Merge::new(filter.clone(), span);
    for place in reader.places(span).unwrap() {
        merge.add(&place, reader.interval(&place).unwrap());
    }
    merge.finish().unwrap()
}

fn minutes(since: u64, until: u64) -> Span {
    Span {
        since: Some(moment(since, 0).ts),
        until: Some(moment(until, 0).ts),
    }
}

fn wait_for(what: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if what() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("not within ten seconds");
}

#[test]
fn what_is_read_is_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    kept(directory.path(), [interval(0)]);
    let mut reader = Reader::open(directory.path()).unwrap();
    let places = reader.places(Span::default()).unwrap();
    let read = reader.interval(&places[0]).unwrap();
    let report = |interval: Interval| {
        let mut merge = Merge::new(Filter::default(), Span::default());
        merge.add(&places[0], interval);
        serde_json::to_string_pretty(&merge.finish().unwrap().report).unwrap()
    };
    let written = report(interval(0));
    for part in [
        "web",
        "curl",
        "leak",
        "10.0.0.2:80",
        "tw_sock_TCP",
        "state",
        "no_socket",
    ] {
        assert!(written.contains(part), "{part}");
    }
    assert_eq!(report(read), written);
    assert_eq!(
        reader.extent().unwrap(),
        Some((moment(0, 0).ts, moment(1, 0).ts))
    );
    let (before, after) = (
        reader.samples_before(&places[0]).unwrap(),
        reader.samples_after(&places[0]).unwrap(),
    );
    assert!(before[&7].state.is_ok() && after[&7].state.is_ok());
}

#[test]
fn the_sum_of_intervals_is_put_together() {
    let directory = tempfile::tempdir().unwrap();
    kept(directory.path(), (0..5).map(interval));
    let merged = merged(directory.path(), minutes(1, 4), &Filter::default());
    let report = &merged.report;
    assert_eq!(
        (report.start, report.end),
        (moment(1, 0).ts, moment(4, 0).ts)
    );
    assert_eq!(report.duration_ns, 3 * LENGTH_NS);
    let curl = report.processes.iter().find(|row| row.key().tgid == 1234);
    let curl = curl.unwrap();
    assert_eq!(curl.counts.time_wait.total(), 3);
    assert_eq!((curl.ports[0].count, curl.ports[0].failures), (3, 3));
    assert_eq!(curl.residence.unwrap().count, 3);
    assert_eq!(report.lost[0].count, 9);
    assert_eq!(report.audit[0].births_seen, 15);
    // The state when it was fullest; failures of all intervals.
    assert_eq!(
        (report.budgets[0].free, report.budgets[0].failures),
        (Some(897), 3)
    );
    assert_eq!(report.close_wait[0].count, 2);
    let history = report.history.as_ref().unwrap();
    assert_eq!((history.intervals, history.untraced_ns), (3, 0));
    assert_eq!((history.clock_changes, history.gaps.len()), (0, 0));
    assert_eq!(merged.timeline.buckets.len(), 3);
    assert_eq!(merged.timeline.sum().reset_sent, 9);
    let resets = merged.report.pairs.iter().map(|row| row.counts.resets());
    assert_eq!(resets.sum::<u64>(), 9);
    let diagnosis = merged.into_diagnosis(Default::default()).0;
    assert_eq!(diagnosis.duration_ns, 3 * LENGTH_NS);
}

#[test]
fn what_was_not_traced_is_said() {
    let directory = tempfile::tempdir().unwrap();
    kept(directory.path(), [1, 2, 5].map(interval));
    let merged = merged(directory.path(), minutes(0, 7), &Filter::default());
    let history = merged.report.history.unwrap();
    let gap = |from, to| twtrace_core::model::coverage::Gap {
        from: moment(from, 0).ts,
        to: moment(to, 0).ts,
    };
    assert_eq!(history.gaps, [gap(0, 1), gap(3, 5), gap(6, 7)]);
    assert_eq!(history.untraced_ns, 4 * LENGTH_NS);
    assert_eq!(merged.report.duration_ns, 3 * LENGTH_NS);
}

#[test]
fn a_filter_shows_its_part() {
    let directory = tempfile::tempdir().unwrap();
    kept(directory.path(), [interval(0)]);
    let by_name = Filter {
        comms: vec!["curl".into()],
        ..Filter::default()
    };
    let report = merged(directory.path(), Span::default(), &by_name).report;
    assert!(report.processes.iter().all(|row| row.key().tgid == 1234));
    assert!(report.destinations.is_empty() && report.close_wait.is_empty());
    let by_port = Filter {
        local: vec![":443".parse().unwrap()],
        ..Filter::default()
    };
    let report = merged(directory.path(), Span::default(), &by_port).report;
    assert!(report.processes.is_empty() && report.destinations.is_empty());
    assert_eq!(report.close_wait.len(), 1);
}

#[test]
fn people_ask_it_with_sql() {
    let directory = tempfile::tempdir().unwrap();
    kept(directory.path(), (0..3).map(interval));
    let connection = Connection::open(database::path_in(directory.path())).unwrap();
    let one = |sql: &str| -> String {
        connection
            .query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0))
            .map(|value| format!("{value:?}"))
            .unwrap()
    };
    let of_curl = "SELECT sum(reset_sent_linger_zero) FROM process WHERE comm = 'curl'";
    assert_eq!(one(of_curl), "Integer(3)");
    assert_eq!(
        one("SELECT min(at) FROM event WHERE result = 'EADDRNOTAVAIL' AND op = 'connect'"),
        "Text(\"2023-11-14 22:13:20.000\")"
    );
    assert_eq!(
        one("SELECT count(*) FROM event WHERE event = 'reset'"),
        "Integer(9)"
    );
    assert_eq!(
        one("SELECT destination FROM dealing WHERE comm = 'curl' AND linger_zero > 0"),
        "Text(\"[2001:db8::2]:80\")"
    );
    assert_eq!(one("SELECT sum(searches) FROM port_search"), "Integer(3)");
    assert_eq!(one("SELECT comm FROM close_wait"), "Text(\"leak\")");
    assert_eq!(one("SELECT netns_name FROM budget"), "Text(\"web\")");
    // No control characters that a terminal would obey.
    assert_eq!(
        one("SELECT comm FROM event WHERE pid = 66"),
        "Text(\"e\\\\x1b[2Jvil\")"
    );
    assert_eq!(
        one("SELECT title FROM finding WHERE severity = 'critical'"),
        "Text(\"ports ran out for evil\\\\x1b\")"
    );
    for view in [
        "intervals",
        "process",
        "port_search",
        "destination",
        "dealing",
        "budget",
        "close_wait",
        "audit",
        "lost",
        "finding",
        "event",
    ] {
        let rows = one(&format!("SELECT count(*) > 2 FROM {view}"));
        assert_eq!(rows, "Integer(1)", "{view}");
    }
    // Each process has one row.
    assert_eq!(
        one("SELECT count(*) FROM who WHERE pid = 1234"),
        "Integer(1)"
    );
}

#[test]
fn a_service_writes_and_is_read_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let (confined, is_confined) = channel();
    let history = History::start(options(directory.path()), move || {
        confined
            .send(thread::current().name().map(str::to_owned))
            .unwrap();
    })
    .unwrap();
    assert_eq!(is_confined.recv().unwrap().as_deref(), Some("history"));
    for minute in 0..3 {
        history.put(interval(minute));
    }
    wait_for(|| history.status().writes == 3);
    assert_eq!(ids(directory.path()), [1, 2, 3]);
    let status = history.status();
    assert_eq!(
        (status.failures, status.dropped, status.is_failing),
        (0, 0, false)
    );
    assert!(status.size_bytes > 0 && status.oldest == Some(moment(0, 0).ts));
    let again = History::start(options(directory.path()), || {}).unwrap_err();
    assert!(matches!(again, StoreError::InUse(_)), "{again}");
    history.stop();
    let again = History::start(options(directory.path()), || {}).unwrap();
    again.put(interval(3));
    again.stop();
    assert_eq!(ids(directory.path()), [1, 2, 3, 4]);
}

#[test]
fn what_does_not_fit_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let (go, going) = channel::<()>();
    let history = History::start(options(directory.path()), move || {
        let _ = going.recv();
    })
    .unwrap();
    for minute in 0..QUEUED as u64 + 5 {
        history.put(interval(minute));
    }
    assert_eq!(history.status().dropped, 5);
    go.send(()).unwrap();
    history.stop();
    assert_eq!(ids(directory.path()).len(), QUEUED);
}

#[test]
fn what_was_removed_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let history = History::start(options(directory.path()), || {}).unwrap();
    history.put(interval(0));
    wait_for(|| history.status().writes == 1);
    for suffix in ["db", "db-wal", "db-shm"] {
        let _ = std::fs::remove_file(directory.path().join(format!("history.{suffix}")));
    }
    history.put(interval(1));
    history.stop();
    assert_eq!(ids(directory.path()), [1]);
}

#[test]
fn the_oldest_is_forgotten_by_size() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(directory.path()).unwrap();
    let max_bytes = 1 << 20;
    for minute in 0..400 {
        let mut interval = interval(minute);
        // Processes that start and end.
        for row in &mut interval.processes {
            if let Some(process) = &mut row.process {
                process.key.start_boot_ns = minute;
                row.key = process.key;
            }
        }
        writer.write(&interval).unwrap();
        writer.tidy(u64::MAX, max_bytes).unwrap();
        let size_bytes = writer.size_bytes();
        assert!(size_bytes <= max_bytes, "{size_bytes} after {minute}");
    }
    let ids = ids(directory.path());
    assert!(ids.len() > 50 && ids[0] > 1, "{ids:?}");
    assert_eq!(ids.last(), Some(&400));
    assert!(ids.is_sorted());
    let connection = Connection::open(database::path_in(directory.path())).unwrap();
    let orphans: i64 = connection
        .query_row(
            "SELECT count(*) FROM who WHERE last_interval_id < (SELECT min(id) FROM interval)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(orphans, 0);
}

#[test]
fn the_oldest_is_forgotten_by_age() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(directory.path()).unwrap();
    for minute in 0..20 {
        writer.write(&interval(minute)).unwrap();
        writer.tidy(10 * LENGTH_NS, u64::MAX).unwrap();
    }
    // Age counts from the end of an interval.
    assert_eq!(ids(directory.path()), (10..=20).collect::<Vec<_>>());
}

#[test]
fn a_clock_that_leaps_forgets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(directory.path()).unwrap();
    let mut put = |interval: Interval| {
        writer.write(&interval).unwrap();
        writer.tidy(100 * LENGTH_NS, u64::MAX).unwrap();
    };
    (0..10).for_each(|minute| put(interval(minute)));
    (10..20).for_each(|minute| put(with_clock(minute, 10 * YEAR_NS)));
    (20..30).for_each(|minute| put(interval(minute)));
    assert_eq!(ids(directory.path()).len(), 30);
    drop(writer);
    // Nor after a restart.
    let mut writer = Writer::open(directory.path()).unwrap();
    writer.write(&with_clock(30, 10 * YEAR_NS)).unwrap();
    writer.tidy(100 * LENGTH_NS, u64::MAX).unwrap();
    assert_eq!(ids(directory.path()).len(), 31);
    // A requested span is found by the clock of its time.
    let reader = Reader::open(directory.path()).unwrap();
    assert_eq!(reader.places(minutes(0, 40)).unwrap().len(), 20);
}

#[test]
fn times_that_come_twice_stay_apart() {
    let directory = tempfile::tempdir().unwrap();
    let back_ns = -(5 * LENGTH_NS as i64);
    kept(
        directory.path(),
        (0..10).map(|minute| match minute {
            0..5 => interval(minute),
            _ => with_clock(minute, back_ns),
        }),
    );
    let merged = merged(directory.path(), minutes(0, 5), &Filter::default());
    let history = merged.report.history.unwrap();
    assert_eq!((history.intervals, history.clock_changes), (10, 1));
    assert_eq!((history.untraced_ns, history.gaps.len()), (0, 0));
    assert_eq!(merged.report.duration_ns, 10 * LENGTH_NS);
    let mut reader = Reader::open(directory.path()).unwrap();
    let places = reader.places(minutes(2, 3)).unwrap();
    assert_eq!(places.iter().map(|it| it.id).collect::<Vec<_>>(), [3, 8]);
    for place in places {
        let interval = reader.interval(&place).unwrap();
        assert_eq!(interval.start.ts.0, START_NS + 2 * LENGTH_NS);
        assert_eq!(resets_of_curl(&interval), 1);
    }
}

#[test]
fn too_little_room_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.max_bytes = 1 << 20;
    let error = History::start(options, || {}).unwrap_err().to_string();
    assert_eq!(error, "a history takes at least 4 MiB");
}
