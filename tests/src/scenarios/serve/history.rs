//! What a service remembers across a kill and a full disk, and what is read from it.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    scrape::sum,
    service::{self, Service, until},
    traffic::{NamedProgram, answer},
};
use crate::{
    runner::Context,
    sys::{mount::Mount, netns},
};

/// Connections of one round.
const COUNT: usize = 50;
/// Address of the server.
const SERVER: &str = "127.78.0.2:0";

fn play(named: &NamedProgram) -> Result<()> {
    thread::scope(|scope| {
        let played = scope.spawn(|| -> Result<()> {
            netns::enter_new()?;
            let (address, server) = answer(SERVER, COUNT)?;
            named.connect(address, COUNT)?;
            server.join().ok().context("the server panicked")?
        });
        played.join().ok().context("the traffic panicked")?
    })
}

fn read(context: &Context, verb: &str, directory: &Path, arguments: &[&str]) -> Result<Output> {
    Command::new(&context.twtrace)
        .args([verb, "--store"])
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("start twtrace")
}

/// The report of a history; `None` if it is still empty.
fn report(context: &Context, directory: &Path, arguments: &[&str]) -> Result<Option<Value>> {
    let arguments = [&["--json"], arguments].concat();
    let output = read(context, "report", directory, &arguments)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && said.contains("no interval yet") {
        return Ok(None);
    }
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(Some(serde_json::from_slice(&output.stdout)?))
}

fn time_waits(report: &Value, comm: &str) -> u64 {
    let rows = report["processes"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    rows.iter()
        .filter(|row| row["process"]["comm"] == comm)
        .filter_map(|row| row["time_wait"]["client"].as_u64())
        .sum()
}

fn start(
    context: &Context,
    named: &NamedProgram,
    directory: &str,
    further: &[&str],
) -> Result<Service> {
    let own = [
        "--comm",
        &named.comm,
        "--history",
        directory,
        "--history-interval",
        "1s",
    ];
    Service::start(context, &[&own[..], further].concat())
}

/// Two services, of which the first is killed, remember every connection of an interval that ended.
pub fn killed(context: &Context) -> Result<()> {
    let named = NamedProgram::new("kept")?;
    let kept = tempfile::tempdir()?;
    let directory = kept.path().join("history");
    let path = directory.to_str().context("a path")?;
    let mut first = start(context, &named, path, &[])?;
    let mut second_in_vain = service::command(context, &[]);
    second_in_vain.args(["--history", path]);
    let (code, said) = service::refused(second_in_vain)?;
    ensure!(code == 1 && said.contains("is in use"), "{code}: {said}");

    play(&named)?;
    play(&named)?;
    let is_there = |count: usize| {
        let report = report(context, &directory, &[])?;
        Ok(report.is_some_and(|report| time_waits(&report, &named.comm) == count as u64))
    };
    until("both rounds are in the history", || is_there(2 * COUNT))?;
    first.signal(libc::SIGKILL)?;
    first.ended()?;
    ensure!(is_there(2 * COUNT)?, "a kill took what had been committed");
    // A time without data.
    thread::sleep(Duration::from_millis(1_500));
    let second = start(context, &named, path, &[])?;
    play(&named)?;
    // The current interval is written at the end.
    second.stop()?;
    ensure!(is_there(3 * COUNT)?, "the end took the last interval");

    let whole = report(context, &directory, &[])?.context("nothing")?;
    let history = &whole["history"];
    let gaps = history["gaps"].as_array().context("no gaps")?;
    ensure!(
        gaps.len() == 1 && history["untraced_ns"].as_u64() > Some(1_400_000_000),
        "{history}"
    );
    ensure!(
        whole["lost"] == Value::Array(vec![]),
        "lost {}",
        whole["lost"]
    );
    let resumed = gaps[0]["to"].as_str().context("no end of the gap")?;
    for (option, count) in [("--since", COUNT), ("--until", 2 * COUNT)] {
        let part = report(context, &directory, &[option, resumed])?.context("nothing")?;
        let counted = time_waits(&part, &named.comm);
        ensure!(
            counted == count as u64,
            "{option} {resumed}: {counted}, not {count}"
        );
    }
    let output = read(context, "doctor", &directory, &["--json"])?;
    let diagnosis: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(
        diagnosis["figures"]["time_waits"] == 3 * COUNT && diagnosis["history"] == *history,
        "{diagnosis}"
    );
    let output = read(
        context,
        "report",
        &directory,
        &["--since", "1990-01-01T00:00:00Z", "--until", "+1h"],
    )?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1)
            && said.lines().count() == 1
            && said.contains("has nothing of that time"),
        "{output:?}"
    );
    Ok(())
}

/// A disk fills up: tracing and metrics continue, the history reports it and continues when there is room.
pub fn full_disk(context: &Context) -> Result<()> {
    let named = NamedProgram::new("full")?;
    let disk = tempfile::tempdir()?;
    let _mount = Mount::tmpfs(disk.path(), "size=8m,mode=700").context("mount a small disk")?;
    let directory = disk.path().join("history");
    let path = directory.to_str().context("a path")?;
    let service = start(context, &named, path, &["--history-max-size", "4MiB"])?;
    play(&named)?;
    let filler = disk.path().join("filler");
    fill(&filler)?;
    service.until_it_says("the history can't be written")?;
    play(&named)?;
    let page = service.metrics()?;
    let of_history = |name: &str| sum(&page, &format!("twtrace_history_{name}"), &[]);
    ensure!(
        of_history("failing")? == 1.0 && of_history("failures_total")? >= 1.0,
        "{page}"
    );
    let counted = sum(
        &page,
        "twtrace_process_time_waits_total",
        &[("process", &named.comm)],
    )?;
    ensure!(counted > 0.0, "nothing is traced: {page}");
    fs::remove_file(filler)?;
    service.until_it_says("the history continues")?;
    play(&named)?;
    let said = service.stop()?;
    let complaints = said.iter().filter(|line| line.contains("can't be written"));
    ensure!(complaints.count() == 1, "{said:?}");
    let report = report(context, &directory, &[])?.context("nothing")?;
    let counted = time_waits(&report, &named.comm);
    ensure!(counted == 3 * COUNT as u64, "{counted} of {}", 3 * COUNT);
    ensure!(
        report["history"]["untraced_ns"] == 0,
        "{}",
        report["history"]
    );
    Ok(())
}

/// Writes until there is no room.
fn fill(path: &Path) -> Result<()> {
    use std::io::Write as _;
    let mut file = fs::File::create(path)?;
    for size in [1 << 20, 1 << 16, 1 << 12] {
        let block = vec![1; size];
        while file.write_all(&block).is_ok() {}
    }
    Ok(())
}

/// An unreadable history is reported in one line.
pub fn refused(context: &Context) -> Result<()> {
    let nothing = tempfile::tempdir()?;
    let output = read(context, "report", nothing.path(), &[])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && said.contains("there is no history in"),
        "{output:?}"
    );
    for further in [
        &["--from", "x"][..],
        &["--duration", "1s"],
        &["--slow-port", "0"],
        &["--since", "noon"],
    ] {
        let output = read(context, "report", nothing.path(), further)?;
        ensure!(output.status.code() == Some(2), "{further:?}: {output:?}");
    }
    let file = nothing.path().join("history.db");
    fs::write(&file, [0x5a; 8_192])?;
    let output = read(context, "doctor", nothing.path(), &[])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && said.contains("is damaged") && said.lines().count() == 1,
        "{output:?}"
    );
    // It is moved aside, and a new one is created.
    let path = nothing.path().to_str().context("a path")?;
    let service = Service::start(context, &["--history", path])?;
    service.until_it_says("a new history begins")?;
    service.stop()?;
    let output = read(context, "report", nothing.path(), &["--json"])?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}
