//! What a process can do that untrusted input has taken over: a twtrace that is built for tests tries what each of its processes
//! must not do (`probe-user/src/attempts.rs`).

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use super::{
    Usage,
    serve::service::{self, Service, until},
};
use crate::{runner::Context, sys::process::landlock_version};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "privileges/tracer",
        run: |context| Process::Tracer.tries(context),
    },
    Usage {
        name: "privileges/helper",
        run: |context| Process::Helper.tries(context),
    },
    Usage {
        name: "privileges/http",
        run: |context| Process::Http.tries(context),
    },
    Usage {
        name: "privileges/history",
        run: |context| Process::History.tries(context),
    },
    Usage {
        name: "privileges/offline",
        run: |context| Process::Offline.tries(context),
    },
];

/// What fails with an error. The names are those of the program.
const REFUSED: [&str; 15] = [
    "read_file",
    "write_file",
    "create_file",
    "remove_file",
    "open_memory",
    "signal",
    "fork",
    "network_socket",
    "local_socket",
    "raw_netlink",
    "connect",
    "bind",
    "enter_mounts",
    "new_namespace",
    "code",
];

/// What ends the process.
const FATAL: [&str; 6] = [
    "ptrace",
    "write_memory",
    "exec",
    "load_program",
    "key",
    "mount",
];

const TEXT: &str = "kept";

/// The process or thread that tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Tracer,
    Helper,
    Http,
    History,
    Offline,
}

/// How an attempt must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// EPERM, by the list of system calls.
    Refused,
    /// EACCES, by Landlock, if this kernel has it.
    Confined,
    /// It is what this process does.
    Done,
}

impl Process {
    const fn name(self) -> &'static str {
        match self {
            Self::Tracer => "tracer",
            Self::Helper => "helper",
            Self::Http => "http",
            Self::History => "history",
            Self::Offline => "offline",
        }
    }

    fn expected(self, attempt: &str) -> Expected {
        match (self, attempt) {
            // It names processes by their files. Landlock would hide other processes from it.
            (Self::Tracer, "read_file") => Expected::Done,
            (Self::Helper | Self::Offline, "read_file") => Expected::Confined,
            (
                Self::History,
                "read_file" | "write_file" | "create_file" | "remove_file" | "open_memory",
            ) => Expected::Confined,
            _ => Expected::Refused,
        }
    }

    /// Everything at once, and then what ends the process, one after the other.
    fn tries(self, context: &Context) -> Result<()> {
        let aim = Aim::new()?;
        self.is_refused(context, &aim)?;
        // Attaching takes most of the time.
        let is_quick = self == Self::Offline;
        let fatal = if is_quick { &FATAL[..] } else { &FATAL[..3] };
        for attempt in fatal {
            self.is_ended_by(context, &aim, attempt)
                .with_context(|| format!("{}: {attempt}", self.name()))?;
        }
        Ok(())
    }

    fn is_refused(self, context: &Context, aim: &Aim) -> Result<()> {
        let command = self.command(context, aim, "")?;
        let what = format!("the attempts of {}", self.name());
        if matches!(self, Self::Http | Self::History) {
            let service = Service::of(command)?;
            until(&what, || Ok(aim.report()?.ends_with("end\n")))?;
            service.metrics()?;
            service.stop()?;
        } else {
            let status = ended(command)?;
            // There is nothing to read.
            let expected = i32::from(self == Self::Offline);
            ensure!(status.code() == Some(expected), "{what}: {status}");
        }
        let report = aim.report()?;
        let landlock = landlock_version();
        for attempt in REFUSED {
            let outcome = report.lines().find_map(|line| line.strip_prefix(attempt));
            let outcome = outcome.with_context(|| format!("{what}: no {attempt}: {report}"))?;
            let refused = match self.expected(attempt) {
                Expected::Refused => " 1",
                Expected::Confined if landlock == 0 => continue,
                Expected::Confined => " 13",
                Expected::Done => " done",
            };
            ensure!(
                outcome == refused,
                "{what}: {attempt}{outcome}, not{refused}"
            );
        }
        if self == Self::History && landlock == 0 {
            // It has only fewer capabilities then.
            return Ok(());
        }
        aim.is_untouched()
    }

    fn is_ended_by(self, context: &Context, aim: &Aim, attempt: &str) -> Result<()> {
        let command = self.command(context, aim, attempt)?;
        let status = ended(command)?;
        if self == Self::Helper {
            // The tracer continues without it.
            ensure!(status.success(), "{status}");
        } else {
            ensure!(status.signal() == Some(libc::SIGSYS), "{status}");
        }
        let report = aim.report()?;
        ensure!(report.is_empty(), "it continued: {report}");
        aim.is_untouched()
    }

    /// A command that starts the process, which then makes this attempt, or all that fail with an error.
    fn command(self, context: &Context, aim: &Aim, attempt: &str) -> Result<Command> {
        let mut command = match self {
            Self::Tracer | Self::Helper => {
                let mut command = Command::new(&context.twtrace);
                command
                    .args(["report", "--duration", "100ms"])
                    .args(context.tier.options());
                command
            }
            Self::Offline => {
                let mut command = Command::new(&context.twtrace);
                command.args(["report", "--from", "-"]);
                command
            }
            Self::Http => service::command(context, &[]),
            Self::History => {
                let history = aim.directory.path().join("history");
                let history = history.to_str().context("not UTF-8")?;
                service::command(context, &["--history", history])
            }
        };
        fs::write(aim.path("report"), "")?;
        aim.prepare()?;
        let words = [
            self.name(),
            &aim.victim.id().to_string(),
            &aim.path("file"),
            &aim.path("report"),
            attempt,
        ];
        command
            .env("TWTRACE_ATTEMPTS", words.join(" ").trim_end())
            .stdin(Stdio::null());
        Ok(command)
    }
}

/// Runs a command to its end.
fn ended(mut command: Command) -> Result<ExitStatus> {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start twtrace")?;
    let mut status = None;
    let waited = until("it ends", || {
        status = child.try_wait()?;
        Ok(status.is_some())
    });
    if waited.is_err() {
        child.kill()?;
        child.wait()?;
    }
    waited?;
    status.context("no status")
}

/// Another process, and a file that the attempts are about.
struct Aim {
    victim: Child,
    directory: TempDir,
}

impl Aim {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let victim = Command::new("sleep").arg("600").spawn();
        let victim = victim.context("start sleep")?;
        Ok(Self { victim, directory })
    }

    /// Creates the file, and removes what was created beside it.
    fn prepare(&self) -> Result<()> {
        fs::write(self.path("file"), TEXT)?;
        let new = self.path("file.new");
        if fs::exists(&new)? {
            fs::remove_file(new)?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn report(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path("report"))?)
    }

    fn is_untouched(&self) -> Result<()> {
        ensure!(fs::read_to_string(self.path("file"))? == TEXT);
        ensure!(!fs::exists(self.path("file.new"))?, "a file was created");
        let status = fs::read_to_string(format!("/proc/{}/status", self.victim.id()))?;
        if !status.contains("State:\tS") || !status.contains("TracerPid:\t0") {
            bail!("the other process: {status}");
        }
        Ok(())
    }
}

impl Drop for Aim {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}
