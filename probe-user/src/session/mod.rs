//! The live loop: ring buffer → decode → reset correlation → enrich → filter → sink.

pub mod auditor;
pub mod budgets;
mod doubtful;
mod exit_watch;
pub mod inferred_ends;
mod kernel_totals;
pub mod launch;
pub mod losses;
pub mod observer;
pub mod open;
mod pool_holders;
mod port_watch;
pub mod ring;
pub mod sink;
pub mod socket_scan;
pub mod stop;
pub mod taken_back;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use twtrace_core::event::decode::Decoder;
use twtrace_core::event::kernel_reason::KernelReasons;
use twtrace_core::event::reset_correlation::ResetCorrelation;
use twtrace_core::event::{Event, Lost, Moment, Process};
use twtrace_core::filter::Filter;
use twtrace_core::hooks::{Tiers, resets_seen, sees_accept, sees_ends, sees_refused_reuse};
use twtrace_core::model::audit::{CountedAt, Sight};
use twtrace_core::model::tally::TracingStart;
use twtrace_wire::Probe;

use crate::clock::{self, monotonic_ns};
use crate::enrich::{Enricher, pid_namespace};
use crate::host;
use crate::probe::{self, Attached, ProbeOptions};
use doubtful::Doubtful;
use inferred_ends::LiveInferredEnds;
use losses::UnreportedLosses;
use ring::Ring;
use sink::Sink;
use taken_back::TakenBack;

/// How often the offset of the wall clock is measured and losses are checked.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// A mini-socket's timer that is not restarted within this time was stopped for good, nanoseconds.
const CANCELLED_FOR_NS: u64 = 1_000_000_000;

/// Attached probes, and what turns their records into events.
pub struct Session {
    attached: Attached,
    ring: Ring,
    decoder: Decoder,
    reset_correlation: ResetCorrelation,
    /// Always empty between calls; kept for its capacity.
    released: Vec<Event>,
    enricher: Enricher,
    filter: Filter,
    losses: UnreportedLosses,
    doubtful: Doubtful,
    taken_back: TakenBack,
    /// `None` if ends of TIME_WAITs are seen.
    inferred_ends: Option<LiveInferredEnds>,
    housekept: Instant,
    start: Moment,
}

impl Session {
    /// Attaches the probes. They count and report from [`Self::begin_counting`] on. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the kernel refuses the probes, or a clock.
    pub fn attach(options: &ProbeOptions, filter: Filter) -> Result<Self> {
        let options = ProbeOptions {
            existing_sockets: open::expected_sockets(),
            ..options.clone()
        };
        let mut attached = probe::attach(&options)?;
        let hidden = (!pid_namespace::shows_all()).then_some(pid_namespace::LOST);
        for loss in [hidden, clock::doubt()].into_iter().flatten() {
            log::warn!("{loss}");
            attached.add_loss(loss);
        }
        let mut source = attached.take_ring()?;
        let descriptor = source
            .as_fd()
            .try_clone_to_owned()
            .context("duplicating the ring buffer's descriptor")?;
        let next = move |take: &mut dyn FnMut(&[u8])| match source.next() {
            Some(record) => {
                take(&record);
                true
            }
            None => false,
        };
        let clocks = clock::measure().context("reading the clocks")?;
        let mono_ns = monotonic_ns().context("reading the clocks")?;
        Ok(Self {
            ring: Ring::new(descriptor, next).context("polling the ring buffer")?,
            decoder: Decoder {
                clocks,
                kernel_reasons: KernelReasons::new(|code| attached.reset_reason_name(code)),
                sees_refused_reuse: sees_refused_reuse(attached.tiers()),
                sees_accept: sees_accept(attached.tiers()),
                netns_order: Default::default(),
            },
            reset_correlation: ResetCorrelation::default(),
            released: Vec::new(),
            enricher: Enricher::new(clocks),
            filter,
            losses: UnreportedLosses::default(),
            doubtful: Doubtful::default(),
            taken_back: TakenBack::default(),
            inferred_ends: (!sees_ends(attached.tiers()))
                .then(|| LiveInferredEnds::new(options.max_sockets)),
            housekept: Instant::now(),
            start: Moment {
                ts: clocks.of_monotonic(mono_ns),
                mono_ns,
            },
            attached,
        })
    }

    /// Makes all probes count and report from now on, at the same moment.
    ///
    /// # Errors
    /// If the kernel refuses a clock or a map.
    pub fn begin_counting(&mut self) -> Result<()> {
        let mono_ns = self.attached.begin_counting()?;
        self.start = Moment {
            ts: self.decoder.clocks.of_monotonic(mono_ns),
            mono_ns,
        };
        self.housekept = Instant::now();
        Ok(())
    }

    /// When counting began.
    pub fn started(&self) -> Moment {
        self.start
    }

    /// How tracing began.
    pub fn tracing_start(&self) -> TracingStart {
        TracingStart {
            at: self.start,
            host: host::read(),
            tiers: self.tiers().clone(),
        }
    }

    /// The tier that was chosen for each question.
    pub fn tiers(&self) -> &Tiers {
        self.attached.tiers()
    }

    pub fn attached(&self) -> &Attached {
        &self.attached
    }

    /// Looks up the details of a process.
    pub fn complete(&mut self, process: &mut Process) {
        let Self {
            enricher, attached, ..
        } = self;
        enricher.complete(process, &|directory| attached.process_now(directory));
    }

    /// Looks up the details of an event's processes.
    fn complete_event(&mut self, event: &mut Event) {
        let Self {
            enricher, attached, ..
        } = self;
        enricher.complete_event(event, &|directory| attached.process_now(directory));
    }

    /// Applies another filter from here on.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = filter;
    }

    /// What the audit can compare: when this kernel counts mini-sockets, and what the hooks see.
    pub fn sight(&self) -> Sight {
        let ends_seen = self.sees_ends();
        Sight {
            counted: if self.attached.counts_time_wait_at_expiry() {
                CountedAt::Expiry { ends_seen }
            } else {
                CountedAt::Birth { ends_seen }
            },
            resets: resets_seen(self.tiers()),
        }
    }

    /// Whether ends of mini-sockets are seen, and not only presumed.
    pub fn sees_ends(&self) -> bool {
        self.inferred_ends.is_none()
    }

    /// The current time, on both clocks.
    ///
    /// # Errors
    /// If the kernel refuses a clock.
    pub fn now(&self) -> Result<Moment> {
        let mono_ns = monotonic_ns().context("reading the clocks")?;
        Ok(Moment {
            ts: self.decoder.clocks.of_monotonic(mono_ns),
            mono_ns,
        })
    }

    /// Waits until there may be something to drain. Can be cancelled.
    ///
    /// # Errors
    /// If the ring buffer can't be polled.
    pub async fn ready(&mut self) -> Result<()> {
        self.ring
            .ready()
            .await
            .context("waiting for the ring buffer")
    }

    /// The same, but not before `moment`.
    pub async fn ready_after(&mut self, moment: Instant) -> Result<()> {
        tokio::time::sleep_until(moment.into()).await;
        self.ready().await
    }

    /// Takes one batch out of the ring buffer, and passes the events that are final to the sink. True if the ring
    /// buffer was empty then.
    ///
    /// # Errors
    /// If the sink refuses, or a clock or map can't be read.
    pub fn drain(&mut self, sink: &mut dyn Sink) -> Result<bool> {
        self.housekeeping(sink)?;
        self.enricher.keep_up();
        let now = self.now()?;
        let (batch, is_empty) = self.ring.take_batch();
        let mut seen_until_ns = 0;
        for record in batch.records() {
            match self.decoder.decode(record) {
                Ok(decoded) => {
                    seen_until_ns = decoded.event.mono_ns.max(seen_until_ns);
                    self.reset_correlation.push(decoded);
                }
                Err(error) => {
                    log::debug!("a record of the ring buffer: {error}");
                    self.losses.undecoded += 1;
                }
            }
        }
        if is_empty {
            // Whatever was written before the batch was taken is in it, or in an earlier one.
            seen_until_ns = seen_until_ns.max(now.mono_ns);
        }
        self.deliver(seen_until_ns, sink)?;
        Ok(is_empty)
    }

    /// Passes events to the sink that no later record can replace any more, given that every record before
    /// `seen_until_ns` was taken.
    fn deliver(&mut self, seen_until_ns: u64, sink: &mut dyn Sink) -> Result<()> {
        if self.reset_correlation.waits_for_replacement() {
            self.count_losses()?;
        }
        let mut events = std::mem::take(&mut self.released);
        events.extend(self.reset_correlation.release(seen_until_ns));
        for event in events.drain(..) {
            if let Some(inferred_ends) = &mut self.inferred_ends
                && let Some(end) = inferred_ends.note(&event, self.decoder.clocks)
            {
                self.forward(end, sink)?;
            }
            self.forward(event, sink)?;
        }
        self.released = events;
        Ok(())
    }

    fn forward(&mut self, mut event: Event, sink: &mut dyn Sink) -> Result<()> {
        sink.any_event(&event);
        self.meet(event.process.as_ref())?;
        let asks_for_place = self.filter.asks_for_place();
        if asks_for_place {
            self.complete_event(&mut event);
        }
        if self.filter.matches(&event) {
            if !asks_for_place {
                self.complete_event(&mut event);
            }
            sink.event(&event)?;
        }
        Ok(())
    }

    /// Finds out whether a process belongs to the followed command.
    fn meet(&self, process: Option<&Process>) -> Result<()> {
        if let (Some(family), Some(process)) = (&self.filter.family, process) {
            family.meet(process.key, |key| self.attached.is_descendant(key))?;
        }
        Ok(())
    }

    fn forward_all(&mut self, events: Vec<Event>, sink: &mut dyn Sink) -> Result<()> {
        events
            .into_iter()
            .try_for_each(|event| self.forward(event, sink))
    }

    /// Drains what was written so far, and passes everything to the sink, including events that could still be
    /// replaced.
    ///
    /// # Errors
    /// As [`Self::drain`].
    pub fn finish(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let end = self.now()?.mono_ns;
        // New records may arrive as fast as they are taken, so the loop needs an end.
        while !self.drain(sink)?
            && self
                .reset_correlation
                .latest_mono_ns()
                .is_none_or(|latest| latest < end)
        {}
        self.take_cancelled(u64::MAX)?;
        // No more records will arrive.
        self.deliver(u64::MAX, sink)?;
        let (now_ns, clocks) = (self.now()?.mono_ns, self.decoder.clocks);
        if let Some(inferred_ends) = &mut self.inferred_ends {
            let ends = inferred_ends.correct(now_ns, clocks);
            self.forward_all(ends, sink)?;
        }
        self.report_losses(sink)
    }

    fn housekeeping(&mut self, sink: &mut dyn Sink) -> Result<()> {
        if self.housekept.elapsed() < HOUSEKEEPING {
            return Ok(());
        }
        self.housekept = Instant::now();
        clock::remeasure(&mut self.decoder.clocks).context("reading the clocks")?;
        self.attached.flush_log();
        self.learn_pids();
        let now_ns = self.now()?.mono_ns;
        self.take_cancelled(now_ns.saturating_sub(CANCELLED_FOR_NS))?;
        let clocks = self.decoder.clocks;
        if let Some(inferred_ends) = &mut self.inferred_ends {
            let ends = inferred_ends.tick(now_ns, clocks);
            self.forward_all(ends, sink)?;
        }
        self.report_losses(sink)
    }

    /// Takes ends of mini-sockets by a stopped timer. Only time distinguishes them from timers that are restarted.
    fn take_cancelled(&mut self, before_ns: u64) -> Result<()> {
        for ended in self.attached.take_cancelled(before_ns)? {
            match self.decoder.end(&ended) {
                Ok(decoded) => self.reset_correlation.push(decoded),
                Err(error) => {
                    log::debug!("a stopped timer: {error}");
                    self.losses.undecoded += 1;
                }
            }
        }
        Ok(())
    }

    fn report_losses(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let now = self.now()?;
        let lost = self.count_losses()?;
        for (probe, count) in self.losses.since_last(&lost) {
            sink.lost(&Lost {
                ts: now.ts,
                mono_ns: now.mono_ns,
                event: Default::default(),
                probe,
                count,
            })?;
        }
        Ok(())
    }

    /// What was lost so far, by probe. Takes out the events whose replacement may be among it.
    fn count_losses(&mut self) -> Result<[u64; Probe::COUNT]> {
        let mut lost = self.attached.lost()?;
        self.doubtful.take(&mut lost, &mut self.reset_correlation);
        if let Some(inferred_ends) = &self.inferred_ends {
            lost[Probe::TimeWaitEnd as usize] += inferred_ends.without_room();
        }
        Ok(lost)
    }
}
