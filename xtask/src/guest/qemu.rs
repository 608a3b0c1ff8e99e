//! QEMU: starts and watches a guest. The kernel's console is the first serial line and is written to a file; the second
//! is guest_init's, so that kernel messages never break its lines.

use std::{
    fmt,
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

/// What runs the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accelerator {
    /// The processor, by the host's kernel.
    Kvm,
    /// QEMU's own emulation: slow, but works everywhere. The guest's CPUs take turns on one thread: attaching patches
    /// the kernel's code, and if another CPU runs that code at the same time, QEMU (7.2) sometimes hits a breakpoint
    /// that was already removed, and the guest dies with "Oops: int3" or hangs.
    Tcg,
    /// The same with a thread for each of the guest's CPUs: they really race, and one boot in ten dies.
    TcgParallel,
    /// The emulation with a clock that counts the guest's instructions, a nanosecond each, and jumps while the guest
    /// waits: times measured in the guest do not depend on other load of the host. It has one CPU: the clock would also
    /// count the instructions of others, and Linux 5.10 does not bring up another CPU with such a clock.
    TcgCounted,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "QEMU's emulation",
            Self::TcgParallel => "QEMU's emulation in parallel threads",
            Self::TcgCounted => "QEMU's emulation with a clock that counts instructions",
        })
    }
}

/// What guest_init does: its only argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Run,
    /// Starts a shell.
    Shell,
    /// Reports that the guest is up, and powers off.
    Probe,
}

impl Mode {
    fn argument(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Shell => "shell",
            Self::Probe => "probe",
        }
    }
}

/// Number of CPUs of a guest, for comparable results.
pub const CPUS: u8 = 2;

/// QEMU with what every guest has: a kernel, no devices, and this many CPUs if possible.
pub fn bare(accelerator: Accelerator, cpus: u8, kernel: &Path, initramfs: &Path) -> Command {
    let name = match accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Tcg | Accelerator::TcgCounted => "tcg,thread=single",
        Accelerator::TcgParallel => "tcg,thread=multi",
    };
    let mut command = Command::new("qemu-system-x86_64");
    let counted = accelerator == Accelerator::TcgCounted;
    if counted {
        command.args(["-icount", "shift=0,sleep=off"]);
    }
    let cpus = if counted { 1 } else { cpus }.to_string();
    // Emulation moves memory byte by byte if the processor claims to be fast at that (`rep movsb`); the kernel then
    // uses it for pages and for programs that it verifies: a third of the time of attaching.
    let model = match accelerator {
        Accelerator::Tcg | Accelerator::TcgParallel => "max,-erms,-fsrm",
        Accelerator::Kvm | Accelerator::TcgCounted => "max",
    };
    command
        .args(["-accel", name, "-cpu", model, "-smp", &cpus, "-m", "1500M"])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs);
    command
}

/// A machine to boot.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel image.
    pub vmlinuz: PathBuf,
    /// Its initramfs.
    pub initramfs: PathBuf,
    /// Directory for the logs.
    pub directory: PathBuf,
    /// How the guest's code is executed.
    pub accelerator: Accelerator,
    /// Number of CPUs.
    pub cpus: u8,
}

impl Machine {
    /// File of the kernel's messages.
    pub fn kernel_log(&self) -> PathBuf {
        self.directory.join("kernel.log")
    }

    fn qemu_log(&self) -> PathBuf {
        self.directory.join("qemu.log")
    }

    fn command(&self, mode: Mode) -> Command {
        // A guest that locks up dies, with a stack in its log. On a busy host the kernel's check of the timer panics
        // ("IO-APIC + timer doesn't work"): it is disabled. With address randomisation, emulation translates the code
        // again for each process: half of the time of scenarios that start several.
        let append = format!(
            "console=ttyS0 no_timer_check loglevel=7 softlockup_panic=1 watchdog_thresh=30 panic=-1 norandmaps -- {}",
            mode.argument()
        );
        let mut command = bare(self.accelerator, self.cpus, &self.vmlinuz, &self.initramfs);
        command
            .args(["-append", &append, "-serial"])
            .arg(format!("file:{}", self.kernel_log().display()))
            .arg("-serial")
            .arg(if mode == Mode::Shell {
                "mon:stdio"
            } else {
                "stdio"
            });
        command
    }

    /// Connects the terminal to the guest until it is powered off (or Ctrl-A X is typed).
    ///
    /// # Errors
    /// If QEMU can't be run or fails.
    pub fn interactive(&self) -> Result<()> {
        let mut command = self.command(Mode::Shell);
        die_with_xtask(&mut command);
        let status = command.status().context("can't run qemu-system-x86_64")?;
        if !status.success() {
            bail!("qemu-system-x86_64 failed with {status}");
        }
        Ok(())
    }

    /// Starts the guest.
    pub fn start(&self, mode: Mode) -> Result<RunningGuest> {
        RunningGuest::of(self.command(mode), self.qemu_log())
    }
}

/// Guests end with xtask, in whatever way it ends.
fn die_with_xtask(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe, so it may be called between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

/// A running guest. Dropping it kills it.
pub struct RunningGuest {
    child: Child,
    lines: Receiver<String>,
    qemu_log: PathBuf,
}

/// Why there is no further line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLine {
    /// The guest is off.
    Off,
    /// The deadline has passed.
    Timeout,
    /// The accelerator failed; QEMU continues to run, but the guest hangs.
    Broken,
}

impl RunningGuest {
    /// Runs QEMU with this command, which has a serial line on its stdout; its error messages are written to a file.
    pub fn of(mut command: Command, qemu_log: PathBuf) -> Result<Self> {
        let log = File::create(&qemu_log)
            .with_context(|| format!("can't write {}", qemu_log.display()))?;
        die_with_xtask(&mut command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("can't run qemu-system-x86_64")?;
        let (sender, lines) = mpsc::channel();
        let output = child.stdout.take().context("QEMU has no stdout")?;
        thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line)
                    .trim_end_matches(['\r', '\n'])
                    .to_owned();
                line.clear();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            lines,
            qemu_log,
        })
    }

    /// Waits for the next line until `deadline`.
    pub fn line(&self, deadline: Instant) -> Result<String, NoLine> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left.min(Duration::from_secs(1))) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Disconnected) => return Err(NoLine::Off),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(NoLine::Timeout),
                Err(RecvTimeoutError::Timeout) if self.is_broken() => return Err(NoLine::Broken),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Its CPU time so far; zero if that can't be read.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let ticks = ticks_of(&stat.unwrap_or_default()).unwrap_or(0);
        // SAFETY: no memory is involved.
        let a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Duration::from_millis(ticks * 1000 / u64::try_from(a_second).unwrap_or(100).max(1))
    }

    fn is_broken(&self) -> bool {
        read_lossy(&self.qemu_log).contains("KVM internal error")
    }

    /// QEMU's own error messages.
    pub fn complaint(&self) -> String {
        read_lossy(&self.qemu_log)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    }
}

impl Drop for RunningGuest {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Clock ticks that a process spent in user and kernel mode, from its /proc/PID/stat.
fn ticks_of(stat: &str) -> Option<u64> {
    // The name before may contain anything. utime and stime are fields 14 and 15; the first after the name is 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let mut next = || times.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn read_lossy(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_whatever_the_name_is() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 90 80 0 0 250 50 3 4 20 0 1 0 100";
        assert_eq!(ticks_of(stat), Some(300));
        assert_eq!(ticks_of(""), None);
        assert_eq!(ticks_of("7 (a) S 1"), None);
    }
}
