//! One network namespace of a storm, with all of its processes.

use std::{
    collections::HashMap,
    io::{self, BufRead as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{OwnedFd, RawFd},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{
    actor::StormActor,
    calls::linger_zero,
    climate, holder,
    ledger::StormLedger,
    plan::{self, End, Life, ServerKind, StepAction},
};
use crate::sys::{
    check, clock, descriptors, inet, netns,
    proc_net::{self, KernelCounters},
    process,
};

/// Clients of a namespace; they share its lives.
const CLIENTS: u32 = 2;
/// Maximum duration of a round; a slow guest needs most of it.
const LIMIT: Duration = Duration::from_secs(240);
/// The kernel's counters must not change for this long.
const QUIET: Duration = Duration::from_millis(200);
/// More than the connections that can be open at the same time.
const BACKLOG: i32 = 4096;
const MAX_DESCRIPTORS: u64 = 16_384;

/// What a namespace has to play.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ground {
    /// The ledger's file.
    pub ledger: PathBuf,
    /// The storm's seed.
    pub seed: u64,
    /// Its number within the round: part of the processes' names.
    pub number: u32,
    /// The first of its lives.
    pub first: Life,
    /// Number of its lives.
    pub count: Life,
    /// Keep all processes on one CPU, so that addresses of sockets are reused there.
    pub is_pinned: bool,
}

/// Its report: printed as one line, when everything has been played.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NamespaceOutcome {
    /// Inode number of the network namespace.
    pub netns: u64,
    /// CLOCK_MONOTONIC when the namespace was created, nanoseconds.
    pub since_ns: u64,
    /// The kernel's own figures.
    pub counters: KernelCounters,
    /// When they were read, like `since_ns`.
    pub read_ns: u64,
    /// The mini-sockets that existed at that time, by local and remote address.
    pub alive: Vec<(SocketAddr, SocketAddr)>,
    /// comm of every process, by pid; those of children are their parent's with `-child`.
    pub names: HashMap<i32, String>,
    /// The process that lets children end connections.
    pub holder: i32,
    /// The process that repeatedly closes its listener.
    pub flaky: i32,
    /// The processes that listen, and their parent, which called listen() for some of them.
    pub listening: Vec<i32>,
}

/// Plays it, prints the [`NamespaceOutcome`], and stays until standard input is closed.
pub fn play(ground: &Ground) -> Result<()> {
    process::die_with_parent()?;
    let since_ns = clock::monotonic_ns()?;
    let netns = netns::enter_new().context("a network namespace")?;
    netns::accept_all_of(plan::V6_NET, plan::V6_NET_BITS).context("a route for IPv6")?;
    climate::set(&climate::settings(ground.seed, ground.number))?;
    process::limit_descriptors(MAX_DESCRIPTORS)?;
    if ground.is_pinned {
        process::pin(0)?;
    }
    let ledger = &StormLedger::open(&ground.ledger)?;
    let own_name = format!("n{}", ground.number);
    process::set_name(&own_name)?;
    let mut names = HashMap::from([(std::process::id().cast_signed(), own_name)]);
    let played = Processes::start(ground, ledger, &mut names)?;
    let (holder, flaky) = (played.holder, played.flaky);
    let own_pid = std::process::id().cast_signed();
    let listening = played.servers.iter().copied().chain([own_pid]).collect();
    played.end(ledger)?;
    until_closed()?;
    fence()?;
    let outcome = NamespaceOutcome {
        netns,
        since_ns,
        counters: KernelCounters::read()?,
        read_ns: clock::monotonic_ns()?,
        alive: mini_sockets()?,
        names,
        holder,
        flaky,
        listening,
    };
    println!("{}", serde_json::to_string(&outcome)?);
    io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

struct Processes {
    clients: Vec<i32>,
    servers: Vec<i32>,
    holder: i32,
    flaky: i32,
}

impl Processes {
    fn start(
        ground: &Ground,
        ledger: &StormLedger,
        names: &mut HashMap<i32, String>,
    ) -> Result<Self> {
        let (seed, number) = (ground.seed, ground.number);
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        for _ in 0..CLIENTS + 3 {
            let (sender, receiver) = descriptors::packet_pair()?;
            senders.push(sender);
            receivers.push(receiver);
        }
        // Before listeners are created: it must not keep them open.
        let holder = {
            let name = format!("h{number}");
            let pid = start(&name, names, || {
                senders.clear();
                holder::hold(ledger, &name, std::mem::take(&mut receivers))
            })?;
            receivers.clear();
            pid
        };
        let mut actor = || -> Result<OwnedFd> { senders.pop().context("a sender") };
        let [separate, dual, flaky] = [actor()?, actor()?, actor()?];
        let v4 = listen(server_socket(ServerKind::Separate, false), BACKLOG, true)?;
        let v6 = listen(server_socket(ServerKind::Separate, true), BACKLOG, true)?;
        let both = listen(server_socket(ServerKind::Dual, true), BACKLOG, false)?;
        // Each inherits descriptors of the others' listeners and senders, and closes those it does not use.
        let served = start(&format!("s{number}"), names, || {
            inet::close(both)?;
            StormActor::new(ledger, seed, separate.try_clone()?).serve(&[v4, v6])
        })?;
        drop(separate);
        let served_dual = start(&format!("d{number}"), names, || {
            inet::close(v4)?;
            inet::close(v6)?;
            StormActor::new(ledger, seed, dual.try_clone()?).serve(&[both])
        })?;
        drop(dual);
        for listener in [v4, v6, both] {
            inet::close(listener)?;
        }
        let flaky_pid = start(&format!("f{number}"), names, || {
            serve_flakily(ledger, seed, flaky.try_clone()?)
        })?;
        drop(flaky);
        let mut clients = Vec::new();
        for client in 0..CLIENTS {
            let sender = actor()?;
            let lives = (ground.first..ground.first + ground.count)
                .filter(move |life| life % CLIENTS == client);
            clients.push(start(&format!("c{number}.{client}"), names, || {
                StormActor::new(ledger, seed, sender.try_clone()?).connect_all(lives)
            })?);
            drop(sender);
        }
        Ok(Self {
            clients,
            servers: vec![served, served_dual, flaky_pid],
            holder,
            flaky: flaky_pid,
        })
    }

    /// Waits for all of them.
    fn end(self, ledger: &StormLedger) -> Result<()> {
        let until = Instant::now() + LIMIT;
        for client in self.clients {
            reap(client, until).context("a client")?;
        }
        ledger.end_clients();
        for server in self.servers {
            reap(server, until).context("a server")?;
        }
        reap(self.holder, until).context("the holder")
    }
}

/// Forks a process of that name, which runs `play` and exits.
fn start(
    name: &str,
    names: &mut HashMap<i32, String>,
    body: impl FnOnce() -> Result<()>,
) -> Result<i32> {
    // SAFETY: this process has one thread.
    let pid = check(unsafe { libc::fork() })?;
    if pid == 0 {
        let played = process::die_with_parent()
            .and_then(|()| process::set_name(name))
            .map_err(Into::into)
            .and_then(|()| body());
        if let Err(error) = &played {
            eprintln!("{name}: {error:#}");
        }
        // SAFETY: ends only this process.
        unsafe { libc::_exit(i32::from(played.is_err())) };
    }
    names.insert(pid, name.to_owned());
    Ok(pid)
}

fn reap(pid: i32, until: Instant) -> Result<()> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes a status.
        let ended = check(unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) })?;
        if ended == pid {
            ensure!(status == 0, "it ended with status {status}");
            return Ok(());
        }
        ensure!(Instant::now() < until, "it does not end");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Address of a server: IPv6 if it accepts both versions.
fn server_socket(server: ServerKind, is_v6: bool) -> SocketAddr {
    let any = if is_v6 {
        IpAddr::from(Ipv6Addr::UNSPECIFIED)
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    SocketAddr::new(any, server.port())
}

fn listen(address: SocketAddr, backlog: i32, only_v6: bool) -> Result<RawFd> {
    let domain = if address.is_ipv6() {
        libc::AF_INET6
    } else {
        libc::AF_INET
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let fd = inet::socket(domain, kind, 0)?;
    inet::set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1_i32)?;
    if address.is_ipv6() {
        let option = libc::IPV6_V6ONLY;
        inet::set_option(fd, libc::IPPROTO_IPV6, option, i32::from(only_v6))?;
    }
    inet::bind(fd, address)?;
    inet::listen(fd, backlog)?;
    Ok(fd)
}

/// Listens with a short queue, accepts some, and closes the listener with the rest in its queue; repeatedly.
fn serve_flakily(ledger: &StormLedger, seed: u64, holder: OwnedFd) -> Result<()> {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xf1a2);
    let mut actor = StormActor::new(ledger, seed, holder);
    let mut connections = HashMap::new();
    loop {
        let is_last = ledger.are_clients_done();
        if !is_last {
            let listener = listen(
                server_socket(ServerKind::Flaky, false),
                rng.i32(1..6),
                false,
            )?;
            for _ in 0..rng.u8(1..8) {
                thread::sleep(Duration::from_micros(rng.u64(0..4_000)));
                if rng.bool() {
                    actor.accept(listener, &mut connections)?;
                }
                actor.do_what_is_due()?;
            }
            let whose = (0, 0, End::Server);
            ledger.doing(whose, StepAction::CloseListener, || inet::close(listener))?;
        }
        actor.do_what_is_due()?;
        if is_last && actor.is_idle() {
            return Ok(());
        }
        thread::sleep(Duration::from_micros(rng.u64(0..3_000)));
    }
}

fn mini_sockets() -> Result<Vec<(SocketAddr, SocketAddr)>> {
    let sockets = proc_net::sockets()?.into_iter();
    let minis = sockets.filter(|socket| socket.timer == proc_net::MINI_SOCKET);
    Ok(minis
        .map(|socket| (inet::unmapped(socket.local), inet::unmapped(socket.remote)))
        .collect())
}

/// Waits until only mini-sockets are left: all other sockets can still change the counters.
fn until_closed() -> Result<()> {
    let until = Instant::now() + LIMIT / 4;
    loop {
        let sockets = proc_net::sockets()?;
        let open = sockets
            .iter()
            .find(|socket| socket.timer != proc_net::MINI_SOCKET);
        let before = KernelCounters::read()?;
        thread::sleep(QUIET);
        match open {
            // Segments that create or end sockets may be in flight.
            None if KernelCounters::read()? == before => return Ok(()),
            None => {}
            Some(open) if Instant::now() >= until => bail!("{open:?} does not end"),
            Some(_) => {}
        }
    }
}

/// Both ends of the fence.
pub const FENCE: Ipv4Addr = Ipv4Addr::new(127, 7, 0, 1);

/// A connection that is reset: everything written before it is reported before it.
fn fence() -> Result<()> {
    let server = SocketAddr::new(FENCE.into(), 9);
    let listener = listen(server, 1, false)?;
    let fd = inet::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0)?;
    inet::bind(fd, SocketAddr::new(FENCE.into(), 8))?;
    inet::connect(fd, &inet::RawAddress::new(server))?;
    linger_zero(fd)?;
    inet::close(fd)?;
    inet::close(listener)?;
    Ok(())
}
