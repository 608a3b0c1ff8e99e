//! `twtrace trace`

use std::borrow::Cow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use twtrace_core::event::event_json::EventJson;
use twtrace_core::event::json;
use twtrace_core::event::quantity;
use twtrace_core::event::{Event, Lost};
use twtrace_core::filter::Family;
use twtrace_core::model::observation::Observation;

use super::start_line::StartLine;
use super::{drop_privileges, notice, open_namespace_helper, say_degraded, trace_replay};
use crate::cli::ViewArgs;
use crate::enrich::netns_names;
use crate::output::page::Page;
use crate::output::target::OutputTarget;
use crate::output::trace_lines::TraceLines;
use crate::output::writer::{OutputWriter, WriteOutcome};
use crate::privilege::Keep;
use crate::session::Session;
use crate::session::launch::Launch;
use crate::session::sink::Sink;
use crate::session::stop::Stop;
use crate::system_calls::Extent;

/// Shortest pause between two searches for the names of network namespaces: each reads all of /proc.
const NAMING: Duration = Duration::from_secs(1);

/// Output that is not written yet.
struct PendingLines {
    json: bool,
    event_json: EventJson,
    lines: TraceLines,
    /// When names of network namespaces were last looked up.
    named: Option<Instant>,
    block: Vec<u8>,
    events: u64,
    lost: u64,
}

impl PendingLines {
    fn push(&mut self, line: &str) {
        self.block.extend_from_slice(line.as_bytes());
        self.block.push(b'\n');
    }

    fn push_event(&mut self, event: &Event) {
        let is_due = self.named.is_none_or(|named| named.elapsed() >= NAMING);
        if is_due && self.lines.lacks_name(0, event) {
            self.named = Some(Instant::now());
            self.lines.look_up(0, event, netns_names::find);
        }
        for line in self.lines.before(0, event) {
            self.push(&line);
        }
        let line = self.lines.event(0, event);
        self.push(&line);
    }

    /// Fits further lines to a page.
    fn resize(&mut self, page: Page) {
        if self.lines.resize(page.width) {
            self.push(&self.lines.heading());
        }
    }
}

impl Sink for PendingLines {
    fn any_event(&mut self, _: &Event) {}

    fn event(&mut self, event: &Event) -> Result<()> {
        self.events += 1;
        if self.json {
            self.event_json.append(&mut self.block, event)?
        } else {
            self.push_event(event)
        }
        Ok(())
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        self.lost += lost.count;
        if self.json {
            json::append(&mut self.block, lost)?
        } else {
            let line = self.lines.lost(lost);
            self.push(&line)
        }
        Ok(())
    }

    fn observed(&mut self, _: Cow<'_, Observation>) -> Result<()> {
        Ok(())
    }
}

/// Streams events until the end.
pub async fn run(args: ViewArgs) -> Result<ExitCode> {
    if args.from.is_given() {
        return trace_replay::run(&args);
    }
    let launch = Launch::prepare(&args.command.command)?;
    let target = OutputTarget::open(args.output.output.as_deref(), launch.is_some())?;
    let helper = open_namespace_helper();
    let mut stop = Stop::listen().context("listening for signals")?;
    let mut filter = args.filter.resolve()?;
    let mut probing = args.probing.options();
    if launch.is_some() {
        filter.family = Some(Family::default());
        probing.follows_command = true;
    }
    let mut session = Session::attach(&probing, filter.clone())?;
    session.adopt_open(helper.as_ref(), &filter.netns)?;
    session.begin_counting()?;
    // Whatever needs the helper later has its own reference.
    drop(helper);
    if let Some(launch) = &launch {
        stop.launch(&mut session, launch)?;
    }
    drop_privileges(Keep::Naming, Extent::Process, launch.is_some());
    stop.after(args.span.duration);

    let page = target.current_page();
    let page = || page().wide(args.output.wide);
    let width = page().width;
    let mut out = PendingLines {
        json: args.span.json,
        event_json: EventJson::default(),
        lines: TraceLines::new(width),
        named: None,
        block: Vec::new(),
        events: 0,
        lost: 0,
    };
    if args.span.json {
        let tracing_start = session.tracing_start();
        let command = &args.command.command;
        StartLine::new(
            tracing_start,
            args.span.duration,
            &filter,
            &probing,
            command,
        )
        .append(&mut out.block, 1)?;
    } else {
        say_degraded(session.tiers());
        out.push(&out.lines.heading());
    }
    let writer = OutputWriter::start(target).context("starting the output thread")?;
    let mut goes_on = writer.write(&mut out.block).await;

    'tracing: while goes_on && !writer.is_reader_gone() {
        tokio::select! {
            biased;
            () = stop.wait() => break,
            ready = session.ready() => ready?,
        }
        if width.is_some() && !out.json {
            out.resize(page());
        }
        loop {
            let is_empty = session.drain(&mut out)?;
            if !out.block.is_empty() {
                // A slow reader delays the loop here; the ring buffer fills, and losses are counted.
                tokio::select! {
                    biased;
                    written = writer.write(&mut out.block) => goes_on = written,
                    () = stop.wait() => break 'tracing,
                }
            }
            if is_empty || !goes_on {
                break;
            }
        }
    }
    stop.wait_for_command().await;
    end(session, out, writer).await?;
    let code = stop.command_exit_code();
    Ok(code.map_or(ExitCode::SUCCESS, ExitCode::from))
}

async fn end(mut session: Session, mut out: PendingLines, writer: OutputWriter) -> Result<()> {
    session.finish(&mut out)?;
    let duration_ns = session.now()?.mono_ns - session.started().mono_ns;
    // Detaches the probes before waiting for a slow reader.
    drop(session);
    let outcome = writer
        .finish(out.block)
        .await
        .context("writing the output")?;
    if outcome == WriteOutcome::Written && !out.json {
        notice(&format!(
            "{} events in {}, {} lost",
            out.events,
            quantity::duration(duration_ns),
            out.lost
        ));
    }
    Ok(())
}
