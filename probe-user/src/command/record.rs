//! `twtrace record`

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use twtrace_core::event::quantity;

use super::keep::{self, RecordingKeeper, SAMPLE_INTERVAL};
use super::notice;
use super::source::live::{Live, LiveOptions};
use super::start_line::StartLine;
use crate::cli::RecordArgs;
use crate::output::tiers;
use crate::session::observer::Wants;

/// Between two updates of the status line.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Records until the end.
pub async fn run(args: RecordArgs) -> Result<ExitCode> {
    let mut live = Live::start(LiveOptions {
        filter: &args.filter,
        probing: &args.probing,
        wants: Wants::ALL,
        sample_interval: Some(SAMPLE_INTERVAL),
        max_stacks: None,
        is_service: false,
        keep: keep::privileges(&args.bounds),
        command: &args.command.command,
    })?;
    let start = StartLine::new(
        live.session.tracing_start(),
        args.duration,
        &live.filter,
        &live.probing,
        &args.command.command,
    );
    let mut keeper = RecordingKeeper::create(&args.output, &args.bounds, start)?;
    for loss in tiers::losses(live.session.tiers()).lines() {
        notice(loss);
    }
    live.begin(&mut keeper)?;
    live.stop.after(args.duration);
    let mut status = Status::new(args.command.command.is_empty());
    let mut is_writing = true;
    while is_writing {
        tokio::select! {
            biased;
            () = live.stop.wait() => break,
            ready = live.session.ready() => ready?,
        }
        live.step(&mut keeper)?;
        // A slow disk delays the loop here; the ring buffer fills, and losses are counted.
        tokio::select! {
            biased;
            flushed = keeper.flush_due() => is_writing = flushed.is_ok(),
            () = live.stop.wait() => break,
        }
        status.tick(&keeper);
    }
    drop(status);
    live.stop.wait_for_command().await;
    if is_writing {
        live.finish(&mut keeper).await?;
    }
    let duration_ns = live.session.now()?.mono_ns - live.session.started().mono_ns;
    let code = live.stop.command_exit_code();
    // Detaches the probes before waiting for a slow disk.
    drop(live);
    let (events, lost) = (keeper.events, keeper.lost);
    let written = keeper.finish().await?;
    notice(&format!(
        "{events} events in {}, {lost} lost; {} in {}",
        quantity::duration(duration_ns),
        quantity::bytes(written.bytes),
        match written.parts {
            1 => "one file".to_owned(),
            parts => format!("{parts} parts, of which the latest are kept"),
        }
    ));
    Ok(code.map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// A status line on the terminal while recording.
struct Status {
    is_shown: bool,
    began: Instant,
    drawn: Option<Instant>,
}

impl Status {
    fn new(is_alone: bool) -> Self {
        let is_shown = is_alone && io::stderr().is_terminal();
        if is_alone && !is_shown {
            notice("recording; Ctrl-C ends it");
        }
        Self {
            is_shown,
            began: Instant::now(),
            drawn: None,
        }
    }

    fn tick(&mut self, keeper: &RecordingKeeper) {
        let is_due = self
            .drawn
            .is_none_or(|drawn| drawn.elapsed() >= STATUS_INTERVAL);
        if self.is_shown && is_due {
            self.drawn = Some(Instant::now());
            let elapsed = self.began.elapsed().as_secs() * 1_000_000_000;
            // It is no error if nobody sees it.
            let _ = write!(
                io::stderr(),
                "\rrecording for {}: {} events, {} lost; Ctrl-C ends it   ",
                quantity::duration(elapsed),
                keeper.events,
                keeper.lost
            );
        }
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}
