//! From a command's start to the moment from which it sees everything.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{peer, spread::Spread, table::cell, tracer::Setup};
use crate::sys::process;

/// A table of times.
///
/// # Errors
/// When twtrace can't be started.
pub fn measure(setup: &Setup, rounds: u32) -> Result<String> {
    let mut text = String::from(
        "### Until all is attached\n\n| tracer | ms | as a multiple of twtrace |\n|---|---|---|\n",
    );
    let ours = || {
        let mut command = Command::new(&setup.twtrace);
        command.args(["trace", "--json"]).args(&setup.options);
        Ok((command, "\"start\""))
    };
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
    let all: [(&str, Make<'_>); 3] = [
        ("twtrace trace --json", &ours),
        ("tcpstates", &tcpstates),
        ("bpftrace, one probe", &bpftrace),
    ];
    let mut times: [Vec<f64>; 3] = Default::default();
    let mut trouble: [Option<String>; 3] = Default::default();
    for _ in 0..rounds {
        for (index, (title, make)) in all.iter().enumerate() {
            eprintln!("bench: start of {title}");
            match make().and_then(|(command, word)| time_ms(command, word)) {
                Ok(ms) => times[index].push(ms),
                Err(error) if index == 0 => return Err(error),
                Err(error) => trouble[index] = Some(format!("{error:#}")),
            }
        }
    }
    for (index, (title, _)) in all.iter().enumerate() {
        match &trouble[index] {
            Some(trouble) => {
                let _ = writeln!(text, "| {title} | {trouble} | |");
            }
            None => {
                let ratios = times[index]
                    .iter()
                    .zip(&times[0])
                    .map(|(theirs, ours)| theirs / ours);
                let _ = writeln!(
                    text,
                    "| {title} | {} | {} |",
                    cell(Spread::of(times[index].iter().copied()), 0),
                    cell(Spread::of(ratios), 2)
                );
            }
        }
    }
    text.push('\n');
    Ok(text)
}

/// Until it prints a line with this word.
fn time_ms(mut command: Command, word: &str) -> Result<f64> {
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
            found = Some(started.elapsed());
            break;
        }
    }
    process::signal(child.id().cast_signed(), libc::SIGINT)?;
    if !process::reap(child.id().cast_signed(), Duration::from_secs(20)) {
        child.kill()?;
        child.wait()?;
    }
    match found {
        Some(time) => Ok(time.as_secs_f64() * 1e3),
        None => bail!("it does not begin"),
    }
}
