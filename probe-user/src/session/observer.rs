//! Samples of the kernel beside its events: when tracing begins, at intervals, and when it ends.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use twtrace_core::event::{Event, Lost, Moment, Process};
use twtrace_core::model::budget::servers::ServerPorts;
use twtrace_core::model::observation::{KernelTotals, Observation, ObservationData};
use twtrace_core::model::socket::NetnsSockets;
use twtrace_wire::{NetnsKey, ProcessKey};

use super::auditor::{Auditor, SeenByNetns};
use super::exit_watch::ExitWatch;
use super::port_watch::PortWatch;
use super::sink::Sink;
use super::{Session, budgets, pool_holders, socket_scan};
use crate::allocator;
use crate::enrich::{netns_names, pid_namespace};
use crate::scan::namespace;
use crate::scan::namespace_helper::NamespaceHelper;
use crate::stack::Stacks;

/// How often a namespace that was found late is read, to find out whether it existed before tracing began.
const READINGS_OF_LATE: usize = 5;

/// What to sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Sockets and settings, for budgets of local ports.
    pub sockets: bool,
    /// Settings and counters of namespaces.
    pub namespaces: bool,
}

impl Wants {
    pub const ALL: Self = Self {
        sockets: true,
        namespaces: true,
    };
}

/// Takes samples, and keeps what they need. From the events that pass it learns which namespaces to sample.
#[derive(Debug)]
pub struct Observer {
    helper: Option<Rc<NamespaceHelper>>,
    /// Namespaces to sample; all if it is empty.
    only: Vec<u32>,
    wants: Wants,
    auditor: Auditor,
    servers: ServerPorts,
    ports: PortWatch,
    exits: ExitWatch,
    /// Whether the last sample found port pools that live sockets nearly fill.
    had_crowds: bool,
    /// Sockets that nobody acknowledged at the last sample.
    unacknowledged: Vec<NetnsSockets>,
    /// When the last sample of sockets and namespaces ended, and how long it took.
    sampled: (Instant, Duration),
}

impl Observer {
    pub fn new(
        session: &Session,
        helper: Option<Rc<NamespaceHelper>>,
        only: &[u32],
        wants: Wants,
    ) -> Self {
        let auditor = Auditor::begin(session.sight(), &identify(session), helper.clone());
        // Namespaces that exist now are the first with their numbers.
        for key in auditor.namespaces() {
            session.netns_nth(key);
        }
        Self {
            helper,
            only: only.to_vec(),
            wants,
            auditor,
            servers: ServerPorts::default(),
            ports: PortWatch::default(),
            exits: ExitWatch::default(),
            had_crowds: false,
            unacknowledged: Vec::new(),
            sampled: (Instant::now(), Duration::ZERO),
        }
    }

    /// Samples sockets and namespaces, with the names of namespaces.
    ///
    /// # Errors
    /// If a clock can't be read.
    pub fn sample(&mut self, session: &mut Session) -> Result<Vec<Observation>> {
        let began = Instant::now();
        let mut observations = vec![observation(
            session.now()?,
            ObservationData::Names(netns_names::find()),
        )];
        if self.wants.sockets {
            // A list of a million sockets takes 16 MiB: first free what batches of events have left.
            allocator::give_back();
            let at = session.now()?;
            let of_bind = || session.attached().ports_of_bind();
            let budgets::Sampled {
                mut samples,
                crowds,
                unacknowledged,
            } = budgets::sample(self.helper.as_deref(), &self.only, &self.servers, of_bind);
            for netns in hidden(session, &self.only)? {
                samples
                    .entry(netns)
                    .or_insert_with(|| Err(twtrace_core::model::audit::HIDDEN.to_owned()));
            }
            self.unacknowledged = unacknowledged;
            observations.push(observation(at, ObservationData::Sockets(samples)));
            let is_empty = crowds.is_empty();
            // An empty list replaces one that is not.
            if !is_empty || self.had_crowds {
                let holders = pool_holders::find(crowds, session);
                observations.push(observation(at, ObservationData::PoolHolders(holders)));
            }
            self.had_crowds = !is_empty;
        }
        if self.wants.namespaces {
            let samples = namespace::sample(self.helper.as_deref(), &self.only);
            observations.push(observation(
                session.now()?,
                ObservationData::Namespaces(samples),
            ));
        }
        self.sampled = (Instant::now(), began.elapsed());
        Ok(observations)
    }

    /// Whether the next sample is due: after `interval`, or later if samples would take too much of the time.
    pub fn is_sample_due(&self, interval: Duration) -> bool {
        /// A sample may take one part in this many of the time.
        const SHARE: u32 = 100;
        /// The same if somebody watches the screen, and waits for it.
        const SHARE_IF_WATCHED: u32 = 10;
        /// Samples are this frequent only then.
        const WATCHED: Duration = Duration::from_secs(5);
        let (at, took) = self.sampled;
        let share = if interval < WATCHED {
            SHARE_IF_WATCHED
        } else {
            SHARE
        };
        at.elapsed() >= interval.max(took * share)
    }

    /// Connections in CLOSE_WAIT, and the memory of the kernel's tables.
    ///
    /// # Errors
    /// If a clock can't be read.
    pub fn sample_tables(&self, session: &mut Session) -> Result<Vec<Observation>> {
        let close_wait = self.sample_close_wait(session)?;
        let memory = ObservationData::Memory(socket_scan::caches());
        let at = close_wait.at;
        Ok(vec![close_wait, observation(at, memory)])
    }

    /// Connections in CLOSE_WAIT, the accept queues of listeners, and the holders of the sockets that nobody acknowledged.
    ///
    /// # Errors
    /// If a clock can't be read.
    pub fn sample_close_wait(&self, session: &mut Session) -> Result<Observation> {
        let at = session.now()?;
        let hidden = hidden(session, &self.only)?;
        let close_wait = socket_scan::close_wait(
            self.helper.as_deref(),
            &self.only,
            &hidden,
            &self.unacknowledged,
            session,
        );
        Ok(observation(at, ObservationData::CloseWait(close_wait)))
    }

    /// Whether these are also sampled when tracing begins, to be compared.
    pub fn compares_tables(&self) -> bool {
        self.wants.namespaces
    }

    /// Sockets of ports that calls wanted and did not get. `has_ended`: tracing has.
    ///
    /// # Errors
    /// If a clock can't be read.
    pub fn port_holders(
        &mut self,
        session: &mut Session,
        has_ended: bool,
    ) -> Result<Vec<Observation>> {
        let holders = self.ports.list(self.helper.as_deref(), session, has_ended);
        if holders.is_empty() {
            return Ok(Vec::new());
        }
        let at = session.now()?;
        let observations = holders
            .into_iter()
            .map(|holders| observation(at, ObservationData::PortHolders(holders)));
        Ok(observations.collect())
    }

    /// Processes that closed connections and have exited since; an error if a clock can't be read.
    pub fn exits(&mut self, session: &mut Session, has_ended: bool) -> Result<Option<Observation>> {
        let Some(processes) = self.exits.exited_named(session, has_ended) else {
            return Ok(None);
        };
        let at = session.now()?;
        Ok(Some(observation(at, ObservationData::Exited(processes))))
    }

    /// Reads the counters of namespaces that had births, if that is due: they may vanish before the end.
    ///
    /// # Errors
    /// If a map or a clock can't be read.
    pub fn keep_up(&mut self, session: &Session) -> Result<()> {
        let now_ns = session.now()?.mono_ns;
        if self.auditor.is_due(now_ns) {
            let seen = seen_by_netns(session)?;
            self.auditor.read_changed(&seen, now_ns, &identify(session));
            for _ in 0..READINGS_OF_LATE {
                if !self.auditor.has_late() {
                    break;
                }
                let seen = seen_by_netns(session)?;
                self.auditor.read_late(&seen, now_ns, &identify(session));
            }
            self.auditor.audit_late_from_here();
        }
        Ok(())
    }

    /// Reads the audit's counters once more. True when they no longer change.
    pub fn audit_step(&mut self, session: &Session) -> Result<bool> {
        let seen = seen_by_netns(session)?;
        let now_ns = session.now()?.mono_ns;
        Ok(self.auditor.step(&seen, now_ns, &identify(session)))
    }

    /// Reads the kernel's counters before the probes count. To be called just before [`Session::begin_counting`].
    ///
    /// # Errors
    /// If a clock can't be read.
    pub fn read_before_start(&mut self, session: &Session) -> Result<()> {
        let now_ns = session.now()?.mono_ns;
        self.auditor.read_before_start(now_ns, &identify(session));
        Ok(())
    }

    /// Reads the counters again just after that: the probes may lack what the kernel counted in between.
    ///
    /// # Errors
    /// If a map or a clock can't be read.
    pub fn read_at_start(&mut self, session: &Session) -> Result<()> {
        let seen = seen_by_netns(session)?;
        let now_ns = session.now()?.mono_ns;
        let identify = identify(session);
        self.auditor.read_at_start(&seen, now_ns, &identify);
        for key in self.auditor.namespaces() {
            session.netns_nth(key);
        }
        Ok(())
    }

    /// Begins the last round of readings for an audit.
    pub fn begin_audit(&mut self, session: &Session) -> Result<()> {
        let seen = seen_by_netns(session)?;
        self.auditor.begin_last_round(&seen, &identify(session));
        Ok(())
    }

    /// The audit, given what the probes had counted when its readings ended.
    pub fn audit(&self, session: &Session, seen: &SeenByNetns, at: Moment) -> Observation {
        let nth = |key| session.netns_nth(key);
        let rows = self.auditor.rows(seen, at.mono_ns, &nth);
        observation(at, ObservationData::Audit(rows))
    }

    /// Forgets removed namespaces, here and in the kernel. To be called after an audit if tracing runs for weeks.
    pub fn forget_gone(&mut self, session: &mut Session) -> Result<()> {
        for netns in self.auditor.rotate(&seen_by_netns(session)?) {
            session.forget_netns(netns)?;
        }
        Ok(())
    }

    /// An audit while tracing continues: its counters still change, unlike at the end.
    ///
    /// # Errors
    /// If a map or a clock can't be read.
    pub fn audit_now(&mut self, session: &Session) -> Result<Observation> {
        self.begin_audit(session)?;
        self.audit_step(session)?;
        self.audit_step(session)?;
        Ok(self.audit(session, &seen_by_netns(session)?, session.now()?))
    }
}

impl Sink for Observer {
    fn any_event(&mut self, event: &Event) {
        self.auditor.note(event);
        self.servers.note(event);
        // Those of other namespaces are not shown, so who has their ports is not looked up.
        if self.only.is_empty() || event.netns.is_some_and(|netns| self.only.contains(&netns)) {
            self.ports.note(event);
            self.exits.note(event);
        }
    }

    fn event(&mut self, _: &Event) -> Result<()> {
        Ok(())
    }

    fn lost(&mut self, _: &Lost) -> Result<()> {
        Ok(())
    }

    fn observed(&mut self, _: Cow<'_, Observation>) -> Result<()> {
        Ok(())
    }
}

/// Takes what the kernel side counted since the last call, with the names of its processes.
pub fn taken_totals(session: &mut Session) -> Result<Observation> {
    let at = session.now()?;
    let mut totals = session.take_totals()?;
    totals.named = named(session, &totals);
    Ok(observation(at, ObservationData::Totals(totals)))
}

/// What the kernel side counted so far, with the names of its processes.
///
/// # Errors
/// If a map or a clock can't be read.
pub fn totals(session: &mut Session) -> Result<Observation> {
    let at = session.now()?;
    let mut totals = session.kernel_totals()?;
    totals.named = named(session, &totals);
    Ok(observation(at, ObservationData::Totals(totals)))
}

/// The processes of the followed command, with their names; `None` if none is followed.
pub fn family(session: &mut Session) -> Result<Option<Observation>> {
    let at = session.now()?;
    let Some(members) = session.family()? else {
        return Ok(None);
    };
    let named = members.into_iter().filter_map(|key| session.named(key));
    Ok(Some(observation(
        at,
        ObservationData::Family(named.collect()),
    )))
}

fn named(
    session: &mut Session,
    totals: &KernelTotals,
) -> std::collections::HashMap<ProcessKey, Process> {
    let keys: HashSet<ProcessKey> = totals
        .processes
        .iter()
        .map(|(key, _)| *key)
        .chain(totals.ports.iter().map(|(key, _)| key.process))
        .collect();
    keys.into_iter()
        .filter_map(|key| Some((key, session.named(key)?)))
        .collect()
}

/// What each place in the code led to.
pub fn stacks(session: &mut Session, stacks: &mut Stacks, at: Moment) -> Result<Observation> {
    stacks.resolve_rest(session.attached())?;
    let counts = session.attached().site_counts()?;
    let rows = stacks.rows(&counts, |key| session.named(key));
    Ok(observation(at, ObservationData::Stacks(rows)))
}

/// What the probes counted, by namespace.
pub fn seen_by_netns(session: &Session) -> Result<SeenByNetns> {
    Ok(session.attached().netns()?.into_iter().collect())
}

/// Namespaces in which something was counted and that may be hidden; only those in `only`, if it is not empty. Empty
/// if /proc shows all processes.
fn hidden(session: &Session, only: &[u32]) -> Result<Vec<u32>> {
    if pid_namespace::shows_all() {
        return Ok(Vec::new());
    }
    let seen = seen_by_netns(session)?;
    let counted = seen.keys().map(|key| key.netns);
    Ok(counted
        .filter(|netns| only.is_empty() || only.contains(netns))
        .collect())
}

/// How the session's kernel side distinguishes namespaces.
fn identify(session: &Session) -> impl Fn(&File) -> Option<NetnsKey> + '_ {
    |file| session.attached().netns_identity(file)
}

fn observation(at: Moment, data: ObservationData) -> Observation {
    Observation { at, data }
}
