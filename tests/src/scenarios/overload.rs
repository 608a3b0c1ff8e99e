//! More sockets than there is room for.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Usage;
use crate::{
    runner::{Context, TierLimit},
    sys::{hidden_births::Recording, process},
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "usage/too_many_sockets",
        run: too_many_sockets,
    },
    Usage {
        name: "usage/nearly_too_many_sockets",
        run: nearly_too_many_sockets,
    },
    Usage {
        name: "usage/time_waits_share_slots",
        run: time_waits_share_slots,
    },
    Usage {
        name: "usage/sockets_come_and_go",
        run: sockets_come_and_go,
    },
];

const CONNECTIONS: usize = 24;

/// Room for this many sockets, beside what else this machine has open.
const ROOM_FOR_FEW: &str = "256";
/// Number of connections, one after the other, with both ends here.
const COMING_AND_GOING: usize = 1_000;

/// With 4096 slots for connection states, about seventy of their sockets find their slot taken by another one.
const MANY_CONNECTIONS: usize = 400;

/// There are 2048 slots for mini-sockets: some hundreds find theirs taken. Each takes a descriptor here.
const MANY_TIME_WAITS: usize = 2_500;

/// Sockets that found no room are counted, reported in the log by the kernel side, and called lost: not taken for
/// connections from before tracing.
fn too_many_sockets(context: &Context) -> Result<()> {
    let traced = trace(context, "4", || connect_and_close(CONNECTIONS))?;
    ensure!(
        traced.log.contains("--max-sockets"),
        "the log does not tell of it: {}",
        traced.log
    );
    ensure!(
        traced
            .events
            .iter()
            .any(|event| event["event"] == "lost" && event["probe"] == "socket_map"),
        "no lost event of the conn map: {:?}",
        traced.events
    );
    let excuse = traced
        .ours()
        .find(|event| event["unattributed"] == "closed_before_tracing");
    match excuse {
        None => Ok(()),
        Some(event) => anyhow::bail!("called older than it is: {event}"),
    }
}

/// Each of many sockets that are open at the same time keeps its connection state, wherever it found room for it.
fn nearly_too_many_sockets(context: &Context) -> Result<()> {
    let hidden = Recording::begin();
    let traced = trace(context, "4096", || connect_and_close(MANY_CONNECTIONS))?;
    let hidden = hidden.map_or(Ok(0), |hidden| hidden.births())?;
    let own = std::process::id();
    let known = traced
        .ours()
        .filter(|event| event["event"] == "time_wait")
        .inspect(|event| {
            if event["process"]["pid"] != own || event["side"] != "client" {
                eprintln!("not known: {event}");
            }
        })
        .filter(|event| event["process"]["pid"] == own && event["side"] == "client")
        .count();
    let least = MANY_CONNECTIONS.saturating_sub(usize::try_from(hidden)?);
    ensure!(
        (least..=MANY_CONNECTIONS).contains(&known),
        "{known} of {MANY_CONNECTIONS} TIME_WAITs have their process ({hidden} were hidden from all programs): {}",
        traced.log
    );
    Ok(())
}

/// Each of many TIME_WAITs keeps its process, wherever its entry found room: they answer data that comes after the close.
fn time_waits_share_slots(context: &Context) -> Result<()> {
    process::allow_all_descriptors()?;
    let hidden = Recording::begin();
    let traced = trace(context, "4096", send_after_close)?;
    let hidden = hidden.map_or(Ok(0), |hidden| hidden.births())?;
    let own = std::process::id();
    let answers: Vec<&Value> = traced
        .ours()
        .filter(|event| event["event"] == "reset" && event["direction"] == "sent")
        .collect();
    let known = answers
        .iter()
        .filter(|event| {
            // A child that another check starts at this moment may be the last one with the descriptor.
            let known = event["process"]["pid"].is_u64()
                && event["opener"]["pid"] == own
                && event["side"] == "client";
            if !known {
                eprintln!("not known: {event}");
            }
            known
        })
        .count();
    let least = MANY_TIME_WAITS.saturating_sub(usize::try_from(hidden)?);
    ensure!(
        (least..=MANY_TIME_WAITS).contains(&known),
        "{known} of {MANY_TIME_WAITS} RSTs ({} seen) have their process ({hidden} TIME_WAITs were hidden from all \
         programs): {}",
        answers.len(),
        traced.log
    );
    Ok(())
}

/// Closed sockets free their room for new ones.
fn sockets_come_and_go(context: &Context) -> Result<()> {
    let traced = trace(context, ROOM_FOR_FEW, connect_one_after_the_other)?;
    // If ends are presumed, a TIME_WAIT takes its room for one minute.
    let is_presumed =
        |event: &Value| context.tier == TierLimit::Inferred && event["probe"] == "time_wait_end";
    let lost = traced
        .events
        .iter()
        .find(|event| event["event"] == "lost" && !is_presumed(event));
    ensure!(lost.is_none(), "{lost:?}: {}", traced.log);
    let own = std::process::id();
    let unknown = traced
        .ours()
        .filter(|event| event["event"] == "time_wait")
        .find(|event| event["process"]["pid"] != own || event["side"] != "client");
    ensure!(unknown.is_none(), "not known: {unknown:?}");
    Ok(())
}

/// The output of `twtrace trace` while connections were opened and closed.
struct Traced {
    events: Vec<Value>,
    log: String,
    /// The server's.
    port: u16,
}

impl Traced {
    /// Events of these connections.
    fn ours(&self) -> impl Iterator<Item = &Value> {
        let ours = format!(":{}", self.port);
        self.events.iter().filter(move |event| {
            ["local", "remote"].iter().any(|end| {
                event[end]
                    .as_str()
                    .is_some_and(|address| address.ends_with(&ours))
            })
        })
    }
}

fn trace(
    context: &Context,
    max_sockets: &str,
    connect: impl FnOnce() -> Result<u16>,
) -> Result<Traced> {
    let mut child = Command::new(&context.twtrace)
        .args(["trace", "--json", "--max-sockets", max_sockets])
        .args(context.tier.options())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdout = BufReader::new(child.stdout.take().context("no output")?);
    let mut start = String::new();
    stdout.read_line(&mut start)?;
    let port = connect()?;
    // Losses are reported once per second.
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
    Ok(Traced {
        events: text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?,
        log: String::from_utf8_lossy(&output.stderr).into_owned(),
        port,
    })
}

/// Many connections at the same time, closed first by the client. Returns the server's port.
pub fn connect_and_close(connections: usize) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut pairs = Vec::new();
    for _ in 0..connections {
        let client = TcpStream::connect(address)?;
        pairs.push((client, listener.accept()?.0));
    }
    let servers: Vec<TcpStream> = pairs.into_iter().map(|(_, server)| server).collect();
    std::thread::sleep(Duration::from_millis(100));
    drop(servers);
    Ok(address.port())
}

/// Many connections that the client closes; then the server sends something on each. Returns the server's port.
fn send_after_close() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut servers = Vec::new();
    for _ in 0..MANY_TIME_WAITS {
        let client = TcpStream::connect(address)?;
        servers.push(listener.accept()?.0);
        drop(client);
    }
    // By now each FIN is acknowledged.
    std::thread::sleep(Duration::from_millis(300));
    for mut server in servers {
        server.write_all(b"late")?;
    }
    Ok(address.port())
}

/// One connection after the other, each closed first by the client. Returns the server's port.
fn connect_one_after_the_other() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    for _ in 0..COMING_AND_GOING {
        let client = TcpStream::connect(address)?;
        let mut server = listener.accept()?.0;
        drop(client);
        // Waits for the FIN.
        server.read_to_end(&mut Vec::new())?;
    }
    Ok(address.port())
}
