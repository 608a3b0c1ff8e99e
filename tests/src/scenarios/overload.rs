//! More sockets than there is room for.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Usage;
use crate::{runner::Context, sys::process};

pub const USAGES: &[Usage] = &[Usage {
    name: "usage/too_many_sockets",
    run: too_many_sockets,
}];

const CONNECTIONS: usize = 24;

/// What found no room is counted, told in the log by the kernel side, and called lost: not taken for a
/// connection of the time before tracing.
fn too_many_sockets(context: &Context) -> Result<()> {
    let mut child = Command::new(&context.twtrace)
        .args(["trace", "--json", "--max-sockets", "4"])
        .args(context.tier.options())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdout = BufReader::new(child.stdout.take().context("no output")?);
    let mut start = String::new();
    stdout.read_line(&mut start)?;
    let port = connect_and_close()?;
    // Losses are told once a second.
    std::thread::sleep(Duration::from_millis(if process::emulated() {
        6000
    } else {
        2500
    }));
    process::signal(child.id().cast_signed(), libc::SIGINT)?;
    let mut text = String::new();
    stdout.read_to_string(&mut text)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "ended with {}", output.status);
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        stderr.contains("--max-sockets"),
        "the log does not tell of it: {stderr}"
    );
    let events: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(
        events
            .iter()
            .any(|event| event["event"] == "lost" && event["probe"] == "story_map"),
        "no lost event of the story map: {text}"
    );
    let ours = format!(":{port}");
    let excuse = events.iter().find(|event| {
        let at_port = |end: &str| {
            event[end]
                .as_str()
                .is_some_and(|address| address.ends_with(&ours))
        };
        event["unattributed"] == "closed_before_tracing" && (at_port("local") || at_port("remote"))
    });
    match excuse {
        None => Ok(()),
        Some(event) => anyhow::bail!("called older than it is: {event}"),
    }
}

/// Many connections at once, closed first by the client. Returns the server's port.
fn connect_and_close() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut pairs = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = TcpStream::connect(address)?;
        pairs.push((client, listener.accept()?.0));
    }
    let servers: Vec<TcpStream> = pairs.into_iter().map(|(_, server)| server).collect();
    std::thread::sleep(Duration::from_millis(100));
    drop(servers);
    Ok(address.port())
}
