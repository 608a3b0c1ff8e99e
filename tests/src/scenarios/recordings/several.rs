//! Parts of one recording, and recordings of several hosts.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    file::{self, Recorded},
    in_netns, printed, recorded, run, start, text, traffic, with_files,
};
use crate::runner::Context;

/// Maximum size of both parts together, bytes: much more than the frame of a burst.
const MAX_BYTES: u64 = 200_000;
/// Connections that are reset within one frame.
const BURST: usize = 300;
/// More bursts than fit into three parts.
const BURSTS: u32 = 100;
/// How long a frame is kept open.
const FRAME: Duration = Duration::from_millis(800);

/// The latest two parts are kept, and read in their order.
pub fn parts(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("recording.twt");
    let before = directory.path().join("recording.twt.1");
    let bound = MAX_BYTES.to_string();
    let verb = ["record", "--keep", "2", "--max-size", &bound];
    let recorder = start(context, &with_files(&verb, "-o", &[&path]))?;
    in_netns(|| {
        let server = traffic::Server::start()?;
        for _ in 0..BURSTS {
            for _ in 0..BURST {
                server.reset()?;
            }
            thread::sleep(FRAME);
            if part(&path).is_ok_and(|part| part >= 3) {
                return Ok(());
            }
        }
        Ok(())
    })?;
    recorder.end_with(&[0])?;

    let mut names = BTreeSet::new();
    let mut total = 0;
    for entry in fs::read_dir(directory.path())? {
        let entry = entry?;
        names.insert(entry.path());
        total += entry.metadata()?.len();
    }
    let both = BTreeSet::from([path.clone(), before.clone()]);
    ensure!(names == both, "{names:?} are there");
    ensure!(total <= MAX_BYTES, "they take {total} bytes, not {bound}");
    let number = part(&path)?;
    ensure!(number >= 3, "the last part is number {number}");
    let earlier = part(&before)?;
    ensure!(earlier + 1 == number, "{earlier} comes before {number}");

    let lines = Recorded::read(&before)?.lines()?;
    let mut expected = vec![lines.first().context("no line")?.clone()];
    expected.extend(file::events(&lines)?);
    expected.extend(file::events(&Recorded::read(&path)?.lines()?)?);
    // In any order of the names.
    for files in [[&*path, &before], [&before, &path]] {
        let done = run(context, &with_files(&["trace", "--json"], "--from", &files))?;
        let got: Vec<&str> = printed(&done)?.lines().collect();
        file::same_lines("both parts", &got, &expected)?;
    }
    let report = run(
        context,
        &with_files(&["report", "--json"], "--from", &[&path, &before]),
    )?;
    printed(&report)?;
    let said = text(&report.stderr);
    ensure!(
        said.contains("only a part") && said.lines().count() == 1,
        "it does not say that parts are missing, but {said:?}"
    );
    Ok(())
}

/// The number of the part that begins here.
fn part(path: &Path) -> Result<u64> {
    let lines = Recorded::read(path)?.lines()?;
    let start = file::parse(lines.first().context("no line")?)?;
    start["part"].as_u64().context("no part")
}

/// Another host's recording is merged by time.
pub fn two_hosts(context: &Context) -> Result<()> {
    const OTHER: &str = "another-host";
    let directory = tempfile::tempdir()?;
    let (path, other) = (
        directory.path().join("a.twt"),
        directory.path().join("b.twt"),
    );
    recorded(context, &path)?;
    let lines = Recorded::read(&path)?.lines()?;
    let start = lines.first().context("no line")?;
    let host = file::parse(start)?["host"].clone();
    let renamed = start.replacen(
        &format!("\"host\":{host}"),
        &format!("\"host\":{OTHER:?}"),
        1,
    );
    ensure!(renamed != *start, "no host in {start}");
    let mut copy = vec![renamed.clone()];
    copy.extend_from_slice(&lines[1..]);
    // Uncompressed lines are also a recording.
    fs::write(&other, copy.join("\n") + "\n")?;

    let events = file::events(&lines)?;
    let mut expected = vec![start.clone(), renamed];
    // Data that was read beside the events is merged by time as well.
    let everything = merged(
        with_host(&lines[1..], &host.to_string()),
        with_host(&lines[1..], &format!("{OTHER:?}")),
    )?;
    expected.extend(file::events(&everything)?);
    let both = [&*path, &other];
    let json = run(context, &with_files(&["trace", "--json"], "--from", &both))?;
    let got: Vec<&str> = printed(&json)?.lines().collect();
    file::same_lines("two hosts", &got, &expected)?;

    let table = run(context, &with_files(&["trace"], "--from", &both))?;
    let table = printed(&table)?;
    let header = table.lines().next().unwrap_or_default();
    ensure!(header.starts_with("HOST"), "no column: {header}");
    let of_other = table.lines().filter(|line| line.starts_with(OTHER)).count();
    ensure!(of_other == events.len(), "{of_other} lines of {OTHER}");

    let reports = run(context, &with_files(&["report", "--json"], "--from", &both))?;
    let mut hosts = Vec::new();
    for report in printed(&reports)?.lines() {
        hosts.push(file::parse(report)?["host"].clone());
    }
    ensure!(hosts == [host, OTHER.into()], "reports of {hosts:?}");
    window(context, &path, start, &events)
}

/// The host is the first field.
fn with_host(lines: &[String], host: &str) -> VecDeque<String> {
    let with = |line: &String| line.replacen('{', &format!("{{\"host\":{host},"), 1);
    lines.iter().map(with).collect()
}

/// Takes the earlier of both heads first.
fn merged(mut a: VecDeque<String>, mut b: VecDeque<String>) -> Result<Vec<String>> {
    let mut merged = Vec::new();
    while let (Some(first), Some(second)) = (a.front(), b.front()) {
        let source = if at(second)? < at(first)? {
            &mut b
        } else {
            &mut a
        };
        merged.extend(source.pop_front());
    }
    merged.extend(a);
    merged.extend(b);
    Ok(merged)
}

/// The time of a line; as text, which sorts by time.
fn at(line: &str) -> Result<String> {
    let at = file::parse(line)?["ts"].as_str().map(str::to_owned);
    at.with_context(|| format!("no time: {line}"))
}

/// `--since` selects what is at that time and later, `--until` what is before.
fn window(context: &Context, path: &Path, start: &str, events: &[String]) -> Result<()> {
    let mut times = events
        .iter()
        .map(|event| at(event))
        .collect::<Result<Vec<_>>>()?;
    times.sort();
    let middle = times.get(times.len() / 2).context("no event")?.clone();
    for (option, is_later) in [("--since", true), ("--until", false)] {
        let mut expected = vec![start.to_owned()];
        for event in events {
            if (at(event)? >= middle) == is_later {
                expected.push(event.clone());
            }
        }
        ensure!(
            (2..=events.len()).contains(&expected.len()),
            "{middle} is not in the middle"
        );
        let verb = ["trace", "--json", option, &middle];
        let done = run(context, &with_files(&verb, "--from", &[path]))?;
        let got: Vec<&str> = printed(&done)?.lines().collect();
        file::same_lines(option, &got, &expected)?;
        let verb = ["report", "--json", option, &middle];
        let done = run(context, &with_files(&verb, "--from", &[path]))?;
        let report = file::parse(printed(&done)?)?;
        let end = if is_later { "start" } else { "end" };
        ensure!(report[end] == middle, "{option} {middle}: {}", report[end]);
        ensure!(
            report["time_waits_alive"]["at_start"].is_null(),
            "no sample was taken at {middle}: {report}"
        );
        let mut failed = 0;
        for event in &expected[1..] {
            let event = file::parse(event)?;
            failed += u64::from(event["event"] == "port_alloc" && event["result"] != "ok");
        }
        let budgets = report["budgets"].as_array().context("no budgets")?;
        let of_pools: u64 = budgets
            .iter()
            .filter_map(|row| row["failures"].as_u64())
            .sum();
        ensure!(
            of_pools <= failed,
            "{option}: {of_pools} failures of {failed} in that time"
        );
    }
    Ok(())
}
