//! The stage: the process that plays one scenario in a network namespace of its own.

mod cgroups;
pub mod fence;
pub mod finding;
mod pair;
mod run;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt, fs,
    io::{self, BufRead},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use finding::{
    BudgetTruth, CrowdRow, ExpectedCloseWait, Message, Played, ReuseTruth, SlabTruth, TableRow,
};
pub use pair::Pair;
pub use run::{Part, run};
use serde::{Deserialize, Serialize};

use crate::{
    actor::{Actor, command::Connection},
    expect::{Expected, Side},
    sys::{
        clock, netns,
        proc_net::{self, KernelCounters, State},
        process,
    },
};

/// The kernel's alarm kills a stage that hangs after this time.
const ALARM_SECONDS: u32 = 900;
/// Longest wait for anything that must happen by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// IP version of a scenario's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ip {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Ip {
    /// The loopback address.
    pub fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::LOCALHOST.into(),
            Self::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }

    /// The loopback address with any port.
    pub fn loopback_any_port(self) -> SocketAddr {
        SocketAddr::new(self.loopback(), 0)
    }
}

/// The scenario can't be played here, and why.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Why the events were not those of the scenario, without anyone's fault: it has to be played again.
#[derive(Debug)]
pub struct Unlucky(pub String);

impl fmt::Display for Unlucky {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Unlucky {}

/// What a scenario plays on.
pub struct Stage {
    /// IP version of this run.
    pub ip: Ip,
    netns: u64,
    since_ns: u64,
    /// Counters when tracing began.
    at_start: Cell<KernelCounters>,
    /// Kept until the runner has seen all events: an actor that exits closes its sockets.
    actors: RefCell<Vec<Rc<Actor>>>,
    cgroups: RefCell<Vec<PathBuf>>,
    truth: RefCell<Vec<Expected>>,
    otherwise: RefCell<Vec<Vec<Expected>>>,
    crowd: RefCell<Vec<CrowdRow>>,
    budgets: RefCell<Vec<BudgetTruth>>,
    table: RefCell<Vec<TableRow>>,
    reuse: RefCell<Vec<ReuseTruth>>,
    slab: RefCell<Option<SlabTruth>>,
    close_wait: RefCell<Vec<ExpectedCloseWait>>,
    about_ports: Cell<bool>,
    about_ends: Cell<bool>,
    hidden_births: Cell<u64>,
    announced: Cell<bool>,
}

impl Stage {
    fn enter(ip: Ip) -> Result<Self> {
        process::die_with_parent()?;
        // SAFETY: integers only.
        unsafe { libc::alarm(ALARM_SECONDS) };
        let netns = netns::enter_new().context("make a network namespace")?;
        let since_ns = clock::monotonic_ns()?;
        Ok(Self {
            ip,
            netns,
            since_ns,
            at_start: Cell::new(KernelCounters::read()?),
            actors: RefCell::default(),
            cgroups: RefCell::default(),
            truth: RefCell::default(),
            otherwise: RefCell::default(),
            crowd: RefCell::default(),
            budgets: RefCell::default(),
            table: RefCell::default(),
            reuse: RefCell::default(),
            slab: RefCell::default(),
            close_wait: RefCell::default(),
            about_ports: Cell::new(false),
            about_ends: Cell::new(false),
            hidden_births: Cell::new(0),
            announced: Cell::new(false),
        })
    }

    /// Reports that the stage is set up, and waits until twtrace traces. Called before the scenario, or by a scenario
    /// that prepares something before tracing begins.
    ///
    /// # Errors
    /// If the runner has ended.
    pub fn begin_tracing(&self) -> Result<()> {
        self.announced.set(true);
        run::send(&self.prepared())?;
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            bail!("the runner is gone");
        }
        self.at_start.set(KernelCounters::read()?);
        Ok(())
    }

    fn prepared(&self) -> Message {
        Message::Prepared {
            netns: self.netns,
            since_ns: self.since_ns,
        }
    }

    /// A new actor. Its comm is the role and the stage's pid, so that it is unique among stages.
    pub fn actor(&self, role: &str) -> Result<Rc<Actor>> {
        let actor = Rc::new(Actor::start(self.comm(role))?);
        self.actors.borrow_mut().push(Rc::clone(&actor));
        Ok(actor)
    }

    /// A child of `parent`, with all its descriptors.
    pub fn fork(&self, parent: &Actor, role: &str) -> Result<Rc<Actor>> {
        let child = Rc::new(parent.fork(self.comm(role))?);
        self.actors.borrow_mut().push(Rc::clone(&child));
        Ok(child)
    }

    fn comm(&self, role: &str) -> String {
        format!("{role}-{}", std::process::id())
    }

    /// Expects an event.
    pub fn expect(&self, expected: Expected) {
        self.truth.borrow_mut().push(expected);
    }

    /// Another complete list of events that is also correct, if the kernel may take either path.
    pub fn or_expect(&self, alternative: Vec<Expected>) {
        self.otherwise.borrow_mut().push(alternative);
    }

    /// Expects a number of TIME_WAITs of a process, if there are too many to list.
    pub fn expect_births(&self, row: CrowdRow) {
        self.crowd.borrow_mut().push(row);
    }

    /// Expects a port pool in the report.
    pub fn expect_budget(&self, budget: BudgetTruth) {
        self.budgets.borrow_mut().push(budget);
    }

    /// Expects the report to count TIME_WAITs by source and destination as /proc/net/tcp lists them now; TIME_WAITs of
    /// the servers at these addresses count by port.
    ///
    /// # Errors
    /// If /proc/net/tcp can't be read, or has no TIME_WAIT.
    pub fn expect_table(&self, servers: &[SocketAddr]) -> Result<()> {
        let mut counts = BTreeMap::new();
        for socket in proc_net::sockets()? {
            if socket.state == State::TimeWait {
                let key = if servers.contains(&socket.local) {
                    (true, socket.local.ip(), format!(":{}", socket.local.port()))
                } else {
                    (false, socket.local.ip(), socket.remote.to_string())
                };
                *counts.entry(key).or_insert(0) += 1;
            }
        }
        if counts.is_empty() {
            bail!("/proc/net/tcp has no TIME_WAIT");
        }
        let row = |((is_server, source, destination), count)| TableRow {
            source,
            destination,
            side: if is_server {
                Side::Server
            } else {
                Side::Client
            },
            count,
        };
        self.table.borrow_mut().extend(counts.into_iter().map(row));
        Ok(())
    }

    /// Expects the figures of this cache in /proc/slabinfo, with at least `at_least` mini-sockets, all of them created
    /// by one process.
    pub fn expect_slab(&self, cache: &str, at_least: u64, maker: &Actor) {
        *self.slab.borrow_mut() = Some(SlabTruth {
            cache: cache.to_owned(),
            at_least,
            maker: maker.pid,
        });
    }

    /// Expects the report to count reuse of TIME_WAITs for a process and for a destination.
    pub fn expect_reuse(&self, truth: ReuseTruth) {
        self.reuse.borrow_mut().push(truth);
    }

    /// Expects connections in CLOSE_WAIT in the report; it must then list no others.
    pub fn expect_close_wait(&self, row: ExpectedCloseWait) {
        self.close_wait.borrow_mut().push(row);
    }

    /// Sets how many births this kernel hid from every eBPF program, at most.
    pub fn hidden_births(&self, count: u64) {
        self.hidden_births.set(count);
    }

    /// Also compares successful port allocations. (Failed ones always are.)
    pub fn about_ports(&self) {
        self.about_ports.set(true);
    }

    /// Also compares ends of TIME_WAITs.
    pub fn about_ends(&self) {
        self.about_ends.set(true);
    }

    /// Sets a sysctl of this network namespace (such as `ipv4/tcp_timestamps`).
    ///
    /// # Errors
    /// If it does not exist or refuses the value.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{name}");
        fs::write(&path, value).with_context(|| format!("write \"{value}\" to {path}"))
    }

    /// Waits until a condition is true.
    ///
    /// # Errors
    /// If it is not after 30 seconds.
    pub fn until(&self, what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !is_so()? {
            if Instant::now() >= end {
                bail!("waited in vain until {what}");
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Waits until the socket with these ends is in this state.
    pub fn until_state(&self, local: SocketAddr, remote: SocketAddr, state: State) -> Result<()> {
        self.until(&format!("{local} -> {remote} is {state:?}"), || {
            Ok(proc_net::sockets()?.iter().any(|socket| {
                socket.local == local && socket.remote == remote && socket.state == state
            }))
        })
    }

    /// Waits until this many bytes have arrived at an end of a connection, unread.
    ///
    /// # Errors
    /// If they do not arrive.
    pub fn until_unread(&self, connection: &Connection, bytes: u64) -> Result<()> {
        self.until(&format!("{bytes} bytes have come"), || {
            Ok(proc_net::sockets()?.iter().any(|socket| {
                (socket.local, socket.remote) == (connection.local, connection.remote)
                    && socket.unread == bytes
            }))
        })
    }

    /// Sleeps, and returns the real duration.
    pub fn pause(&self, time: Duration) -> Duration {
        let start = Instant::now();
        thread::sleep(time);
        start.elapsed()
    }

    fn played(&self) -> Result<Played> {
        let mut alternatives = vec![self.truth.take()];
        alternatives.extend(self.otherwise.take());
        Ok(Played {
            alternatives,
            crowd: self.crowd.take(),
            budgets: self.budgets.take(),
            table: self.table.take(),
            reuse: self.reuse.take(),
            slab: self.slab.take(),
            close_wait: self.close_wait.take(),
            counters: KernelCounters::read()?.since(self.at_start.get()),
            alive_before: self.at_start.get().alive,
            about_ports: self.about_ports.get(),
            about_ends: self.about_ends.get(),
            hidden_births: self.hidden_births.get(),
        })
    }
}
