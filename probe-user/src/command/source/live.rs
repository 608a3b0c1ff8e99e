//! Traces live: attaches, takes a sample, passes everything to a sink until the end, and samples again.

use std::borrow::Cow;
use std::ffi::OsString;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use twtrace_core::filter::{Family, Filter};
use twtrace_core::model::observation::{Observation, ObservationData};

use crate::allocator;
use crate::cli::{FilterArgs, ProbeArgs};
use crate::command::{drop_privileges, open_namespace_helper};
use crate::privilege::{self, Keep};
use crate::probe::{ProbeOptions, StackOptions};
use crate::scan::namespace_helper::NamespaceHelper;
use crate::session::Session;
use crate::session::launch::Launch;
use crate::session::observer::{self, Observer, Wants};
use crate::session::sink::{Sink, Tee};
use crate::session::stop::Stop;
use crate::stack::Stacks;
use crate::system_calls::Extent;

/// Shortest pause between two drains of the ring buffer if tracing runs for long: a wake-up for each event would cost
/// more than the events.
pub const DRAIN: Duration = Duration::from_millis(25);
/// Readings of the audit's counters, at most. The last one is used as it is.
const READINGS: usize = 10;
/// Between two such readings.
const READING_PAUSE: Duration = Duration::from_millis(20);

/// What to trace, and how.
#[derive(Clone, Copy, Debug)]
pub struct LiveOptions<'a> {
    /// Which events pass.
    pub filter: &'a FilterArgs,
    /// Options of the probes.
    pub probing: &'a ProbeArgs,
    /// What to sample when tracing begins and ends.
    pub wants: Wants,
    /// How often to sample in between, and to report the audit; `None`: not at all.
    pub sample_interval: Option<Duration>,
    /// Maximum number of different user stacks; `None`: none.
    pub max_stacks: Option<u32>,
    /// Capabilities to keep once tracing has begun.
    pub keep: Keep,
    /// Whether tracing runs for weeks: counts are then taken out of the kernel each time, and removed namespaces are
    /// forgotten.
    pub is_service: bool,
    /// A command to run and to follow alone until it ends; empty: none.
    pub command: &'a [OsString],
}

/// Attached probes, and samples of the kernel beside them.
pub struct Live {
    pub session: Session,
    /// What ends tracing.
    pub stop: Stop,
    pub filter: Filter,
    /// Options that the probes were attached with.
    pub probing: ProbeOptions,
    observer: Observer,
    sample_interval: Option<Duration>,
    launch: Option<Launch>,
    /// `None` if stacks are not requested.
    stacks: Option<Stacks>,
    keep: Keep,
    is_service: bool,
}

impl Live {
    /// Attaches the probes, scans what is open, and begins to count: probes and audit at the same moment.
    ///
    /// # Errors
    /// If the filter asks for what does not exist, or the kernel refuses the probes, their maps or a clock.
    pub fn start(options: LiveOptions<'_>) -> Result<Self> {
        let launch = Launch::prepare(options.command)?;
        let helper: Option<Rc<NamespaceHelper>> = match options.keep {
            Keep::Nothing | Keep::Maps | Keep::Reading | Keep::ReadingAndWriting => None,
            Keep::Naming | Keep::NamingAndWriting => open_namespace_helper(),
        };
        let stacks = options.max_stacks.map(|_| Stacks::open());
        let stop = Stop::listen().context("listening for signals")?;
        let mut filter = options.filter.resolve()?;
        let mut probing = options.probing.options();
        probing.stacks = options.max_stacks.map(|max_stacks| StackOptions {
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
        // Rows by destination are built from events.
        probing.tell_special = true;
        let mut session = Session::attach(&probing, filter.clone())?;
        session.adopt_open(helper.as_ref(), &filter.netns)?;
        allocator::give_back();
        let mut observer = Observer::new(&session, helper, &filter.netns, options.wants);
        // As close together as possible: only the kernel's side may have what it counts in between.
        observer.read_before_start(&session)?;
        session.begin_counting()?;
        observer.read_at_start(&session)?;
        Ok(Self {
            session,
            stop,
            filter,
            probing,
            observer,
            sample_interval: options.sample_interval,
            launch,
            stacks,
            keep: options.keep,
            is_service: options.is_service,
        })
    }

    /// Takes the first sample, starts the command, and drops privileges.
    ///
    /// # Errors
    /// If the sink refuses, the kernel refuses a map or a clock, or the command can't be run.
    pub fn begin(&mut self, sink: &mut dyn Sink) -> Result<()> {
        forward(sink, self.observer.sample(&mut self.session)?)?;
        if self.observer.compares_tables() {
            forward(sink, [self.observer.sample_close_wait(&mut self.session)?])?;
        }
        let launch = self.launch.take();
        if let Some(launch) = &launch {
            self.stop.launch(&mut self.session, launch)?;
        }
        // Not earlier: the command starts with all privileges.
        self.drop_privileges(launch.is_some());
        Ok(())
    }

    fn drop_privileges(&self, has_command: bool) {
        let keep = match self.keep {
            Keep::Nothing if !self.reads_maps_without_capabilities() => {
                log::warn!("this kernel asks for CAP_BPF when maps are read, so that is kept");
                Keep::Maps
            }
            keep => keep,
        };
        // Other threads of a service have fewer privileges.
        let extent = match self.is_service {
            true => Extent::Thread,
            false => Extent::Process,
        };
        drop_privileges(keep, extent, has_command);
    }

    fn reads_maps_without_capabilities(&self) -> bool {
        let attempt = || self.session.attached().lost().is_ok();
        privilege::works_without(attempt).unwrap_or_else(|error| {
            log::warn!("can't lay down capabilities: {error}");
            false
        })
    }

    /// Passes on what is there, and takes a sample if one is due. To be called when [`Session::ready`] returns.
    pub fn step(&mut self, sink: &mut dyn Sink) -> Result<()> {
        self.drain(sink)?;
        // Without delay: the process that has the port may close it.
        forward(sink, self.observer.port_holders(&mut self.session, false)?)?;
        forward(sink, self.observer.exits(&mut self.session, false)?)?;
        if let Some(stacks) = &mut self.stacks {
            // Without delay: the process may be short-lived.
            stacks.resolve_some(self.session.attached())?;
        }
        self.observer.keep_up(&self.session)?;
        if let Some(interval) = self.sample_interval
            && self.observer.is_sample_due(interval)
        {
            self.sample(sink)?;
        }
        Ok(())
    }

    /// Samples everything, including the audit.
    pub fn sample(&mut self, sink: &mut dyn Sink) -> Result<()> {
        forward(sink, self.observer.sample(&mut self.session)?)?;
        forward(sink, self.observer.sample_tables(&mut self.session)?)?;
        forward(sink, [self.observer.audit_now(&self.session)?])?;
        if self.is_service {
            self.observer.forget_gone(&mut self.session)?;
        }
        Ok(())
    }

    /// Passes on everything that had been written when this was called, up to a limit.
    pub fn catch_up(&mut self, sink: &mut dyn Sink) -> Result<()> {
        /// One batch each. Under a load that fills batches as fast as they are taken, there is no end.
        const BATCHES: usize = 64;
        for _ in 0..BATCHES {
            if self.drain(sink)? {
                break;
            }
        }
        Ok(())
    }

    /// Passes on what the kernel side counted so far; for a service, since the last time.
    pub fn totals(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let totals = if self.is_service {
            observer::taken_totals(&mut self.session)?
        } else {
            observer::totals(&mut self.session)?
        };
        forward(sink, observer::family(&mut self.session)?)?;
        forward(sink, [totals])
    }

    /// Applies another filter from here on.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = filter.clone();
        self.session.set_filter(filter);
    }

    /// Takes the last sample, and passes on everything that is left.
    pub async fn finish(&mut self, sink: &mut dyn Sink) -> Result<()> {
        forward(sink, self.observer.sample(&mut self.session)?)?;
        self.observer.begin_audit(&self.session)?;
        self.observer.audit_step(&self.session)?;
        self.settle(sink).await?;
        let seen = observer::seen_by_netns(&self.session)?;
        self.totals(sink)?;
        self.session
            .finish(&mut Tee(&mut self.observer, &mut *sink))?;
        let end = self.session.now()?;
        forward(sink, self.observer.port_holders(&mut self.session, true)?)?;
        forward(sink, self.observer.exits(&mut self.session, true)?)?;
        if let Some(stacks) = &mut self.stacks {
            forward(sink, [observer::stacks(&mut self.session, stacks, end)?])?;
        }
        forward(sink, [self.observer.audit(&self.session, &seen, end)])?;
        forward(sink, self.observer.sample_tables(&mut self.session)?)?;
        let last = Observation {
            at: end,
            data: ObservationData::End,
        };
        forward(sink, [last])
    }

    /// Reads the audit's counters until they no longer change, up to [`READINGS`] times.
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

fn forward(sink: &mut dyn Sink, observations: impl IntoIterator<Item = Observation>) -> Result<()> {
    observations
        .into_iter()
        .try_for_each(|observation| sink.observed(Cow::Owned(observation)))
}
