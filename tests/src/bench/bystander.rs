//! Work without any TCP, to measure what the hooks cost it.

use std::{
    fmt::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{
    spread::Spread,
    tracer::{Setup, Tracer, TracerKind},
};
use crate::sys::{check, inet, process};

/// Kind of work, by the hooks it may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum Bystander {
    /// getppid(), which does nothing.
    Syscalls,
    /// Two processes that pass a byte back and forth, each waiting with a timeout: a timer for each.
    Timers,
}

/// Options of `bench bystander`.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// Kind of work.
    #[arg(long, value_enum)]
    pub kind: Bystander,
    /// How many times to do it.
    #[arg(long, default_value_t = 100_000)]
    pub count: u64,
}

/// Runs the work and prints nanoseconds for each time.
pub fn run(options: &Options) -> Result<()> {
    process::die_with_parent()?;
    process::pin(process::cpus() - 1)?;
    let elapsed = match options.kind {
        Bystander::Syscalls => {
            let started = Instant::now();
            for _ in 0..options.count {
                // SAFETY: takes no arguments. The wrapper of libc does not cache the result.
                unsafe { libc::getppid() };
            }
            started.elapsed()
        }
        Bystander::Timers => hand_to_and_fro(options.count)?,
    };
    println!("{}", elapsed.as_nanos() as f64 / options.count as f64);
    Ok(())
}

fn hand_to_and_fro(count: u64) -> Result<Duration> {
    let mut fds = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, fds.as_mut_ptr()) })?;
    for fd in fds {
        let limit = libc::timeval {
            tv_sec: 10,
            tv_usec: 0,
        };
        inet::set_option(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, limit)?;
    }
    // SAFETY: this process has one thread.
    let pid = check(unsafe { libc::fork() })?;
    let fd = fds[usize::from(pid == 0)];
    let mut byte = 0_u8;
    let mut receive = || {
        // SAFETY: one byte of our own.
        check(unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, 0) } as i32)
    };
    let send = || {
        // SAFETY: as above.
        check(unsafe { libc::send(fd, [0_u8].as_ptr().cast(), 1, 0) } as i32)
    };
    if pid == 0 {
        let served = (0..count).try_for_each(|_| receive().and_then(|_| send()).map(drop));
        // SAFETY: ends only this process.
        unsafe { libc::_exit(i32::from(served.is_err())) };
    }
    let started = Instant::now();
    (0..count).try_for_each(|_| send().and_then(|_| receive()).map(drop))?;
    let elapsed = started.elapsed();
    ensure!(
        process::reap(pid, Duration::from_secs(10)),
        "the other one does not end"
    );
    Ok(elapsed)
}

/// A table of the cost without a tracer, under empty programs, and under twtrace with all hooks and without some.
pub fn measure(setup: &Setup, pairs: u32) -> Result<String> {
    let variants: [(&str, TracerKind, &[&str]); 6] = [
        (TracerKind::Nobody.title(), TracerKind::Nobody, &[]),
        (TracerKind::Empty.title(), TracerKind::Empty, &[]),
        ("twtrace report", TracerKind::Report, &[]),
        (
            "twtrace report --timers off",
            TracerKind::Report,
            &["--timers", "off"],
        ),
        (
            "twtrace report --without syscalls",
            TracerKind::Report,
            &["--without", "syscalls"],
        ),
        (
            "twtrace report --without syscalls,timers",
            TracerKind::Report,
            &["--without", "syscalls,timers"],
        ),
    ];
    let mut text = String::from(
        "### Work that has nothing to do with TCP\n\n\
         ns added to a getppid(), and to a byte handed to another process and back (two system calls and a timer \
         on either side).\n\n\
         | tracer | getppid() | as a multiple | a byte and back | as a multiple |\n|---|---|---|---|---|\n",
    );
    for (title, who, more) in variants {
        eprintln!("bench: bystanders, {title}");
        let mut setup = setup.clone();
        setup
            .options
            .extend(more.iter().map(|option| (*option).to_owned()));
        let _ = write!(text, "| {title} |");
        for kind in [Bystander::Syscalls, Bystander::Timers] {
            let (mut added, mut ratios) = (Vec::new(), Vec::new());
            for _ in 0..pairs {
                let before = play(kind)?;
                let tracer = Tracer::start(who, &setup)?;
                let traced = play(kind)?;
                if let Some(tracer) = tracer {
                    tracer.finish(&setup)?;
                }
                let alone = f64::midpoint(before, play(kind)?);
                added.push(traced - alone);
                ratios.push(traced / alone);
            }
            let cell = |values| super::table::cell(Spread::of(values), 0);
            let ratio = super::table::cell(Spread::of(ratios), 2);
            let _ = write!(text, " {} | {ratio} |", cell(added));
        }
        text.push('\n');
    }
    text.push('\n');
    Ok(text)
}

/// Nanoseconds for each time.
fn play(kind: Bystander) -> Result<f64> {
    let (word, count) = match kind {
        Bystander::Syscalls => ("syscalls", "3000000"),
        Bystander::Timers => ("timers", "60000"),
    };
    let output = Command::new(std::env::current_exe()?)
        .args(["bystander", "--kind", word, "--count", count])
        .output()?;
    ensure!(output.status.success(), "bystander: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().context("no number")
}
