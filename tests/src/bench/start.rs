//! Time from a command's start until it sees all events.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{peer, spread::Spread, table::cell, tracer::Setup};
use crate::sys::{process, process_usage};

struct Start {
    ms: f64,
    peak_mib: f64,
}

/// A table of times and of the peak memory during a start: of twtrace, of another build of it if one is given, and of
/// peers, in turns.
pub fn measure(setup: &Setup, against: Option<&Path>, rounds: u32) -> Result<String> {
    let mut text = String::from(
        "### Until all is attached\n\n| tracer | ms | as a multiple of twtrace | peak MiB |\n|---|---|---|---|\n",
    );
    let trace = |program: &Path| {
        let mut command = Command::new(program);
        command.args(["trace", "--json"]).args(&setup.options);
        Ok((command, "\"start\""))
    };
    let ours = || trace(&setup.twtrace);
    let other = || trace(against.context("no other build")?);
    let tcpstates = || {
        let mut command = Command::new(peer::TCPSTATES.program()?);
        command.env("PYTHONUNBUFFERED", "1");
        Ok((command, "OLDSTATE"))
    };
    let bpftrace = || {
        let mut command = Command::new("bpftrace");
        command.args([
            "-e",
            "BEGIN { printf(\"attached\\n\"); } tracepoint:sock:inet_sock_set_state { @ = count(); }",
        ]);
        Ok((command, "attached"))
    };
    type Make<'a> = &'a dyn Fn() -> Result<(Command, &'static str)>;
    let mut all: Vec<(&str, Make<'_>)> = vec![
        ("twtrace trace --json", &ours),
        ("tcpstates", &tcpstates),
        ("bpftrace, one probe", &bpftrace),
    ];
    if against.is_some() {
        all.insert(1, ("the other build", &other));
    }
    let mut starts: Vec<Vec<Start>> = all.iter().map(|_| Vec::new()).collect();
    let mut trouble: Vec<Option<String>> = all.iter().map(|_| None).collect();
    for _ in 0..rounds {
        for (index, (title, make)) in all.iter().enumerate() {
            eprintln!("bench: start of {title}");
            match make().and_then(|(command, word)| start(command, word)) {
                Ok(start) => starts[index].push(start),
                Err(error) if index == 0 => return Err(error),
                Err(error) => trouble[index] = Some(format!("{error:#}")),
            }
        }
    }
    for (index, (title, _)) in all.iter().enumerate() {
        match &trouble[index] {
            Some(trouble) => {
                let _ = writeln!(text, "| {title} | {trouble} | | |");
            }
            None => {
                let ratios = starts[index]
                    .iter()
                    .zip(&starts[0])
                    .map(|(theirs, ours)| theirs.ms / ours.ms);
                let _ = writeln!(
                    text,
                    "| {title} | {} | {} | {} |",
                    cell(Spread::of(starts[index].iter().map(|start| start.ms)), 0),
                    cell(Spread::of(ratios), 2),
                    cell(
                        Spread::of(starts[index].iter().map(|start| start.peak_mib)),
                        0
                    )
                );
            }
        }
    }
    text.push('\n');
    Ok(text)
}

/// Measures until it prints a line with this word.
fn start(mut command: Command, word: &str) -> Result<Start> {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{:?}", command.get_program()))?;
    let stdout = child.stdout.take().context("no standard output")?;
    let mut found = None;
    for line in BufReader::new(stdout).lines() {
        if line?.contains(word) {
            let ms = started.elapsed().as_secs_f64() * 1e3;
            let peak_mib = process_usage::peak_memory_kib(child.id())? as f64 / 1024.0;
            found = Some(Start { ms, peak_mib });
            break;
        }
    }
    process::signal(child.id().cast_signed(), libc::SIGINT)?;
    if !process::reap(child.id().cast_signed(), Duration::from_secs(20)) {
        child.kill()?;
        child.wait()?;
    }
    match found {
        Some(start) => Ok(start),
        None => bail!("it does not begin"),
    }
}
