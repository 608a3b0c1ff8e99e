//! Reading a recording, compared with a shell script.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    pairs::StartedLoad,
    spread::Spread,
    table::cell,
    tracer::{Said, Setup, Tracer, TracerKind},
};
use crate::sys::{check, process_usage};

/// Duration and memory of a command.
#[derive(Clone, Copy, Debug)]
struct Took {
    wall_ms: f64,
    cpu_ms: f64,
    peak_mib: f64,
}

/// A recording of the bench's load.
#[derive(Debug)]
struct Recorded {
    setup: Setup,
    file: PathBuf,
    events: u64,
    said: Said,
    took: Vec<Took>,
}

impl Recorded {
    fn make(setup: Setup, file: &str, connections: u64) -> Result<Self> {
        eprintln!("bench: replay, recording {connections} connections");
        let tracer = Tracer::start(TracerKind::Record, &setup)?.context("nothing records")?;
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
        let (said, _) = tracer.finish(&setup)?;
        let said = said.context("nothing was recorded")?;
        let file = setup.directory.join(file);
        fs::rename(setup.directory.join("recording.twt"), &file)?;
        let events = count_events(&file)?;
        Ok(Self {
            setup,
            file,
            events,
            said,
            took: Vec::new(),
        })
    }

    /// Reads it once, by the build that recorded it.
    fn play(&mut self) -> Result<()> {
        let mut command = Command::new(&self.setup.twtrace);
        command.args(["report", "--from"]).arg(&self.file);
        self.took.push(time(command)?);
        Ok(())
    }

    fn ns_per_event(&self, took: &Took) -> f64 {
        took.cpu_ms * 1e6 / self.events as f64
    }
}

/// A table of durations; another build, if one is given, records and reads the same load.
pub fn measure(
    setup: &Setup,
    against: Option<&Path>,
    connections: u64,
    rounds: u32,
) -> Result<String> {
    // Two events for each: its TIME_WAIT, and the end of that.
    let connections = 500_000.min(connections * 13);
    let mut ours = Recorded::make(setup.clone(), "this.twt", connections)?;
    let mut other = match against {
        Some(program) => {
            let mut setup = setup.clone();
            setup.twtrace = program.to_owned();
            Some(Recorded::make(setup, "other.twt", connections)?)
        }
        None => None,
    };
    let shell = || {
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec 3<\"$1\"; zstdcat <&3 | jq -c .event", "sh"])
            .arg(&ours.file);
        command
    };
    let mut theirs = Vec::new();
    // It takes five times as long as ours.
    let shell_rounds = rounds.min(3);
    for round in 0..shell_rounds {
        eprintln!("bench: replay by jq, {} of {shell_rounds}", round + 1);
        theirs.push(time(shell())?);
    }
    for round in 0..rounds {
        eprintln!("bench: replay, {} of {rounds}", round + 1);
        ours.play()?;
        if let Some(other) = &mut other {
            other.play()?;
        }
    }
    let spread = |took: &[Took], of: fn(&Took) -> f64| cell(Spread::of(took.iter().map(of)), 0);
    let ratio = |of: fn(&Took) -> f64| {
        let ratios = theirs
            .iter()
            .zip(&ours.took)
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
    let mut text = format!(
        "### Replay of {} events\n\nA recording of {connections} connections, {} MiB, with {} TIME_WAITs rightly \
         attributed and {} events lost.\n\n\
         | command | wall ms | CPU ms | peak MiB |\n|---|---|---|---|\n\
         | `twtrace report --from FILE` | {} | {} |\n| `zstdcat FILE \\| jq -c .event` | {} | - |\n\
         | the second as a multiple of the first | {} | {} | - |\n\n",
        ours.events,
        fs::metadata(&ours.file)?.len() / 1_048_576,
        ours.said.births_client,
        ours.said.lost,
        row(&ours.took),
        spread(&ours.took, |took| took.peak_mib),
        row(&theirs),
        ratio(|took| took.wall_ms),
        ratio(|took| took.cpu_ms),
    );
    if let Some(other) = &other {
        let ratios = ours.took.iter().zip(&other.took);
        let ratios = ratios.map(|(this, that)| ours.ns_per_event(this) / other.ns_per_event(that));
        let _ = writeln!(
            text,
            "The other build reads its own recording of {} events in {} ms of CPU; an event takes {} times as much with \
             this one.\n",
            other.events,
            spread(&other.took, |took| took.cpu_ms),
            cell(Spread::of(ratios), 3),
        );
    }
    Ok(text)
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
