//! Churn with known truth: connections that open and close as fast as one CPU allows, in a network namespace of their
//! own.
//!
//! Client and server are processes that take turns on the same CPU: connections are opened and closed in small batches,
//! so that neither queues nor idle CPUs influence the measurement.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    os::fd::{FromRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::sys::{check, inet, netns, process};

/// Name of the clients' processes.
pub const CLIENT: &str = "bench-client";
pub const SERVER: &str = "bench-server";

const PORT: u16 = 9_000;
/// Nobody listens there.
const CLOSED_PORT: u16 = 9_001;
/// Connections until the other side's turn.
const BATCH: u64 = 64;

/// How connections end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum LoadKind {
    /// The client closes first: its side has a TIME_WAIT
    Plain,
    /// The server closes first: its side has a TIME_WAIT
    ServerFirst,
    /// The client resets (SO_LINGER 0): no TIME_WAIT.
    LingerZero,
    /// Nobody listens: no connection.
    Refused,
    /// bind() to a port that the kernel chooses, and close(): no connection either.
    Bind,
}

impl LoadKind {
    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::ServerFirst => "server-first",
            Self::LingerZero => "linger-zero",
            Self::Refused => "refused",
            Self::Bind => "bind",
        }
    }
}

/// Options of `bench load`.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// How connections end.
    #[arg(long, value_enum, default_value_t = LoadKind::Plain)]
    pub kind: LoadKind,
    /// Number of connections.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=2_000_000))]
    pub connections: u64,
    /// Client processes, one after the other, that share the connections.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub processes: u64,
    /// Number of destinations.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub tuples: u32,
    /// The CPU to stay on; by default the last one.
    #[arg(long)]
    pub cpu: Option<usize>,
    /// Maximum number of connections per second.
    #[arg(long)]
    pub per_s: Option<u32>,
    /// Print `ready`, begin at a line of standard input and end with it: the measurement is in between.
    #[arg(long)]
    pub wait: bool,
}

/// The load that was played.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadResult {
    pub kind: LoadKind,
    /// Number of connections.
    pub connections: u64,
    /// TIME_WAITs of the clients.
    pub births_client: u64,
    /// TIME_WAITs of the server.
    pub births_server: u64,
    /// RSTs that clients sent.
    pub resets: u64,
    /// Duration of the load.
    pub elapsed_ns: u64,
}

/// Plays the load and prints the truth as one line of JSON.
///
/// # Errors
/// If a connection did not end as expected.
pub fn run(options: &Options) -> Result<()> {
    process::die_with_parent()?;
    netns::enter_new().context("a network namespace")?;
    let setting = |name: &str, value: &str| {
        let path = format!("/proc/sys/net/ipv4/{name}");
        std::fs::write(&path, value).with_context(|| path.clone())
    };
    setting("ip_local_port_range", "10000 65535")?;
    // The default depends on the machine's memory.
    setting("tcp_max_tw_buckets", "2000000")?;
    process::pin(options.cpu.unwrap_or_else(|| process::cpus() - 1))?;

    let (orders, replies) = (pipe()?, pipe()?);
    // SAFETY: this process has one thread.
    let server = check(unsafe { libc::fork() })?;
    if server == 0 {
        drop(orders.1);
        let served = process::die_with_parent()
            .map_err(Into::into)
            .and_then(|()| serve(options.kind, orders.0.into(), replies.1.into()));
        if let Err(error) = &served {
            eprintln!("bench load: server: {error:#}");
        }
        // SAFETY: ends only this process.
        unsafe { libc::_exit(i32::from(served.is_err())) };
    }
    drop((orders.0, replies.1));
    let mut turns = Turns {
        orders: orders.1.into(),
        replies: replies.0.into(),
    };
    turns.take(0).context("the server does not listen")?;
    let mut lines = io::stdin().lines();
    if options.wait {
        println!("ready");
        lines.next().context("standard input ended")??;
    }
    let started = Instant::now();
    let played = play(options, &mut turns);
    let elapsed_ns = started.elapsed().as_nanos() as u64;
    drop(turns);
    ensure!(
        process::reap(server, Duration::from_secs(10)),
        "the server does not end"
    );
    let connections = played?;
    let of = |kind| if options.kind == kind { connections } else { 0 };
    let played = LoadResult {
        kind: options.kind,
        connections,
        births_client: of(LoadKind::Plain),
        births_server: of(LoadKind::ServerFirst),
        resets: of(LoadKind::LingerZero),
        elapsed_ns,
    };
    println!("{}", serde_json::to_string(&played)?);
    io::stdout().flush()?;
    if options.wait {
        // The namespace ends with this process, and all TIME_WAITs with the namespace.
        while lines.next().is_some() {}
    }
    Ok(())
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: created just now, no other owners.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// The client's end of the turns.
struct Turns {
    orders: std::fs::File,
    replies: std::fs::File,
}

impl Turns {
    /// Has the server accept this many connections.
    fn take(&mut self, count: u64) -> io::Result<()> {
        self.orders.write_all(&[count as u8])?;
        self.replies.read_exact(&mut [0])
    }
}

fn serve(kind: LoadKind, mut orders: std::fs::File, mut replies: std::fs::File) -> Result<()> {
    process::set_name(SERVER)?;
    let listener = inet::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0)?;
    inet::set_option(listener, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1_i32)?;
    inet::bind(listener, (Ipv4Addr::UNSPECIFIED, PORT).into())?;
    inet::listen(listener, 1024)?;
    let mut count = [0];
    while orders.read_exact(&mut count).is_ok() {
        for _ in 0..count[0] {
            let fd = inet::accept(listener)?;
            if kind == LoadKind::Plain {
                await_end(fd)?;
            }
            inet::close(fd)?;
        }
        replies.write_all(&[0])?;
    }
    Ok(())
}

/// Waits until the peer has closed.
fn await_end(fd: i32) -> io::Result<()> {
    let mut byte = 0_u8;
    // SAFETY: one byte of our own.
    let read = unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, 0) };
    if read < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn play(options: &Options, turns: &mut Turns) -> Result<u64> {
    let mut done = 0;
    let pace = Pace {
        begun: Instant::now(),
        per_s: options.per_s,
    };
    for number in 0..options.processes {
        let until = options.connections * (number + 1) / options.processes;
        // SAFETY: this process has one thread.
        let pid = check(unsafe { libc::fork() })?;
        if pid == 0 {
            let result = process::set_name(CLIENT)
                .map_err(Into::into)
                .and_then(|()| job(options, &pace, done..until, turns));
            if let Err(error) = &result {
                eprintln!("bench load: client: {error:#}");
            }
            // SAFETY: ends only this process.
            unsafe { libc::_exit(i32::from(result.is_err())) };
        }
        let mut status = 0;
        // SAFETY: writes the status.
        check(unsafe { libc::waitpid(pid, &raw mut status, 0) })?;
        ensure!(status == 0, "a client failed");
        done = until;
    }
    Ok(done)
}

/// Limits the connections per second, if a limit is given.
struct Pace {
    begun: Instant,
    per_s: Option<u32>,
}

impl Pace {
    fn wait(&self, done: u64) {
        if let Some(per_s) = self.per_s {
            let due = Duration::from_secs_f64(done as f64 / f64::from(per_s));
            std::thread::sleep(due.saturating_sub(self.begun.elapsed()));
        }
    }
}

fn job(
    options: &Options,
    pace: &Pace,
    numbers: std::ops::Range<u64>,
    turns: &mut Turns,
) -> Result<()> {
    let mut open = Vec::with_capacity(BATCH as usize);
    let mut next = numbers.start;
    while next < numbers.end {
        let end = numbers.end.min(next + BATCH);
        pace.wait(next);
        for number in next..end {
            match options.kind {
                LoadKind::Bind => bind_churn()?,
                LoadKind::Refused => refused(target(options, number, CLOSED_PORT))?,
                kind => {
                    let fd =
                        connected(target(options, number, PORT), kind == LoadKind::LingerZero)?;
                    if kind == LoadKind::ServerFirst {
                        open.push(fd);
                    } else {
                        inet::close(fd)?;
                    }
                }
            }
        }
        if !matches!(options.kind, LoadKind::Bind | LoadKind::Refused) {
            turns.take(end - next)?;
        }
        for fd in open.drain(..) {
            inet::close(fd)?;
        }
        next = end;
    }
    Ok(())
}

/// One of the many addresses that all belong to this host.
fn target(options: &Options, number: u64, port: u16) -> SocketAddr {
    let index = (number % u64::from(options.tuples)) as u32;
    let address = u32::from(Ipv4Addr::new(127, 1, 0, 1)) + index;
    (Ipv4Addr::from(address), port).into()
}

fn socket() -> io::Result<i32> {
    inet::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0)
}

fn connected(target: SocketAddr, linger_zero: bool) -> Result<i32> {
    let fd = socket()?;
    if linger_zero {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        inet::set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, linger)?;
    }
    inet::connect(fd, &inet::RawAddress::new(target)).with_context(|| format!("to {target}"))?;
    Ok(fd)
}

fn refused(target: SocketAddr) -> Result<()> {
    let fd = socket()?;
    let result = inet::connect(fd, &inet::RawAddress::new(target));
    inet::close(fd)?;
    ensure!(result.is_err(), "somebody listens on {target}");
    Ok(())
}

fn bind_churn() -> Result<()> {
    let fd = socket()?;
    inet::bind(fd, (Ipv4Addr::LOCALHOST, 0).into())?;
    inet::close(fd)?;
    Ok(())
}
