//! `twtrace trace`

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{drop_privileges, notice, open_gate};
use crate::cli::ViewArgs;
use crate::event::{Event, Lost};
use crate::filter::{Family, Filter};
use crate::host::Host;
use crate::output::json::{FORMAT, Start};
use crate::output::target::Target;
use crate::output::writer::{Outcome, Writer};
use crate::output::{json, lines, quantity, tiers};
use crate::probe::{Hook, ProbeOptions};
use crate::session::launch::{self, Launch};
use crate::session::stop::Stop;
use crate::session::{Session, Sink};

/// Options in force, as the `start` event tells them.
#[derive(Serialize)]
struct Options<'a> {
    /// The command line that alone was traced, or null.
    command: Option<Vec<String>>,
    duration_ns: Option<u64>,
    filter: &'a Filter,
    without: &'a [Hook],
    btf: Option<String>,
    max_sockets: u32,
    max_processes: u32,
    ring_bytes: u32,
    slow_port_ns: u64,
}

impl<'a> Options<'a> {
    fn new(args: &ViewArgs, filter: &'a Filter, probing: &'a ProbeOptions) -> Self {
        let command = &args.command.command;
        Self {
            command: (!command.is_empty()).then(|| launch::line(command)),
            duration_ns: args
                .span
                .duration
                .map(|duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
            filter,
            without: &probing.without,
            btf: probing
                .btf
                .as_ref()
                .map(|path| path.to_string_lossy().into_owned()),
            max_sockets: probing.max_sockets,
            max_processes: probing.max_processes,
            ring_bytes: probing.ring_bytes,
            slow_port_ns: probing.slow_port_ns,
        }
    }
}

/// What is printed next.
struct Lines {
    json: bool,
    block: Vec<u8>,
    events: u64,
    lost: u64,
}

impl Lines {
    fn push(&mut self, line: &str) {
        self.block.extend_from_slice(line.as_bytes());
        self.block.push(b'\n');
    }
}

impl Sink for Lines {
    fn event(&mut self, event: &Event) -> Result<()> {
        self.events += 1;
        match self.json {
            true => json::append(&mut self.block, event)?,
            false => self.push(&lines::event(event)),
        }
        Ok(())
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        self.lost += lost.count;
        match self.json {
            true => json::append(&mut self.block, lost)?,
            false => self.push(&lines::lost(lost)),
        }
        Ok(())
    }
}

/// Streams events until the end.
pub async fn run(args: ViewArgs) -> Result<ExitCode> {
    let launch = Launch::prepare(&args.command.command)?;
    let target = Target::open(args.output.output.as_deref(), launch.is_some())?;
    let gate = open_gate();
    let mut stop = Stop::listen().context("listening for signals")?;
    let mut filter = args.filter.resolve()?;
    let mut probing = args.probing.options();
    if launch.is_some() {
        filter.family = Some(Family::default());
        probing.follows_command = true;
    }
    let mut session = Session::start(&probing, filter.clone())?;
    session.adopt_open(gate.as_ref(), &filter.netns)?;
    // Whoever needs it later has it.
    drop(gate);
    if let Some(launch) = &launch {
        stop.launch(&mut session, launch)?;
    }
    drop_privileges();
    stop.after(args.span.duration);

    let mut out = Lines {
        json: args.span.json,
        block: Vec::new(),
        events: 0,
        lost: 0,
    };
    if args.span.json {
        let host = Host::read();
        let start = Start {
            ts: session.started().ts,
            mono_ns: session.started().mono_ns,
            event: Default::default(),
            format: FORMAT,
            kernel: &host.kernel,
            host: &host.name,
            options: Options::new(&args, &filter, &probing),
            tiers: session.tiers(),
        };
        json::append(&mut out.block, &start)?;
    } else {
        for loss in tiers::losses(session.tiers()).lines() {
            notice(loss);
        }
        out.push(&lines::header());
    }
    let writer = Writer::start(target).context("starting the output thread")?;
    let mut goes_on = writer.write(&mut out.block).await;

    'tracing: while goes_on && !writer.is_reader_gone() {
        tokio::select! {
            biased;
            () = stop.wait() => break,
            ready = session.ready() => ready?,
        }
        loop {
            let is_empty = session.drain(&mut out)?;
            if !out.block.is_empty() {
                // A slow reader holds the loop up here; the ring buffer fills, and losses are counted.
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

async fn end(mut session: Session, mut out: Lines, writer: Writer) -> Result<()> {
    session.finish(&mut out)?;
    let duration_ns = session.now()?.mono_ns - session.started().mono_ns;
    // The probes go before a slow reader is waited for.
    drop(session);
    let outcome = writer
        .finish(out.block)
        .await
        .context("writing the output")?;
    if outcome == Outcome::Written && !out.json {
        notice(&format!(
            "{} events in {}, {} lost",
            out.events,
            quantity::duration(duration_ns),
            out.lost
        ));
    }
    Ok(())
}
