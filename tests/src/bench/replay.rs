//! Reading a recording, compared with a shell script.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    pairs::StartedLoad,
    spread::Spread,
    table::cell,
    tracer::{Setup, Tracer, TracerKind},
};
use crate::sys::{check, process_usage};

/// Duration and memory of a command.
#[derive(Clone, Copy, Debug)]
struct Took {
    wall_ms: f64,
    cpu_ms: f64,
    peak_mib: f64,
}

/// A table of durations.
pub fn measure(setup: &Setup, connections: u64, rounds: u32) -> Result<String> {
    // Two events for each: its TIME_WAIT, and the end of that.
    let connections = 500_000.min(connections * 13);
    eprintln!("bench: replay, recording {connections} connections");
    let tracer = Tracer::start(TracerKind::Record, setup)?.context("nothing records")?;
    let mut load = StartedLoad::start(&[
        "--connections".to_owned(),
        connections.to_string(),
        "--tuples".to_owned(),
        "1000".to_owned(),
    ])?;
    load.play()?;
    // All its TIME_WAITs end with its namespace.
    drop(load);
    thread::sleep(Duration::from_secs(5));
    let (said, _) = tracer.finish(setup)?;
    let said = said.context("nothing was recorded")?;
    let file = setup.directory.join("recording.twt");
    let events = count_events(&file)?;
    let report = || {
        let mut command = Command::new(&setup.twtrace);
        command.args(["report", "--from"]).arg(&file);
        command
    };
    let shell = || {
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec 3<\"$1\"; zstdcat <&3 | jq -c .event", "sh"])
            .arg(&file);
        command
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        eprintln!("bench: replay, {} of {rounds}", round + 1);
        ours.push(time(report())?);
        theirs.push(time(shell())?);
    }
    let spread = |took: &[Took], of: fn(&Took) -> f64| cell(Spread::of(took.iter().map(of)), 0);
    let ratio = |of: fn(&Took) -> f64| {
        let ratios = theirs
            .iter()
            .zip(&ours)
            .map(|(theirs, ours)| of(theirs) / of(ours));
        cell(Spread::of(ratios), 1)
    };
    let row = |took: &[Took]| {
        format!(
            "{} | {}",
            spread(took, |took| took.wall_ms),
            spread(took, |took| took.cpu_ms),
        )
    };
    Ok(format!(
        "### Replay of {events} events\n\nA recording of {connections} connections, {} MiB, with {} TIME_WAITs rightly \
         attributed and {} events lost.\n\n\
         | command | wall ms | CPU ms | peak MiB |\n|---|---|---|---|\n\
         | `twtrace report --from FILE` | {} | {} |\n| `zstdcat FILE \\| jq -c .event` | {} | - |\n\
         | the second as a multiple of the first | {} | {} | - |\n\n",
        std::fs::metadata(&file)?.len() / 1_048_576,
        said.births_client,
        said.lost,
        row(&ours),
        spread(&ours, |took| took.peak_mib),
        row(&theirs),
        ratio(|took| took.wall_ms),
        ratio(|took| took.cpu_ms),
    ))
}

fn count_events(file: &Path) -> Result<u64> {
    let output = Command::new("sh")
        .args(["-c", "zstdcat <\"$1\" | grep -c '\"event\":'", "sh"])
        .arg(file)
        .output()?;
    ensure!(output.status.success(), "zstdcat: {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn time(mut command: Command) -> Result<Took> {
    let started = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let pid = child.id();
    // SAFETY: only numbers, for which zero is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let (mut status, mut peak_kib) = (0, 0);
    // Not the peak from rusage: that begins with the memory of this process at fork().
    loop {
        // SAFETY: writes status and usage. Nothing else waits for the child.
        let ended = check(unsafe {
            libc::wait4(
                pid.cast_signed(),
                &raw mut status,
                libc::WNOHANG,
                &raw mut usage,
            )
        })?;
        if ended != 0 {
            break;
        }
        peak_kib = peak_kib.max(process_usage::peak_memory_kib(pid).unwrap_or(0));
        thread::sleep(Duration::from_millis(2));
    }
    ensure!(status == 0, "{:?} failed", command.get_program());
    let ms = |time: libc::timeval| time.tv_sec as f64 * 1e3 + time.tv_usec as f64 / 1e3;
    Ok(Took {
        wall_ms: started.elapsed().as_secs_f64() * 1e3,
        cpu_ms: ms(usage.ru_utime) + ms(usage.ru_stime),
        peak_mib: peak_kib as f64 / 1024.0,
    })
}
