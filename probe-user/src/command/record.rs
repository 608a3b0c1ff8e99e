//! `twtrace record`

use std::process::ExitCode;

use anyhow::Result;
use twtrace_core::event::quantity;

use super::keep::{RecordingKeeper, SAMPLE_INTERVAL};
use super::source::live::{Live, LiveOptions};
use super::start_line::StartLine;
use super::{notice, say_degraded};
use crate::cli::RecordArgs;
use crate::output::status_line::StatusLine;
use crate::privilege::Keep;
use crate::session::observer::Wants;

/// Records until the end.
pub async fn run(args: RecordArgs) -> Result<ExitCode> {
    let mut live = Live::start(LiveOptions {
        filter: &args.filter,
        probing: &args.probing,
        wants: Wants::ALL,
        sample_interval: Some(SAMPLE_INTERVAL),
        max_stacks: None,
        is_service: false,
        keep: Keep::Naming,
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
    say_degraded(live.session.tiers());
    live.begin(&mut keeper)?;
    live.stop.after(args.duration);
    let is_alone = args.command.command.is_empty();
    let mut status = StatusLine::new(is_alone);
    if is_alone && !status.is_shown() {
        notice("recording; Ctrl-C ends it");
    }
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
        status.tick(|elapsed| {
            format!(
                "recording for {}s: {} events, {} lost; Ctrl-C ends it",
                elapsed.as_secs(),
                keeper.events,
                keeper.lost
            )
        });
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
