//! A replay prints the same as the live view, and the same as the file contains.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{
    file::{self, Recorded},
    in_netns, printed, recorded, run, run_unprivileged, start, text, traffic, with_files,
};
use crate::runner::{Context, TierLimit};

/// Exit codes of doctor: nothing as bad as --fail-on says, or something.
const JUDGED: [i32; 2] = [0, 3];

/// Views, with options that matter, and their possible exit codes.
const VIEWS: [(&[&str], &[i32]); 3] = [
    (&["report", "--json"], &[0]),
    (&["report"], &[0]),
    (&["doctor", "--json", "--fail-on", "warning"], &JUDGED),
];

/// All views watch the same traffic, each with a recording of its own.
pub fn report(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let paths = [0, 1, 2].map(|number| directory.path().join(format!("{number}.twt")));
    let mut running = Vec::new();
    for ((view, codes), path) in VIEWS.iter().zip(&paths) {
        let mut words = with_files(view, "--record", &[path]);
        words.extend(["--duration", "600s"].map(std::ffi::OsStr::new));
        running.push((start(context, &words)?, view, codes, path));
    }
    let traffic = in_netns(traffic::play)?;
    for (live, view, codes, path) in running {
        let (code, live) = live.end_with(codes)?;
        if view.contains(&"--json") && view.contains(&"report") && context.tier == TierLimit::Best {
            has_it_all(&live)?;
        }
        let replay = run(context, &with_files(view, "--from", &[path]))?;
        let stderr = text(&replay.stderr);
        ensure!(
            replay.status.code() == Some(code),
            "{view:?} ended with {code}, its replay with {}: {stderr}",
            replay.status
        );
        ensure!(stderr.is_empty(), "the replay of {view:?} says {stderr}");
        let replayed = String::from_utf8(replay.stdout)?;
        let what = format!("the replay of {view:?}");
        let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
        if live.lines().count() > 1 {
            file::same_lines(&what, &lines(&replayed), &lines(&live))?;
        }
        if replayed != live {
            bail!("{what} differs {}", first_difference(&replayed, &live));
        }
    }
    drop(traffic);
    Ok(())
}

/// The first difference of two texts.
pub fn first_difference(got: &str, expected: &str) -> String {
    let at = got.bytes().zip(expected.bytes());
    let at = at.take_while(|(got, expected)| got == expected).count();
    let around = |text: &str| {
        let bytes = &text.as_bytes()[at.saturating_sub(80)..(at + 80).min(text.len())];
        String::from_utf8_lossy(bytes).into_owned()
    };
    format!(
        "at byte {at}: {:?}, not {:?}",
        around(got),
        around(expected)
    )
}

/// Checks that the report is not empty: two empty reports would be equal, too.
fn has_it_all(report: &str) -> Result<()> {
    let report: Value = serde_json::from_str(report)?;
    let own = Value::from(std::process::id());
    let rows = report["processes"].as_array().context("no processes")?;
    let own = rows.iter().find(|row| row["process"]["pid"] == own);
    let own = own.context("this process is not in it")?;
    let is_more = |value: &Value| value.as_u64().is_some_and(|count| count > 0);
    let failed_connect = own["ports"].as_array().into_iter().flatten();
    let failed_connect = failed_connect
        .filter(|port| port["op"] == "connect")
        .any(|port| is_more(&port["failures"]));
    let taken = report["fixed_ports"].as_array().into_iter().flatten();
    let mut taken = taken.filter(|row| row["process"]["pid"] == std::process::id());
    // The namespace is that of a thread, so its sockets can't be listed.
    let is_taken = taken.any(|row| row["why"].is_string());
    for (what, is_there) in [
        ("a port that is taken", is_taken),
        ("a client's close", is_more(&own["time_wait"]["client"])),
        ("a server's close", is_more(&own["time_wait"]["server"])),
        ("unread data", is_more(&own["reset_sent"]["unread_data"])),
        ("linger 0", is_more(&own["reset_received"]["peer"])),
        (
            "a refused connect",
            is_more(&own["reset_received"]["refused"]),
        ),
        ("a search that failed", failed_connect),
    ] {
        ensure!(is_there, "{what} is not in it: {own}");
    }
    Ok(())
}

/// `trace --from` prints the contents of the file, byte for byte and in its order, for any user.
pub fn trace(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("recording.twt");
    recorded(context, &path)?;
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    let closed = fs::metadata(&path)?.permissions().mode();
    ensure!(closed & 0o077 == 0, "others may read it: {closed:o}");
    mode(directory.path(), 0o755)?;
    mode(&path, 0o644)?;

    let lines = Recorded::read(&path)?.lines()?;
    let first = lines.first().context("no line")?;
    let last = lines.last().context("no line")?;
    ensure!(file::kind(first)? == "start", "it begins with {first}");
    ensure!(file::kind(last)? == "end", "it ends with {last}");
    let events = file::events(&lines)?;
    let mut expected = vec![first.clone()];
    expected.extend(events.iter().cloned());

    let json = with_files(&["trace", "--json"], "--from", &[&path]);
    let by_root = run(context, &json)?;
    let got: Vec<&str> = printed(&by_root)?.lines().collect();
    file::same_lines("trace --from", &got, &expected)?;
    let by_nobody = run_unprivileged(context, &json)?;
    ensure!(
        printed(&by_nobody)? == printed(&by_root)?,
        "another user gets something else"
    );
    let text_lines = run(context, &with_files(&["trace"], "--from", &[&path]))?;
    // Others are headings, and what they say of network namespaces.
    let is_event = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit());
    let count = printed(&text_lines)?.lines().filter(is_event).count();
    ensure!(
        count == events.len(),
        "{count} lines of events, not {}",
        events.len()
    );

    let nobody = format!("{}:", traffic::NOBODY.ip());
    let is_reset = |event: &Value| event["event"] == "reset";
    let is_there = |event: &Value| {
        let remote = event["remote"].as_str().unwrap_or_default();
        remote.starts_with(&nobody)
    };
    let ip = traffic::NOBODY.ip().to_string();
    filtered(context, &path, &["--event", "reset"], &expected, is_reset)?;
    filtered(context, &path, &["--remote", &ip], &expected, is_there)
}

/// A filter selects these lines and no others; `start` and losses always stay.
fn filtered(
    context: &Context,
    path: &Path,
    options: &[&str],
    all: &[String],
    is_wanted: impl Fn(&Value) -> bool,
) -> Result<()> {
    let mut selected = Vec::new();
    let mut wanted = 0;
    for line in all {
        let event = file::parse(line)?;
        wanted += usize::from(is_wanted(&event));
        let always = ["start", "lost"]
            .iter()
            .any(|kind| event["event"] == **kind);
        if always || is_wanted(&event) {
            selected.push(line);
        }
    }
    ensure!(
        wanted > 0 && selected.len() < all.len(),
        "{options:?} should select some of {} events, not {wanted}",
        all.len()
    );
    let verb = [&["trace", "--json"], options].concat();
    let done = run(context, &with_files(&verb, "--from", &[path]))?;
    let got: Vec<&str> = printed(&done)?.lines().collect();
    file::same_lines(&format!("{options:?}"), &got, &selected)
}
