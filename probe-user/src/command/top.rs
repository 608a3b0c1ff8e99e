//! `twtrace top`

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use twtrace_wire::EventKind;

use super::{drop_privileges, existing, open_gate};
use crate::cli::{TopArgs, display_filter, filter_words};
use crate::doctor::diagnosis::Diagnosis;
use crate::doctor::facts::Facts;
use crate::event::{Event, Lost};
use crate::filter::Filter;
use crate::host::Host;
use crate::model::Model;
use crate::model::dealings::Dealings;
use crate::model::memory::Memory;
use crate::model::report::{Exact, LostRow, Report};
use crate::output::log_lines;
use crate::output::tui::terminal::{self, Input, Screen};
use crate::output::tui::{Action, App, Opening, Sample};
use crate::probe::tell_refused_reuse;
use crate::scan::gate::Gate;
use crate::scan::namespace::{self, Looks};
use crate::session::auditor::{Auditor, SeenByNetns};
use crate::session::budgets::{Budgeter, Budgets};
use crate::session::stop::Stop;
use crate::session::{Session, Sink};

/// Between two drawings, unless a key asks for one.
const DRAW: Duration = Duration::from_millis(250);
/// Between two samples.
const SAMPLE: Duration = Duration::from_secs(1);
/// Between two looks at the kernel's sockets and settings.
const LOOK: Duration = Duration::from_secs(5);
/// The ring buffer is drained at most that often: a wake-up for each event would cost more than the events.
const DRAIN: Duration = Duration::from_millis(25);

/// Shows it until `q`.
pub async fn run(args: TopArgs) -> Result<()> {
    terminal::check()?;
    let shared_gate = open_gate();
    let mut signals = Signals::listen().context("listening for signals")?;
    let filter = args.filter.resolve()?;
    let mut probing = args.probing.options();
    // Rows by destination and budgets are made of events.
    probing.tell_special = true;
    let mut session = Session::start(&probing, filter.clone())?;
    session.adopt_open(shared_gate.as_ref(), &filter.netns)?;
    let host = Host::read();
    let mut watch = Watch::begin(&session, shared_gate, filter)?;
    drop_privileges();

    let mut app = App::new(Opening {
        host: host.name,
        kernel: host.kernel,
        replay: None,
        has_colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        filter_words: filter_words(&args.filter),
        parse_filter: display_filter,
    });
    let mut screen = Screen::open()?;
    let mut inputs = terminal::inputs().context("starting the thread that reads keys")?;
    let mut drawing = interval(DRAW);
    drawing.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut drain_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            wanted = signals.wait() => match wanted {
                Wanted::End => break,
                Wanted::Suspend => screen.suspend()?,
            },
            input = inputs.recv() => {
                let Some(input) = input else {
                    break;
                };
                if !obey(&mut app, &mut screen, input.context("reading keys")?)? {
                    break;
                }
                screen.draw(&mut app)?;
            }
            _ = drawing.tick() => {
                if watch.is_due() {
                    watch.drain(&mut session, &mut app)?;
                    app.sample(watch.sample(&mut session)?);
                }
                for line in log_lines::take() {
                    app.log(&line);
                }
                if app.is_dirty() {
                    screen.draw(&mut app)?;
                }
            }
            ready = ready_after(&mut session, drain_at) => {
                ready?;
                watch.drain(&mut session, &mut app)?;
                drain_at = Instant::now() + DRAIN;
            }
        }
    }
    // Detaching takes a while, in which keys would be taken from the shell.
    drop(session);
    drop(screen);
    Ok(())
}

async fn ready_after(session: &mut Session, moment: Instant) -> Result<()> {
    sleep_until(moment.into()).await;
    session.ready().await
}

/// Does what a key or the mouse asks for. False to end.
fn obey(app: &mut App, screen: &mut Screen, input: Input) -> Result<bool> {
    let action = match input {
        Input::Key(key) => app.key(key),
        Input::Mouse(mouse) => {
            app.mouse(mouse);
            None
        }
        Input::Resize(..) | Input::FocusGained | Input::FocusLost | Input::Paste(_) => {
            app.resized();
            None
        }
    };
    match action {
        Some(Action::Quit) => return Ok(false),
        Some(Action::Suspend) => screen.suspend()?,
        Some(Action::Redraw) => screen.clear()?,
        Some(Action::Mouse(is_on)) => screen.mouse(is_on)?,
        // Live only the screen stands still; there is nothing to seek.
        Some(Action::Pause(_) | Action::Speed(_) | Action::Seek(_)) | None => {}
    }
    Ok(true)
}

/// Signals that end the view, or send it to the background: each gives the terminal back first.
struct Signals {
    stop: Stop,
    hangup: Signal,
    quit: Signal,
    suspend: Signal,
}

enum Wanted {
    End,
    Suspend,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            stop: Stop::listen()?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            suspend: signal(SignalKind::from_raw(libc::SIGTSTP))?,
        })
    }

    /// Can be cancelled.
    async fn wait(&mut self) -> Wanted {
        tokio::select! {
            () = self.stop.wait() => Wanted::End,
            _ = self.hangup.recv() => Wanted::End,
            _ = self.quit.recv() => Wanted::End,
            _ = self.suspend.recv() => Wanted::Suspend,
        }
    }
}

/// Counts, and makes a sample of it.
struct Watch {
    gate: Option<Rc<Gate>>,
    filter: Filter,
    counted: Counted,
    before: Looks,
    after: Looks,
    budgets: Budgets,
    memory: Memory,
    host: Host,
    sampled: Instant,
    looked: Instant,
}

struct Counted {
    model: Model,
    dealings: Dealings,
    auditor: Auditor,
    budgeter: Budgeter,
}

/// To be counted and to be shown.
struct Both<'a> {
    counted: &'a mut Counted,
    app: &'a mut App,
}

impl Sink for Both<'_> {
    fn any_event(&mut self, event: &Event) {
        self.counted.auditor.note(event);
        self.counted.budgeter.note(event);
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        self.counted.model.apply(event);
        self.counted.dealings.apply(event);
        self.app.event(event, None);
        Ok(())
    }

    fn lost(&mut self, _lost: &Lost) -> Result<()> {
        // Samples have the totals.
        Ok(())
    }
}

impl Watch {
    /// Takes a first look, which may have to enter namespaces.
    fn begin(session: &Session, gate: Option<Rc<Gate>>, filter: Filter) -> Result<Self> {
        let now_ns = session.now()?.mono_ns;
        let mut auditor = Auditor::begin(session.counted_at());
        auditor.step(&seen_by_netns(session)?, now_ns);
        auditor.take_baseline();
        let now = Instant::now();
        Ok(Self {
            counted: Counted {
                model: match session.sees_ends() {
                    true => Model::new(filter.clone()),
                    false => Model::with_presumed_ends(filter.clone()),
                },
                dealings: Dealings::default(),
                auditor,
                budgeter: Budgeter::begin(gate.as_deref(), &filter, now_ns),
            },
            before: namespace::look(gate.as_deref(), &filter.netns),
            after: Looks::new(),
            budgets: Budgets::default(),
            memory: existing::memory(),
            host: Host::read(),
            sampled: now.checked_sub(SAMPLE).unwrap_or(now),
            looked: now.checked_sub(LOOK).unwrap_or(now),
            gate,
            filter,
        })
    }

    fn drain(&mut self, session: &mut Session, app: &mut App) -> Result<()> {
        let counted = &mut self.counted;
        session.drain(&mut Both { counted, app })?;
        Ok(())
    }

    fn is_due(&self) -> bool {
        self.sampled.elapsed() >= SAMPLE
    }

    fn sample(&mut self, session: &mut Session) -> Result<Sample> {
        self.sampled = Instant::now();
        let now = session.now()?;
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            let budgeter = &mut self.counted.budgeter;
            budgeter.end(self.gate.as_deref(), &self.filter, now.mono_ns);
            self.budgets = budgeter.budgets(&self.filter);
            self.after = namespace::look(self.gate.as_deref(), &self.filter.netns);
            self.memory = existing::memory();
            let auditor = &mut self.counted.auditor;
            auditor.begin_last_round(&seen_by_netns(session)?);
            // The second reading, right behind the first, tells how many births go on meanwhile.
            for _ in 0..2 {
                auditor.step(&seen_by_netns(session)?, now.mono_ns);
            }
        }
        let report = self.report(session)?;
        let facts = Facts::new(
            report.clone(),
            &self.counted.dealings,
            self.before.clone(),
            self.after.clone(),
        );
        let left_out = self.counted.dealings.left_out();
        Ok(Sample {
            ts: now.ts,
            mono_ns: now.mono_ns,
            findings: Diagnosis::new(facts, &self.filter, left_out).findings,
            report,
        })
    }

    fn report(&mut self, session: &mut Session) -> Result<Report> {
        let Counted { model, auditor, .. } = &mut self.counted;
        let (start, end) = (session.started(), session.now()?);
        let seen = seen_by_netns(session)?;
        let kernel = session.kernel_totals()?;
        let lost: Vec<LostRow> = session
            .lost()?
            .into_iter()
            .map(|(probe, count)| LostRow { probe, count })
            .collect();
        let lost_events = lost.iter().any(|row| row.count > 0 && row.probe.is_event());
        let lost_totals = lost.iter().any(|row| row.count > 0 && row.probe.is_total());
        let mut processes = model.process_rows(&kernel);
        for row in &mut processes {
            if let Some(process) = &mut row.process
                && process.details.is_none()
            {
                session.enricher().complete(process);
            }
        }
        let mut memory = self.memory.clone();
        let both = [EventKind::TimeWait, EventKind::TimeWaitEnd];
        if both.into_iter().all(|kind| self.filter.shows_kind(kind)) {
            memory = memory.shared_by(&processes);
        }
        Ok(Report {
            start: start.ts,
            end: end.ts,
            duration_ns: end.mono_ns - start.mono_ns,
            host: self.host.name.clone(),
            kernel: self.host.kernel.clone(),
            tiers: session.tiers().clone(),
            exact: Exact {
                processes: match model.has_kernel_totals() {
                    true => !lost_totals,
                    false => !lost_events,
                },
                destinations: !lost_events,
                refused_reuse: tell_refused_reuse(session.tiers()),
                ends: model.sees_ends(),
            },
            processes,
            destinations: model.destination_rows(),
            budgets: self.budgets.rows.clone(),
            other_budgets: self.budgets.others,
            budgets_unknown: self.budgets.unknown.clone(),
            close_wait: Vec::new(),
            unscanned: Vec::new(),
            memory,
            audit: auditor.rows(&seen, end.mono_ns),
            recursion_misses: None,
            lost,
        })
    }
}

fn seen_by_netns(session: &Session) -> Result<SeenByNetns> {
    Ok(session.attached().netns()?.into_iter().collect())
}
