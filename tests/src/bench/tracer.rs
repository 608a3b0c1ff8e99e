//! The tracers that are measured: how to start and end them, and to read what they reported.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    ptr, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use serde_json::Value;

use super::{
    load::{CLIENT, SERVER},
    meter,
    peer::{self, Peer},
};
use crate::sys::{check, process, process_usage};

/// The tracer, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum TracerKind {
    /// No tracer: the null pair.
    Nobody,
    /// Programs that do nothing, on the hooks of twtrace.
    Empty,
    /// `twtrace report`.
    Report,
    /// `twtrace trace --json`, to a file.
    Trace,
    /// `twtrace record`.
    Record,
    /// `twtrace serve`.
    Serve,
    /// `twtrace top`, on a terminal of 80 columns.
    Top,
    /// `tcpstates` of BCC.
    Tcpstates,
    /// `tcplife` of BCC.
    Tcplife,
    /// `tcptracer` of BCC.
    Tcptracer,
    /// `funclatency` of BCC.
    Funclatency,
    /// `tcpstates` of libbpf-tools.
    LibbpfTcpstates,
    /// `tcplife` of libbpf-tools.
    LibbpfTcplife,
    /// `tcptracer` of libbpf-tools.
    LibbpfTcptracer,
    /// `funclatency` of libbpf-tools.
    LibbpfFunclatency,
}

impl TracerKind {
    /// Name in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Nobody => "nobody (null pair)",
            Self::Empty => "empty programs",
            Self::Report => "twtrace report",
            Self::Trace => "twtrace trace --json",
            Self::Record => "twtrace record",
            Self::Serve => "twtrace serve",
            Self::Top => "twtrace top",
            _ => self.peer().map_or("", |peer| peer.title),
        }
    }

    /// The peer, if it belongs to another project.
    pub fn peer(self) -> Option<&'static Peer> {
        match self {
            Self::Tcpstates => Some(&peer::TCPSTATES),
            Self::Tcplife => Some(&peer::TCPLIFE),
            Self::Tcptracer => Some(&peer::TCPTRACER),
            Self::Funclatency => Some(&peer::FUNCLATENCY),
            Self::LibbpfTcpstates => Some(&peer::LIBBPF_TCPSTATES),
            Self::LibbpfTcplife => Some(&peer::LIBBPF_TCPLIFE),
            Self::LibbpfTcptracer => Some(&peer::LIBBPF_TCPTRACER),
            Self::LibbpfFunclatency => Some(&peer::LIBBPF_FUNCLATENCY),
            _ => None,
        }
    }
}

/// Paths of programs, and options of twtrace.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The twtrace to measure.
    pub twtrace: PathBuf,
    /// More options of it.
    pub options: Vec<String>,
    /// A directory for their output files.
    pub directory: PathBuf,
}

/// A running tracer.
#[derive(Debug)]
pub struct Tracer {
    who: TracerKind,
    child: Child,
    stdin: Option<ChildStdin>,
    output: PathBuf,
    errors: PathBuf,
}

/// What a tracer reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// TIME_WAITs of the client's processes, on the client side.
    pub births_client: u64,
    /// TIME_WAITs of the server's process, on the server side.
    pub births_server: u64,
    /// TIME_WAITs of these processes on the wrong side, and those without a process.
    pub wrong: u64,
    /// Lost events, in the tracer's own unit.
    pub lost: u64,
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Tracer {
    /// Starts it, and waits until its programs are attached.
    ///
    /// # Errors
    /// If it can't be started, or ends.
    pub fn start(who: TracerKind, setup: &Setup) -> Result<Option<Self>> {
        let output = setup.directory.join("output");
        let errors = setup.directory.join("errors");
        let recording = setup.directory.join("recording.twt");
        let mut command = match who {
            TracerKind::Nobody => return Ok(None),
            TracerKind::Empty => {
                let mut command = Command::new(std::env::current_exe()?);
                command
                    .arg("null")
                    .arg("--twtrace")
                    .arg(&setup.twtrace)
                    .arg("--");
                command
            }
            _ => match who.peer() {
                Some(peer) => {
                    let mut command = Command::new(peer.program()?);
                    command.args(peer.arguments);
                    command
                }
                None => Command::new(&setup.twtrace),
            },
        };
        match who {
            TracerKind::Report => command.args(["report", "--json"]),
            TracerKind::Trace => command.args(["trace", "--json"]),
            TracerKind::Record => command.args(["record", "-o"]).arg(&recording),
            TracerKind::Serve => command.args(["serve", "--listen", "127.0.0.1:0"]),
            TracerKind::Top => command.arg("top"),
            _ => &mut command,
        };
        if who.peer().is_none() {
            command.args(&setup.options);
        }
        let _ = fs::remove_file(&recording);
        command
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .stderr(File::create(&errors)?);
        match who {
            TracerKind::Empty => {
                command.stdin(Stdio::piped());
            }
            TracerKind::Top => {
                let terminal = terminal()?;
                command
                    .env("TERM", "xterm")
                    .stdin(terminal.try_clone()?)
                    .stdout(terminal);
            }
            _ => {}
        }
        // A shell starts background processes with SIGINT ignored, and Python keeps that setting.
        // SAFETY: signal() may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        let mut child = command.spawn().with_context(|| who.title())?;
        drop(command);
        let stdin = child.stdin.take();
        let mut tracer = Self {
            who,
            child,
            stdin,
            output: if who == TracerKind::Record {
                recording
            } else {
                output
            },
            errors,
        };
        // Compiling takes long.
        let limit = Duration::from_secs(60);
        if let Err(error) = meter::await_programs(&mut tracer.child, limit) {
            let said = fs::read_to_string(&tracer.errors).unwrap_or_default();
            let last = said.lines().rfind(|line| !line.trim().is_empty());
            bail!("{error:#}: {}", last.unwrap_or_default().trim());
        }
        Ok(Some(tracer))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and reads what it reported; `None` for tracers without comparable output. Also returns its peak memory
    /// until just before its end, KiB: printing a report takes more than counting.
    ///
    /// # Errors
    /// If it does not end, or fails.
    pub fn finish(mut self, setup: &Setup) -> Result<(Option<Said>, u64)> {
        let mut peak_kib = 0;
        match self.stdin.take() {
            Some(stdin) => drop(stdin),
            None => process::signal(self.pid().cast_signed(), libc::SIGINT)?,
        }
        let end = Instant::now() + Duration::from_secs(60);
        let status = loop {
            // Keeps the last value if the process has ended and is not waited for yet.
            let now_kib = process_usage::peak_memory_kib(self.pid()).unwrap_or(0);
            peak_kib = peak_kib.max(now_kib);
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < end, "{} does not end", self.who.title());
            thread::sleep(Duration::from_millis(2));
        };
        ensure!(
            status.success() || self.who.peer().is_some(),
            "{} ended with {status}: {}",
            self.who.title(),
            fs::read_to_string(&self.errors).unwrap_or_default()
        );
        let said = match self.who {
            TracerKind::Report => Some(of_report(&fs::read(&self.output)?)?),
            TracerKind::Record => {
                let output = Command::new(&setup.twtrace)
                    .args(["report", "--json", "--from"])
                    .arg(&self.output)
                    .output()?;
                ensure!(output.status.success(), "replay: {}", output.status);
                Some(of_report(&output.stdout)?)
            }
            TracerKind::Trace => Some(of_trace(&self.output)?),
            _ => match self.who.peer() {
                Some(peer) => peer.said(
                    BufReader::new(File::open(&self.output)?),
                    &fs::read_to_string(&self.errors)?,
                )?,
                None => None,
            },
        };
        Ok((said, peak_kib))
    }
}

/// A terminal whose output is discarded.
fn terminal() -> Result<OwnedFd> {
    let (mut ours, mut theirs) = (0, 0);
    let size = libc::winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the kernel writes two descriptors and reads the size.
    check(unsafe {
        libc::openpty(
            &raw mut ours,
            &raw mut theirs,
            ptr::null_mut(),
            ptr::null(),
            &raw const size,
        )
    })?;
    // SAFETY: created just now, no other owners.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    thread::spawn(move || {
        let mut file = File::from(ours);
        // Ends with an error when the last descriptor of the other end is closed.
        while file.read(&mut [0; 65_536]).is_ok_and(|read| read > 0) {}
    });
    Ok(theirs)
}

fn of_report(text: &[u8]) -> Result<Said> {
    let report: Value = serde_json::from_slice(text).context("report --json")?;
    let mut said = Said::default();
    for row in report["processes"].as_array().context("no processes")? {
        let count = |side: &str| row["time_wait"][side].as_u64().unwrap_or(0);
        said.add(row["process"]["comm"].as_str(), count);
    }
    for row in report["lost"].as_array().context("no lost")? {
        said.lost += row["count"].as_u64().unwrap_or(0);
    }
    Ok(said)
}

fn of_trace(path: &Path) -> Result<Said> {
    let mut said = Said::default();
    for line in BufReader::new(File::open(path)?).lines() {
        let event: Value = serde_json::from_str(&line?)?;
        match event["event"].as_str() {
            Some("time_wait") => said.add(event["process"]["comm"].as_str(), |side| {
                u64::from(event["side"] == side)
            }),
            Some("lost") => said.lost += event["count"].as_u64().unwrap_or(0),
            _ => {}
        }
    }
    Ok(said)
}

impl Said {
    /// Adds TIME_WAITs of a process, by side. Other processes of the host are ignored.
    fn add(&mut self, comm: Option<&str>, count: impl Fn(&str) -> u64) {
        let (client, server, unknown) = (count("client"), count("server"), count("unknown"));
        match comm {
            Some(CLIENT) => {
                self.births_client += client;
                self.wrong += server + unknown;
            }
            Some(SERVER) => {
                self.births_server += server;
                self.wrong += client + unknown;
            }
            Some(_) => {}
            None => self.wrong += client + server + unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_side_and_nobody_are_wrong() {
        let report = br#"{"processes":[
            {"process":{"comm":"bench-client"},"time_wait":{"client":5,"server":1,"unknown":0}},
            {"process":{"comm":"bench-server"},"time_wait":{"client":0,"server":3,"unknown":0}},
            {"process":{"comm":"curl"},"time_wait":{"client":9,"server":0,"unknown":0}},
            {"process":null,"time_wait":{"client":0,"server":0,"unknown":2}}],
            "lost":[{"probe":"x","count":4}]}"#;
        assert_eq!(
            of_report(report).unwrap(),
            Said {
                births_client: 5,
                births_server: 3,
                wrong: 3,
                lost: 4
            }
        );
    }
}
