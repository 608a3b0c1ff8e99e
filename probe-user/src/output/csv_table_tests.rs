use std::sync::Arc;

use clap::ValueEnum;
use twtrace_core::doctor::samples as facts;
use twtrace_core::event::samples;
use twtrace_core::model::report::ProcessRow;
use twtrace_core::model::stacks::{FoundBy, Frame};
use twtrace_wire::{ResetReason, StackWhat, Unattributed};

use super::*;

fn report() -> Report {
    let mut report = facts::healthy().report;
    let process = samples::process(7, "e\x1bv,\"il\"\n");
    let mut row = ProcessRow::new(Some(process.clone()), process.key);
    for _ in 0..1_234 {
        row.counts.time_wait.add(Side::Server);
    }
    row.counts.reset_sent.add(ResetReason::LingerZero);
    row.counts.reset_sent.add(ResetReason::Refused);
    let mut nobody = ProcessRow::new(None, process.key);
    nobody.unattributed = Some(Unattributed::NoSocket);
    for _ in 0..3 {
        nobody.counts.reset_sent.add(ResetReason::NoSocket);
    }
    report.processes = vec![row, nobody];
    let mut pair = facts::pair(Side::Client, "[2001:db8:1:2:3:4:5:6]:8080", 12_345, 2);
    pair.process = Some(Arc::new(process.clone()));
    report.pairs = vec![pair];
    report.budgets = vec![facts::budget(900, 12)];
    report.stacks = Some(vec![StackRow {
        process: Some(process),
        unattributed: None,
        what: StackWhat::TimeWait,
        count: 5,
        frames: ["close", "main"]
            .map(|symbol| Frame {
                symbol: Some(symbol.to_owned()),
                module: None,
                offset: None,
                address: 1,
                file: None,
                line: None,
                found_by: FoundBy::UnwindTable,
            })
            .to_vec(),
        why: None,
    }]);
    report
}

fn text(by: Grouping, sort: SortBy, max_rows: Option<usize>) -> String {
    let (mut out, report) = (Vec::new(), report());
    let options = CsvOptions { by, sort, max_rows };
    write(&mut out, [&report], options).unwrap();
    String::from_utf8(out).unwrap()
}

/// Rows without the header.
fn lines(by: Grouping) -> Vec<String> {
    let text = text(by, SortBy::Created, None);
    text.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn every_table_has_a_cell_for_each_column() {
    for by in Grouping::value_variants() {
        let text = text(*by, SortBy::Created, None);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns = reader.headers().unwrap().len();
        let mut rows = 0;
        for row in reader.records() {
            // Rows of different lengths are an error.
            assert_eq!(row.unwrap().len(), columns);
            rows += 1;
        }
        assert!(rows > 0 || *by == Grouping::Destination, "{by:?}: {text}");
        let header = header(*by);
        let is_name = |name: &&str| {
            let mut bytes = name.bytes();
            bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        assert!(header.iter().all(is_name), "{header:?}");
    }
}

#[test]
fn names_are_escaped_and_quoted_and_numbers_are_plain() {
    assert_eq!(
        lines(Grouping::Process),
        [
            "host,\"e\\x1bv,\"\"il\"\"\\x0a\",7,,,,,0,1234,0,0,0,2,linger_zero=1;refused=1,0,,0,,0",
            "host,,,no_socket,,,,0,0,0,0,0,3,no_socket=3,0,,0,,0",
        ]
    );
    let pairs = lines(Grouping::Pair);
    assert!(
        pairs[0].contains(",[2001:db8:1:2:3:4:5:6]:8080,12345,2,"),
        "{pairs:?}"
    );
    let stacks = lines(Grouping::Stack);
    assert!(stacks[0].ends_with(",time_wait,5,main;close"), "{stacks:?}");
}

#[test]
fn rows_are_sorted_and_limited_on_request() {
    let first = text(Grouping::Process, SortBy::Sent, Some(1));
    assert_eq!(first.lines().count(), 2, "{first}");
    assert!(first.contains("no_socket=3"), "{first}");
}

#[test]
fn hosts_follow_each_other_below_one_header() {
    let (mut out, report) = (Vec::new(), report());
    let options = CsvOptions {
        by: Grouping::Name,
        sort: SortBy::Created,
        max_rows: None,
    };
    write(&mut out, [&report, &report], options).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.starts_with("host,comm,unattributed,processes,time_wait_client,"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 5, "{text}");
}
