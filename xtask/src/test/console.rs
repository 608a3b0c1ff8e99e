//! Output of a test run: headings, and the lines of parallel phases, each with its phase's name.

use std::{
    io::{self, BufRead, BufReader},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::result::{PhaseResult, PhaseVerdict};
use crate::process::line_of;

/// Runs a phase with headings around it, and returns its result with the value of `work`.
pub fn phase<T>(
    name: &str,
    verdict: impl FnOnce(&T) -> PhaseVerdict,
    work: impl FnOnce() -> Result<T>,
) -> (PhaseResult, Option<T>) {
    println!("\n==== {name} ====");
    let begun = Instant::now();
    let done = work();
    let verdict = match &done {
        Ok(done) => verdict(done),
        Err(error) => {
            println!("error: {error:#}");
            PhaseVerdict::Failed(format!("{error:#}"))
        }
    };
    let result = PhaseResult::new(name, begun.elapsed(), verdict);
    end(&result.name, result.has_worked(), begun.elapsed());
    (result, done.ok())
}

/// The heading at the end of a phase.
pub fn end(name: &str, is_well: bool, took: Duration) {
    let word = if is_well { "done" } else { "FAILED" };
    println!("==== {name}: {word} in {:.1} s", took.as_secs_f64());
}

/// Runs a program and prints its lines as they arrive, if `take` returns true for them (others are noise), each with
/// its phase's name in front; returns its exit code.
pub fn follow(tag: &str, mut command: Command, mut take: impl FnMut(&str) -> bool) -> Result<i32> {
    let line = line_of(&command);
    let (reader, writer) = io::pipe().context("can't make a pipe")?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let child = command.spawn();
    // It holds the write ends: reading does not end before they are closed.
    drop(command);
    let mut child = child.with_context(|| format!("can't run {line}"))?;
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("can't read its output")?;
        let line = String::from_utf8_lossy(&line);
        if take(&line) {
            println!("[{tag}] {line}");
        }
    }
    let status = child
        .wait()
        .with_context(|| format!("can't wait for {line}"))?;
    Ok(status.code().unwrap_or(-1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_are_followed_to_their_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo a; echo b >&2; printf c; exit 3"]);
        let mut lines = Vec::new();
        let code = follow("test", command, |line| {
            lines.push(line.to_owned());
            false
        });
        assert_eq!(code.unwrap(), 3);
        assert_eq!(lines, ["a", "b", "c"]);
        assert!(follow("test", Command::new("/no/program"), |_| true).is_err());
    }

    #[test]
    fn an_error_is_a_failed_phase() {
        let failing = || -> Result<()> { anyhow::bail!("no") };
        let (result, done) = phase("x", |()| PhaseVerdict::Well, failing);
        assert!(!result.is_well());
        assert!(done.is_none());
        let (result, done) = phase("x", |_| PhaseVerdict::Well, || Ok(1));
        assert!(result.is_well());
        assert_eq!(done, Some(1));
    }
}
