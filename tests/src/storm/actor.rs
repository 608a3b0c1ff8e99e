//! A process that plays one end of many connections at the same time: each step when it is due, whatever has arrived by
//! then.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io,
    os::fd::{OwnedFd, RawFd},
    thread,
};

use anyhow::{Result, bail};

use super::{
    calls::{is_connecting, perform},
    holder,
    ledger::{LedgerEntry, StormLedger},
    plan::{self, CONNECTIONS, End, Life, Step, StepAction},
};
use crate::sys::{check, clock, inet, process};

/// Connections that one client has at the same time.
const MAX_OPEN: usize = 300;
/// The same if each takes twenty times as long: with more, segments would be in flight for seconds.
const MAX_OPEN_EMULATED: usize = 16;
/// New connections between two checks of what is due.
const NEW_AT_ONCE: usize = 4;
/// Interval between two checks whether a connection is established.
const GLANCE_US: u32 = 300;
/// The same if each check takes twenty times as long.
const GLANCE_EMULATED_US: u32 = 5_000;
/// One client of this many does not wait until the connection is established.
const IMPATIENT: Life = 16;
/// Longest wait for a connection to be established; a listener with a full queue drops its SYN for ever.
const MAX_WAIT_NS: u64 = 2_000_000_000;
/// Longest pause if nothing is due: a listener may have received a connection.
const MAX_PAUSE_NS: u64 = 20_000_000;

/// Which end of which connection.
pub type Whose = (Life, u8, End);

/// An action, to be sorted by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The next step of the connection at this index.
    Step(usize),
    /// The next connection of a life.
    Connect(Life, u8),
}

/// A connection that this process has open.
struct OpenConnection {
    whose: Whose,
    fd: RawFd,
    steps: std::vec::IntoIter<Step>,
    next: Step,
    /// Until when it waits for the connection to be established, CLOCK_MONOTONIC nanoseconds; 0 if it does not wait.
    wait_ns: u64,
}

/// Common part of clients and servers.
pub struct StormActor<'a> {
    ledger: &'a StormLedger,
    seed: u64,
    /// Socket to the process that receives descriptors.
    holder: OwnedFd,
    held: Vec<Option<OpenConnection>>,
    free: Vec<usize>,
    max_open: usize,
    glance_us: u32,
    due: BinaryHeap<Reverse<(u64, Due)>>,
}

impl<'a> StormActor<'a> {
    /// An actor that has nothing to do yet.
    pub fn new(ledger: &'a StormLedger, seed: u64, holder: OwnedFd) -> Self {
        let (max_open, glance_us) = if process::emulated() {
            (MAX_OPEN_EMULATED, GLANCE_EMULATED_US)
        } else {
            (MAX_OPEN, GLANCE_US)
        };
        Self {
            ledger,
            seed,
            holder,
            held: Vec::new(),
            free: Vec::new(),
            max_open,
            glance_us,
            due: BinaryHeap::new(),
        }
    }

    fn open(&self) -> usize {
        self.held.len() - self.free.len()
    }

    fn hold(&mut self, whose: Whose, fd: RawFd) -> Result<()> {
        let (life, connection, end) = whose;
        let mut steps = plan::script(self.seed, life, connection, end).into_iter();
        let Some(next) = steps.next() else {
            return Ok(());
        };
        let is_patient = end == End::Client && !life.is_multiple_of(IMPATIENT);
        let wait_ns = if is_patient {
            clock::monotonic_ns()? + MAX_WAIT_NS
        } else {
            0
        };
        let held = OpenConnection {
            whose,
            fd,
            steps,
            next,
            wait_ns,
        };
        let place = match self.free.pop() {
            Some(place) => {
                self.held[place] = Some(held);
                place
            }
            None => {
                self.held.push(Some(held));
                self.held.len() - 1
            }
        };
        let delay_us = if is_patient { 0 } else { next.delay_us };
        self.schedule(delay_us, Due::Step(place))
    }

    fn schedule(&mut self, delay_us: u32, due: Due) -> Result<()> {
        let at = clock::monotonic_ns()? + u64::from(delay_us) * 1_000;
        self.due.push(Reverse((at, due)));
        Ok(())
    }

    /// The first action, if it is due now.
    fn due(&mut self) -> Result<Option<Due>> {
        let now = clock::monotonic_ns()?;
        match self.due.peek() {
            Some(Reverse((at, _))) if *at <= now => Ok(self.due.pop().map(|Reverse((_, due))| due)),
            _ => Ok(None),
        }
    }

    /// Time until the next action, nanoseconds.
    fn pause_ns(&self) -> Result<u64> {
        let now = clock::monotonic_ns()?;
        Ok(self.due.peek().map_or(MAX_PAUSE_NS, |Reverse((at, _))| {
            at.saturating_sub(now).min(MAX_PAUSE_NS)
        }))
    }

    /// Runs the next step of a connection; returns its owner if that was the last step.
    fn step(&mut self, place: usize) -> Result<Option<Whose>> {
        let Some(held) = self.held.get_mut(place).and_then(Option::as_mut) else {
            return Ok(None);
        };
        if held.wait_ns != 0 {
            if is_connecting(held.fd)? && clock::monotonic_ns()? < held.wait_ns {
                self.schedule(self.glance_us, Due::Step(place))?;
                return Ok(None);
            }
            held.wait_ns = 0;
            let delay_us = held.next.delay_us;
            self.schedule(delay_us, Due::Step(place))?;
            return Ok(None);
        }
        let (whose, fd, action) = (held.whose, held.fd, held.next.action);
        if let Some(next) = held.steps.next() {
            held.next = next;
            // The ledger has the errors of calls on a broken connection.
            let _ = self
                .ledger
                .doing(whose, action, || perform(fd, action).map(drop));
            self.schedule(next.delay_us, Due::Step(place))?;
            return Ok(None);
        }
        self.held[place] = None;
        self.free.push(place);
        self.end(whose, fd, action)?;
        Ok(Some(whose))
    }

    fn end(&self, whose: Whose, fd: RawFd, action: StepAction) -> Result<()> {
        let StepAction::Hand(last) = action else {
            let _ = self.ledger.doing(whose, action, || perform(fd, action));
            return Ok(());
        };
        // The receiver waits as if it had been given a step.
        let (life, connection, _) = whose;
        let delay_us = plan::script(self.seed, life, connection, End::Client)[0].delay_us;
        let order = holder::HolderRequest {
            whose,
            last,
            delay_us,
        };
        self.ledger.doing(whose, action, || {
            order.send(&self.holder, fd)?;
            inet::close(fd)
        })?;
        Ok(())
    }
}

impl StormActor<'_> {
    /// Plays these lives as their client.
    pub fn connect_all(mut self, lives: impl Iterator<Item = Life>) -> Result<()> {
        let mut lives = lives.peekable();
        loop {
            for _ in 0..NEW_AT_ONCE {
                if self.open() >= self.max_open {
                    break;
                }
                let Some(life) = lives.next() else { break };
                self.connect(life, 0)?;
            }
            while let Some(due) = self.due()? {
                match due {
                    Due::Connect(life, connection) => self.connect(life, connection)?,
                    Due::Step(place) => {
                        if let Some((life, connection, _)) = self.step(place)? {
                            self.connect_again(life, connection + 1)?;
                        }
                    }
                }
            }
            let is_full = self.open() >= self.max_open || lives.peek().is_none();
            if is_full && self.due.is_empty() {
                return Ok(());
            }
            if is_full {
                thread::sleep(std::time::Duration::from_nanos(self.pause_ns()?));
            }
        }
    }

    fn connect_again(&mut self, life: Life, connection: u8) -> Result<()> {
        match plan::plan(self.seed, life).again {
            Some((_, delay_us)) if connection < CONNECTIONS => {
                self.schedule(delay_us, Due::Connect(life, connection))
            }
            _ => Ok(()),
        }
    }

    fn connect(&mut self, life: Life, connection: u8) -> Result<()> {
        let plan = plan::plan(self.seed, life);
        let domain = if plan.is_v6 {
            libc::AF_INET6
        } else {
            libc::AF_INET
        };
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let fd = inet::socket(domain, kind, 0)?;
        let port = plan.again.map_or(0, |(port, _)| port);
        if port == 0 {
            let option = libc::IP_BIND_ADDRESS_NO_PORT;
            inet::set_option(fd, libc::IPPROTO_IP, option, 1_i32)?;
        } else {
            inet::set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1_i32)?;
        }
        let whose = (life, connection, End::Client);
        let target = super::server_address(plan.server, plan.is_v6);
        let bound = inet::bind(fd, (plan::address(life, plan.is_v6), port).into());
        let connected = bound.and_then(|()| {
            self.ledger.doing(whose, StepAction::Connect, || {
                inet::connect(fd, &inet::RawAddress::new(target))
            })
        });
        match connected {
            Ok(()) => self.hold(whose, fd),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => self.hold(whose, fd),
            // Refused, or the tuple is in TIME_WAIT.
            Err(_) => Ok(inet::close(fd)?),
        }
    }

    /// Plays the server of these listeners until no client has anything left to do, and no connection is open.
    pub fn serve(mut self, listeners: &[RawFd]) -> Result<()> {
        let mut connections = HashMap::new();
        loop {
            // Read before: what arrives until then is accepted.
            let is_last = self.ledger.are_clients_done();
            for &listener in listeners {
                while self.accept(listener, &mut connections)? {}
            }
            self.do_what_is_due()?;
            if is_last && self.open() == 0 {
                return self.close_listeners(listeners);
            }
            let mut ready: Vec<_> = listeners
                .iter()
                .map(|&fd| libc::pollfd {
                    fd,
                    events: libc::POLLIN,
                    revents: 0,
                })
                .collect();
            let pause_ns = self.pause_ns()?;
            let pause = libc::timespec {
                tv_sec: 0,
                tv_nsec: pause_ns.cast_signed(),
            };
            let count = ready.len() as libc::nfds_t;
            // SAFETY: the array has this many elements; no signal mask.
            let polled = unsafe {
                libc::ppoll(
                    ready.as_mut_ptr(),
                    count,
                    &raw const pause,
                    std::ptr::null(),
                )
            };
            check(polled)?;
        }
    }

    /// Resets what waits in their queues: a SYN may have been in flight for long.
    fn close_listeners(&self, listeners: &[RawFd]) -> Result<()> {
        for &listener in listeners {
            let whose = (0, 0, End::Server);
            let closing = || inet::close(listener);
            self.ledger
                .doing(whose, StepAction::CloseListener, closing)?;
        }
        Ok(())
    }

    /// Runs everything that is due now.
    pub fn do_what_is_due(&mut self) -> Result<()> {
        while let Some(due) = self.due()? {
            if let Due::Step(place) = due {
                self.step(place)?;
            }
        }
        Ok(())
    }

    /// Whether no connection is open.
    pub fn is_idle(&self) -> bool {
        self.open() == 0
    }

    /// Accepts one connection, if there is one. The caller keeps the number of connections of each life.
    ///
    /// # Errors
    /// If accept() fails, except for lack of a connection.
    pub fn accept(&mut self, listener: RawFd, connections: &mut HashMap<Life, u8>) -> Result<bool> {
        let before_ns = clock::monotonic_ns()?;
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let (fd, remote) = match inet::accept_from(listener, flags) {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let after_ns = clock::monotonic_ns()?;
        let Some(life) = plan::life_at(inet::unmapped(remote).ip()) else {
            bail!("{remote} is no life's address");
        };
        let connection = connections.entry(life).or_insert(0);
        let whose = (life, *connection, End::Server);
        *connection += 1;
        self.ledger.write(LedgerEntry {
            life,
            connection: whose.1,
            end: End::Server,
            action: StepAction::Accept,
            pid: std::process::id().cast_signed(),
            before_ns,
            after_ns,
            errno: 0,
        });
        self.hold(whose, fd)?;
        Ok(true)
    }
}
