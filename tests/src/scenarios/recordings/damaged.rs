//! A recorder that is killed, and a truncated file.

use std::{
    fs,
    path::Path,
    process::Output,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    fails_with,
    file::{self, Recorded},
    in_netns, run, start, text, traffic, with_files,
};
use crate::{
    runner::{Context, TierLimit},
    sys::{hidden_births::Recording, netns},
};

/// Longer than anything waits to be written.
const WRITTEN: Duration = Duration::from_secs(2);
/// The same if a busy machine delays the recorder.
const WRITTEN_LATE: Duration = Duration::from_secs(20);

/// What happened two seconds before is in the file.
pub fn killed(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("recording.twt");
    let hidden = Recording::begin();
    let recorder = start(context, &with_files(&["record"], "-o", &[&path]))?;
    // Other scenarios of this process play the same at the same time.
    let (traffic, netns) = in_netns(|| Ok((traffic::play()?, netns::own()?)))?;
    thread::sleep(WRITTEN);
    let begun = Instant::now();
    while begun.elapsed() < WRITTEN_LATE
        && births(&reported(context, &path, netns)?.0).is_ok_and(|born| born == (0, 0))
    {
        thread::sleep(WRITTEN);
    }
    recorder.kill()?;
    let missable = hidden.map_or(Ok(0), |hidden| hidden.all())?;

    let (report, output) = reported(context, &path, netns)?;
    match output.status.code() {
        Some(0) => ensure!(text(&output.stderr).is_empty(), "{}", text(&output.stderr)),
        // It was killed during a write.
        _ => fails_with(&output, 1, &[&path.display().to_string(), "cut off"])?,
    }
    let (client, server) = births(&report)?;
    let all = traffic::CLOSED as u64;
    let may_miss = match context.tier {
        TierLimit::Classic => all,
        _ => missable,
    };
    ensure!(
        client <= all && server <= all && client + server + may_miss >= 2 * all,
        "{client} and {server} TIME_WAITs, not {all} and {all}"
    );
    drop(traffic);
    cut(context, &path, &directory.path().join("cut.twt"))
}

/// What a recording reports for a namespace, complete or not.
fn reported(context: &Context, path: &Path, netns: u64) -> Result<(Value, Output)> {
    let netns = netns.to_string();
    let verb = ["report", "--json", "--netns", &netns];
    let output = run(context, &with_files(&verb, "--from", &[path]))?;
    let report = serde_json::from_slice(&output.stdout).context("no report")?;
    Ok((report, output))
}

/// TIME_WAITs of this process: as a client, and as a server.
fn births(report: &Value) -> Result<(u64, u64)> {
    let own = Value::from(std::process::id());
    let rows = report["processes"].as_array().context("no processes")?;
    let own = rows.iter().filter(|row| row["process"]["pid"] == own);
    let mut births = (0, 0);
    for row in own {
        births.0 += row["time_wait"]["client"].as_u64().unwrap_or(0);
        births.1 += row["time_wait"]["server"].as_u64().unwrap_or(0);
    }
    Ok(births)
}

/// Cut in the middle of the last frame: whole frames are reported, and that something is missing.
fn cut(context: &Context, path: &Path, shorter: &Path) -> Result<()> {
    let mut recorded = Recorded::read(path)?;
    let last = recorded.frames()?.pop().context("no frame")?;
    recorded.bytes.truncate(last.start + last.len() / 2);
    fs::write(shorter, &recorded.bytes)?;
    let lines = recorded.lines()?;
    let mut whole = lines[..1].to_vec();
    whole.extend(file::events(&lines)?);

    let words = [&shorter.display().to_string(), "cut off"];
    let trace = run(
        context,
        &with_files(&["trace", "--json"], "--from", &[shorter]),
    )?;
    fails_with(&trace, 1, &words)?;
    let stdout = String::from_utf8(trace.stdout)?;
    let got: Vec<&str> = stdout.lines().collect();
    file::same_lines("what is whole", &got, &whole)?;
    let report = run(
        context,
        &with_files(&["report", "--json"], "--from", &[shorter]),
    )?;
    fails_with(&report, 1, &words)?;
    serde_json::from_slice::<Value>(&report.stdout).context("no report of what is whole")?;
    Ok(())
}
