//! A stage, as the runner sees it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::stage::{
    Ip,
    finding::{Ending, Message, PlayResult},
};

/// Name of the stage that plays no scenario but finds out what the kernel does.
pub const KERNEL_FACTS: &str = "@kernel-facts";

/// A network namespace of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Inode number.
    pub netns: u64,
    /// Events before this time of CLOCK_MONOTONIC belong to another namespace with the same number.
    pub since_ns: u64,
}

impl Namespace {
    /// Whether an event belongs to this namespace, and not to an earlier one with its number.
    pub fn has(&self, event: &Value) -> bool {
        let is_later = |mono_ns| mono_ns >= self.since_ns;
        event["netns"] == self.netns && event["mono_ns"].as_u64().is_some_and(is_later)
    }
}

/// A stage. Dropping it ends the scenario's processes.
pub struct StageProcess {
    child: Child,
    orders: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
    pub namespace: Namespace,
}

impl StageProcess {
    /// Starts a stage, and waits until it is set up. `keeper` gets the namespace's file, which stays open as long as
    /// events are assigned by namespace: the kernel gives the number of a removed namespace to the next one.
    ///
    /// # Errors
    /// If it can't be started, or fails before it is set up.
    pub fn start(name: &str, ip: Ip, keeper: &mut Vec<File>) -> Result<Self> {
        Self::start_with(name, ip, &[], keeper)
    }

    /// The same for a stage that ends its scenario with a fence.
    pub fn start_fenced(name: &str, ip: Ip, keeper: &mut Vec<File>) -> Result<Self> {
        Self::start_with(name, ip, &["--fenced"], keeper)
    }

    fn start_with(name: &str, ip: Ip, options: &[&str], keeper: &mut Vec<File>) -> Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .arg("--stage")
            .arg(name)
            .arg("--ip")
            .arg(match ip {
                Ip::V4 => "v4",
                Ip::V6 => "v6",
            })
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a stage")?;
        let orders = child.stdin.take();
        let stdout = child.stdout.take().context("the stage has no output")?;
        let mut stage = Self {
            child,
            orders,
            lines: BufReader::new(stdout),
            namespace: Namespace::default(),
        };
        match stage.message()? {
            Message::Prepared { netns, since_ns } => {
                stage.namespace = Namespace { netns, since_ns };
            }
            Message::Finding(PlayResult::Broken { error }) => bail!("{error}"),
            other => bail!("the stage began with {other:?}"),
        }
        let path = format!("/proc/{}/ns/net", stage.child.id());
        keeper.push(File::open(&path).with_context(|| format!("open {path}"))?);
        Ok(stage)
    }

    fn message(&mut self) -> Result<Message> {
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            let status = self.child.wait()?;
            bail!("the stage ended ({status})");
        }
        serde_json::from_str(&line).with_context(|| format!("a line of the stage: {line}"))
    }

    /// Plays the scenario. When this returns, all its sockets and processes still exist.
    pub fn play(&mut self) -> Result<PlayResult> {
        if let Some(orders) = &mut self.orders {
            // A scenario that could not be prepared does not wait for this.
            let _ = orders.write_all(b"go\n");
        }
        match self.message()? {
            Message::Finding(finding) => Ok(finding),
            other => bail!("instead of playing the stage said {other:?}"),
        }
    }

    /// The comm of its actor with this role.
    pub fn comm(&self, role: &str) -> String {
        format!("{role}-{}", self.child.id())
    }

    /// Ends it, and waits until it has exited. Returns what existed when the end began.
    pub fn end(mut self) -> Result<Ending> {
        self.orders = None;
        match self.message()? {
            Message::Ending(ending) => Ok(ending),
            other => bail!("instead of ending the stage said {other:?}"),
        }
    }
}

impl Drop for StageProcess {
    fn drop(&mut self) {
        // The stage ends when its input is closed.
        self.orders = None;
        // Drains its remaining output, so that it does not block on the pipe.
        let _ = io::copy(&mut self.lines, &mut io::sink());
        let _ = self.child.wait();
    }
}
