//! What `report` and `doctor` have in common: counts for a while, and looks at what there is at the end.

use std::time::Duration;

use anyhow::{Context, Result};
use twtrace_wire::EventKind;

use super::{drop_privileges, existing, notice, open_gate};
use crate::cli::{FilterArgs, ProbeArgs};
use crate::event::{Event, Lost, LostBy};
use crate::filter::Filter;
use crate::host::Host;
use crate::model::dealings::Dealings;
use crate::model::report::{Exact, LostRow, MissRow, Report};
use crate::model::{KernelTotals, Model};
use crate::output::quantity;
use crate::probe::{Choice, StackOptions, tell_refused_reuse};
use crate::scan::namespace::{self, Looks};
use crate::session::auditor::{Auditor, SeenByNetns};
use crate::session::budgets::Budgeter;
use crate::session::stop::Stop;
use crate::session::{Session, Sink};
use crate::stack::Stacks;

/// Readings of the audit's counters before they are taken as they are.
const READINGS: usize = 10;
/// Between them.
const READING_PAUSE: Duration = Duration::from_millis(20);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Ends after this long; `None`: with a signal.
    pub duration: Option<Duration>,
    /// Which events.
    pub filter: &'a FilterArgs,
    /// How to probe.
    pub probing: &'a ProbeArgs,
    /// Whether budgets of local ports are worked out.
    pub wants_budgets: bool,
    /// Whether user stacks are kept, and how many.
    pub max_stacks: Option<u32>,
    /// Whether [`Measured::diagnostics`] is.
    pub wants_diagnostics: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Measured {
    /// The report.
    pub report: Report,
    /// What a report does not tell, where it was asked for.
    pub diagnostics: Option<Diagnostics>,
    /// The filter in force.
    pub filter: Filter,
}

/// What checks go by, besides a report.
#[derive(Debug, Default)]
pub struct Diagnostics {
    /// Who did what towards whom.
    pub dealings: Dealings,
    /// Settings and counters when counting began.
    pub before: Looks,
    /// And when it ended.
    pub after: Looks,
}

/// Counts events, and notes where the audit has to look.
struct Counting {
    model: Model,
    auditor: Auditor,
    /// `None` where budgets are not asked for.
    budgeter: Option<Budgeter>,
    /// `None` where they are not asked for.
    diagnostics: Option<Diagnostics>,
}

impl Sink for Counting {
    fn any_event(&mut self, event: &Event) {
        self.auditor.note(event);
        if let Some(budgeter) = &mut self.budgeter {
            budgeter.note(event);
        }
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        self.model.apply(event);
        if let Some(diagnostics) = &mut self.diagnostics {
            diagnostics.dealings.apply(event);
        }
        Ok(())
    }

    fn lost(&mut self, _lost: &Lost) -> Result<()> {
        // The report tells the totals.
        Ok(())
    }
}

/// Counts until the end.
///
/// # Errors
/// When the filter asks for what is not there, or the kernel refuses the probes, their maps or a clock.
pub async fn measure(order: Order<'_>) -> Result<Measured> {
    let shared_gate = open_gate();
    let gate = shared_gate.as_deref();
    let mut stop = Stop::listen().context("listening for signals")?;
    let filter = order.filter.resolve()?;
    let mut probing = order.probing.options();
    probing.stacks = order.max_stacks.map(|max_stacks| StackOptions {
        max_stacks,
        slow_port_ns: probing.slow_port_ns,
    });
    let mut stacks = Stacks::default();
    if !filter.is_by_process() && filter.shows_kind(EventKind::PortAlloc) {
        // The kernel's histograms can't be filtered by address, so every search has to be an event.
        probing.slow_port_ns = 0;
    }
    // Rows by destination are made of events.
    probing.tell_special = true;
    let mut session = Session::start(&probing, filter.clone())?;
    session.adopt_open(shared_gate.as_ref(), &filter.netns)?;
    let mut counting = Counting {
        model: match session.sees_ends() {
            true => Model::new(filter.clone()),
            false => Model::with_presumed_ends(filter.clone()),
        },
        auditor: Auditor::begin(session.counted_at()),
        budgeter: None,
        diagnostics: None,
    };
    if order.wants_budgets {
        counting.budgeter = Some(Budgeter::begin(gate, &filter, session.now()?.mono_ns));
    }
    if order.wants_diagnostics {
        counting.diagnostics = Some(Diagnostics {
            before: namespace::look(gate, &filter.netns),
            ..Diagnostics::default()
        });
    }
    // The first reading may have to enter namespaces that no process is in, which takes privileges.
    read_step(&session, &mut counting)?;
    drop_privileges();
    settle(&mut session, &mut counting).await?;
    counting.auditor.take_baseline();

    stop.after(order.duration);
    notice(&match order.duration {
        Some(duration) => format!(
            "counting for {}; Ctrl-C ends it early",
            quantity::duration(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
        ),
        None => "counting; Ctrl-C ends it and prints the report".to_owned(),
    });
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => break,
            ready = session.ready() => ready?,
        }
        session.drain(&mut counting)?;
        if order.max_stacks.is_some() {
            // Soon: the process may not live long.
            stacks.look(session.attached())?;
        }
        let now_ns = session.now()?.mono_ns;
        if counting.auditor.is_due(now_ns) {
            let seen = seen_by_netns(&session)?;
            counting.auditor.read_changed(&seen, now_ns);
        }
    }

    if let Some(budgeter) = &mut counting.budgeter {
        budgeter.end(gate, &filter, session.now()?.mono_ns);
    }
    if let Some(diagnostics) = &mut counting.diagnostics {
        diagnostics.after = namespace::look(gate, &filter.netns);
    }
    let seen = seen_by_netns(&session)?;
    counting.auditor.begin_last_round(&seen);
    read_step(&session, &mut counting)?;
    settle(&mut session, &mut counting).await?;
    let kernel = session.kernel_totals()?;
    let mut report = report(&mut session, &mut counting, &filter)?;
    if order.max_stacks.is_some() {
        stacks.look_now(session.attached())?;
        let counts = session.attached().site_counts()?;
        let mut rows = stacks.rows(&counts, |key| counting.model.named(key, &kernel));
        rows.retain(|row| filter.shows_kind(row.kind()));
        report.stacks = Some(rows);
    }
    (report.close_wait, report.unscanned) =
        existing::close_wait(gate, &filter, &report.processes, session.enricher());
    // The probes go with the session, before a slow reader is waited for.
    Ok(Measured {
        report,
        diagnostics: counting.diagnostics,
        filter,
    })
}

/// Reads the audit's counters until they stand still, or for as long as is worth it.
async fn settle(session: &mut Session, counting: &mut Counting) -> Result<()> {
    for _ in 0..READINGS {
        session.drain(counting)?;
        tokio::time::sleep(READING_PAUSE).await;
        if read_step(session, counting)? {
            break;
        }
    }
    Ok(())
}

fn read_step(session: &Session, counting: &mut Counting) -> Result<bool> {
    let seen = seen_by_netns(session)?;
    Ok(counting.auditor.step(&seen, session.now()?.mono_ns))
}

fn seen_by_netns(session: &Session) -> Result<SeenByNetns> {
    Ok(session.attached().netns()?.into_iter().collect())
}

fn report(session: &mut Session, counting: &mut Counting, filter: &Filter) -> Result<Report> {
    let seen = seen_by_netns(session)?;
    let kernel = session.kernel_totals()?;
    session.finish(counting)?;
    let (start, end) = (session.started(), session.now()?);
    let lost: Vec<LostRow> = session
        .lost()?
        .into_iter()
        .map(|(probe, count)| LostRow { probe, count })
        .collect();
    let Counting {
        model,
        auditor,
        budgeter,
        ..
    } = counting;
    let budgets = budgeter
        .as_ref()
        .map(|budgeter| budgeter.budgets(filter))
        .unwrap_or_default();
    let mut processes = model.process_rows(&kernel);
    for row in &mut processes {
        // Those that only the kernel's totals know.
        if let Some(process) = &mut row.process
            && process.details.is_none()
        {
            session.enricher().complete(process);
        }
    }
    let mut memory = existing::memory();
    let both = [EventKind::TimeWait, EventKind::TimeWaitEnd];
    if both.into_iter().all(|kind| filter.shows_kind(kind)) {
        memory = memory.shared_by(&processes);
    }
    let host = Host::read();
    Ok(Report {
        start: start.ts,
        end: end.ts,
        duration_ns: end.mono_ns - start.mono_ns,
        host: host.name,
        kernel: host.kernel,
        tiers: session.tiers().clone(),
        exact: exactness(model, session.tiers(), &lost),
        processes,
        destinations: model.destination_rows(),
        budgets: budgets.rows,
        other_budgets: budgets.others,
        budgets_unknown: budgets.unknown,
        close_wait: Vec::new(),
        unscanned: Vec::new(),
        stacks: None,
        memory,
        audit: auditor.rows(&seen, end.mono_ns),
        recursion_misses: misses(kernel),
        lost,
    })
}

fn exactness(model: &Model, tiers: &[Choice], lost: &[LostRow]) -> Exact {
    let any = |is: fn(LostBy) -> bool| lost.iter().any(|row| row.count > 0 && is(row.probe));
    let lost_events = any(LostBy::is_event);
    Exact {
        processes: match model.has_kernel_totals() {
            true => !any(LostBy::is_total),
            false => !lost_events,
        },
        destinations: !lost_events,
        refused_reuse: tell_refused_reuse(tiers),
        ends: model.sees_ends(),
    }
}

fn misses(kernel: KernelTotals) -> Option<Vec<MissRow>> {
    let rows = kernel
        .recursion_misses?
        .into_iter()
        .map(|(program, count)| MissRow { program, count });
    Some(rows.collect())
}
