//! Tracing live: attaches, looks at what there is, hands everything to a sink until the end, and looks again.

use std::borrow::Cow;
use std::ffi::OsString;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use twtrace_core::filter::{Family, Filter};
use twtrace_core::model::observation::{Observation, Seen};

use crate::allocator;
use crate::cli::{FilterArgs, ProbeArgs};
use crate::command::{drop_privileges, open_gate};
use crate::privilege::{self, Keep};
use crate::probe::{ProbeOptions, StackOptions};
use crate::scan::namespace_helper::NamespaceHelper;
use crate::session::Session;
use crate::session::launch::Launch;
use crate::session::observer::{self, Observer, Wants};
use crate::session::sink::{Sink, Tee};
use crate::session::stop::Stop;
use crate::stack::Stacks;

/// Where tracing goes on for long, the ring buffer is drained at most that often: a wake-up for each event would cost
/// more than the events.
pub const DRAIN: Duration = Duration::from_millis(25);
/// Readings of the audit's counters before they are taken as they are.
const READINGS: usize = 10;
/// Between them.
const READING_PAUSE: Duration = Duration::from_millis(20);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Which events.
    pub filter: &'a FilterArgs,
    /// How to probe.
    pub probing: &'a ProbeArgs,
    /// What is looked at when tracing begins and ends.
    pub wants: Wants,
    /// How often it is looked at in between, and the audit told; `None`: not at all.
    pub look_interval: Option<Duration>,
    /// How many different user stacks are kept; `None`: none.
    pub max_stacks: Option<u32>,
    /// Capabilities kept when it has begun.
    pub keep: Keep,
    /// Whether it goes on for weeks: what the kernel side counts is taken from it each time, and namespaces that
    /// are gone are forgotten.
    pub is_service: bool,
    /// What to run, and to follow alone until it ends; empty: nothing.
    pub command: &'a [OsString],
}

/// Attached probes, and looks at the kernel beside them.
pub struct Live {
    /// The probes.
    pub session: Session,
    /// What ends it.
    pub stop: Stop,
    /// The filter in force.
    pub filter: Filter,
    /// How the probes were asked for.
    pub probing: ProbeOptions,
    observer: Observer,
    look_interval: Option<Duration>,
    launch: Option<Launch>,
    /// `None` where they are not asked for.
    stacks: Option<Stacks>,
    keep: Keep,
    is_service: bool,
}

impl Live {
    /// Attaches the probes, scans what is open, and begins to count: probes and audit at the same moment.
    ///
    /// # Errors
    /// When the filter asks for what is not there, or the kernel refuses the probes, their maps or a clock.
    pub fn start(order: Order<'_>) -> Result<Self> {
        let launch = Launch::prepare(order.command)?;
        let helper: Option<Rc<NamespaceHelper>> = match order.keep {
            Keep::Nothing | Keep::Maps => None,
            Keep::Naming | Keep::NamingAndWriting => open_gate(),
        };
        let stop = Stop::listen().context("listening for signals")?;
        let mut filter = order.filter.resolve()?;
        let mut probing = order.probing.options();
        probing.stacks = order.max_stacks.map(|max_stacks| StackOptions {
            max_stacks,
            slow_port_ns: probing.slow_port_ns,
        });
        if launch.is_some() {
            filter.family = Some(Family::default());
            probing.follows_command = true;
        }
        if filter.needs_each_search() {
            probing.slow_port_ns = 0;
        }
        // Rows by destination are made of events.
        probing.tell_special = true;
        let mut session = Session::attach(&probing, filter.clone())?;
        session.adopt_open(helper.as_ref(), &filter.netns)?;
        allocator::give_back();
        let mut observer = Observer::new(&session, helper, &filter.netns, order.wants);
        // Close together: what the kernel counts in between may be on its side alone.
        observer.read_before_start(&session)?;
        session.begin_counting()?;
        observer.read_at_start(&session)?;
        Ok(Self {
            session,
            stop,
            filter,
            probing,
            observer,
            look_interval: order.look_interval,
            launch,
            stacks: order.max_stacks.map(|_| Stacks::default()),
            keep: order.keep,
            is_service: order.is_service,
        })
    }

    /// Looks for the first time, starts the command, and drops privileges.
    ///
    /// # Errors
    /// When the sink refuses, the kernel a map or a clock, or the command can't be run.
    pub fn begin(&mut self, sink: &mut dyn Sink) -> Result<()> {
        tell(sink, self.observer.look(&self.session)?)?;
        if let Some(launch) = self.launch.take() {
            self.stop.launch(&mut self.session, &launch)?;
        }
        // Not sooner: the command was to have all of them.
        self.drop_privileges();
        Ok(())
    }

    fn drop_privileges(&self) {
        drop_privileges(match self.keep {
            Keep::Nothing if !self.reads_maps_without_capabilities() => {
                log::warn!("this kernel asks for CAP_BPF when maps are read, so that is kept");
                Keep::Maps
            }
            keep => keep,
        });
    }

    fn reads_maps_without_capabilities(&self) -> bool {
        let attempt = || self.session.attached().lost().is_ok();
        privilege::works_without(attempt).unwrap_or_else(|error| {
            log::warn!("can't lay down capabilities: {error}");
            false
        })
    }

    /// Hands on what is there, and looks where that is due. To be called when [`Session::ready`] says so.
    pub fn step(&mut self, sink: &mut dyn Sink) -> Result<()> {
        self.drain(sink)?;
        if let Some(stacks) = &mut self.stacks {
            // Soon: the process may not live long.
            stacks.look(self.session.attached())?;
        }
        self.observer.keep_up(&self.session)?;
        if let Some(interval) = self.look_interval
            && self.observer.is_look_due(interval)
        {
            self.look(sink)?;
        }
        Ok(())
    }

    /// Looks at everything, the audit included.
    pub fn look(&mut self, sink: &mut dyn Sink) -> Result<()> {
        tell(sink, self.observer.look(&self.session)?)?;
        tell(sink, self.observer.look_at_tables(&mut self.session)?)?;
        tell(sink, [self.observer.audit_now(&self.session)?])?;
        if self.is_service {
            self.observer.forget_gone(&mut self.session)?;
        }
        Ok(())
    }

    /// Hands on everything that had been written when this was called, or as much of it as is worth a wait.
    pub fn catch_up(&mut self, sink: &mut dyn Sink) -> Result<()> {
        /// A batch each. Under a load that fills them as fast, there is no end to it.
        const BATCHES: usize = 64;
        for _ in 0..BATCHES {
            if self.drain(sink)? {
                break;
            }
        }
        Ok(())
    }

    /// Hands on what the kernel side counted so far; of a service, since the last time.
    pub fn totals(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let totals = if self.is_service {
            observer::taken_totals(&mut self.session)?
        } else {
            observer::totals(&mut self.session)?
        };
        tell(sink, observer::family(&mut self.session)?)?;
        tell(sink, [totals])
    }

    /// Shows other events from here on.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = filter.clone();
        self.session.set_filter(filter);
    }

    /// Looks for the last time, and hands on everything that is left.
    pub async fn finish(&mut self, sink: &mut dyn Sink) -> Result<()> {
        tell(sink, self.observer.look(&self.session)?)?;
        self.observer.begin_audit(&self.session)?;
        self.observer.audit_step(&self.session)?;
        self.settle(sink).await?;
        let seen = observer::seen_by_netns(&self.session)?;
        self.totals(sink)?;
        self.session
            .finish(&mut Tee(&mut self.observer, &mut *sink))?;
        let end = self.session.now()?;
        if let Some(stacks) = &mut self.stacks {
            tell(sink, [observer::stacks(&mut self.session, stacks, end)?])?;
        }
        tell(sink, [self.observer.audit(&self.session, &seen, end)])?;
        tell(sink, self.observer.look_at_tables(&mut self.session)?)?;
        let last = Observation {
            at: end,
            seen: Seen::End,
        };
        tell(sink, [last])
    }

    /// Reads the audit's counters until they stand still, or for as long as is worth it.
    async fn settle(&mut self, sink: &mut dyn Sink) -> Result<()> {
        for _ in 0..READINGS {
            self.drain(sink)?;
            tokio::time::sleep(READING_PAUSE).await;
            if self.observer.audit_step(&self.session)? {
                break;
            }
        }
        Ok(())
    }

    fn drain(&mut self, sink: &mut dyn Sink) -> Result<bool> {
        self.session.drain(&mut Tee(&mut self.observer, sink))
    }
}

fn tell(sink: &mut dyn Sink, observations: impl IntoIterator<Item = Observation>) -> Result<()> {
    observations
        .into_iter()
        .try_for_each(|observation| sink.observed(Cow::Owned(observation)))
}
