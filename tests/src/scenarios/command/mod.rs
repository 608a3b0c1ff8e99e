//! `twtrace report -- COMMAND`: whose connections count, and what the command notices of it.

pub mod manners;
pub mod only;
pub(super) mod server;

use std::{
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};

use crate::{
    runner::{Context, wait},
    sys::{netns, process},
};

/// How long a run may take.
fn limit() -> Duration {
    Duration::from_secs(if process::emulated() { 300 } else { 60 })
}

/// Runs `work` in a network namespace of its own, which contains only this thread and those it starts.
pub(super) fn in_netns<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            netns::enter_new().context("make a network namespace")?;
            work()
        });
        worker.join().unwrap_or_else(|_| Err(anyhow!("panicked")))
    })
}

/// `twtrace VERB OPTIONS -- LINE`
fn twtrace(context: &Context, verb: &[&str], line: &[String]) -> Command {
    let mut command = Command::new(&context.twtrace);
    command
        .args(verb)
        .args(context.tier.options())
        .arg("--")
        .args(line)
        .stdin(Stdio::null());
    command
}

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

pub(super) fn shell(script: &str) -> Vec<String> {
    words(&["/bin/sh", "-c", script])
}

/// Runs it to its end. Its streams are files, as processes that it started may still hold them.
pub(super) fn output(command: &mut Command) -> Result<Output> {
    let streams = [tempfile::tempfile()?, tempfile::tempfile()?];
    let [stdout, stderr] = &streams;
    let mut child = command
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .spawn()
        .context("start it")?;
    let status = end_of(&mut child);
    Ok(Output {
        status: status.with_context(|| {
            String::from_utf8_lossy(&contents(stderr).unwrap_or_default()).into_owned()
        })?,
        stdout: contents(stdout)?,
        stderr: contents(stderr)?,
    })
}

/// Waits for its end, up to a limit.
fn end_of(child: &mut Child) -> Result<ExitStatus> {
    wait(child, limit())
}

fn contents(mut file: &std::fs::File) -> Result<Vec<u8>> {
    use std::io::{Read as _, Seek as _};
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
