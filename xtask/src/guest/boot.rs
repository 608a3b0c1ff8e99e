//! One boot of one guest: packs it, chooses the accelerator, runs the commands, follows the output.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    initramfs,
    kernels::{self, GuestKernel},
    protocol::Line,
    qemu::{Accelerator, Machine, Mode, NoLine, RunningGuest},
};
use crate::{build::Binaries, workspace::Workspace};

/// Maximum time until guest_init runs.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// The same for a guest that only tests whether KVM works.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// Time limits of a guest.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the start of QEMU to the end.
    pub whole: Duration,
    /// Without a line of output: distinguishes a guest that hangs from a busy one.
    pub silence: Option<Duration>,
}

impl Limits {
    /// Deadline for the next line of a guest that was started at `begun`; `is_up` once guest_init runs.
    fn deadline(&self, begun: Instant, last_line: Instant, is_up: bool) -> Instant {
        if !is_up {
            return begun + self.whole.min(BOOT_LIMIT);
        }
        let end = begun + self.whole;
        self.silence
            .map_or(end, |silence| end.min(last_line + silence))
    }
}

/// A guest to boot.
pub struct Guest<'a> {
    /// Workspace with its files.
    pub workspace: &'a Workspace,
    /// The kernel that it boots.
    pub kernel: &'a GuestKernel,
    /// The programs that it contains.
    pub binaries: &'a Binaries,
    /// How its code is executed; by default the fastest accelerator that works.
    pub accelerator: Option<Accelerator>,
    /// Number of CPUs; one if instructions are counted.
    pub cpus: u8,
    /// Programs of this machine to copy into it, if they are installed.
    pub programs: Vec<&'static str>,
    /// Another build of twtrace, to compare with.
    pub other: Option<&'a Path>,
}

/// How a command in a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// It exited.
    Exited {
        /// Its exit code, 128 + n for signal n.
        code: i32,
        /// How long it ran, by the host's clock.
        took: Duration,
    },
    /// It was running, or had not started, when the guest died or its time was over.
    Unfinished,
}

impl CommandEnd {
    /// The exit code, if it exited.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Exited { code, .. } => Some(*code),
            Self::Unfinished => None,
        }
    }

    /// How long it ran, if it exited.
    pub fn took(&self) -> Option<Duration> {
        match self {
            Self::Exited { took, .. } => Some(*took),
            Self::Unfinished => None,
        }
    }
}

/// Result of a boot.
#[derive(Debug)]
pub struct BootReport {
    /// One for each command, in order.
    pub outcomes: Vec<CommandEnd>,
    /// Why the guest did not finish, if it did not.
    pub trouble: Option<String>,
    /// The output of all commands. Each line begins with the seconds since the start, and QEMU's CPU time in seconds:
    /// the differences between two lines distinguish work from waiting.
    pub console_log: PathBuf,
    /// How its code was executed.
    pub accelerator: Accelerator,
}

impl Guest<'_> {
    /// Boots, runs the commands one after the other, and passes each line of output to `on_line` with the index of its
    /// command.
    ///
    /// # Errors
    /// If the guest can't be packed or started. A guest that dies is reported, and is no error.
    pub fn run(
        &self,
        commands: &[String],
        limits: Limits,
        on_line: &mut dyn FnMut(usize, &str),
    ) -> Result<BootReport> {
        let (machine, _lock) = self.prepare(commands)?;
        let console_log = machine.directory.join("console.log");
        let mut log = File::create(&console_log)
            .with_context(|| format!("can't write {}", console_log.display()))?;
        let running = machine.start(Mode::Run)?;
        let begun = Instant::now();
        let mut follower = Follower::new(commands.len());
        let mut last_line = begun;
        let trouble = loop {
            match running.line(limits.deadline(begun, last_line, follower.ready)) {
                Ok(text) => {
                    last_line = Instant::now();
                    let seconds = begun.elapsed().as_secs_f64();
                    let cpu = running.cpu_time().as_secs_f64();
                    writeln!(log, "{seconds:6.1} {cpu:6.1} {text}")?;
                    if follower.take(&text, on_line) {
                        break None;
                    }
                }
                Err(reason) => {
                    let times = (begun.elapsed(), last_line.elapsed());
                    break Some(follower.trouble(reason, times, &running, &machine));
                }
            }
        };
        if trouble.is_some() {
            print_end(&self.kernel.name, &machine.kernel_log());
        } else {
            // Powering off is quick; a guest that hangs there is killed when `running` is dropped.
            let _ = running.line(Instant::now() + Duration::from_secs(10));
        }
        Ok(BootReport {
            outcomes: follower.outcomes,
            trouble,
            console_log,
            accelerator: machine.accelerator,
        })
    }

    /// Boots to a shell on the terminal.
    pub fn shell(&self) -> Result<()> {
        let (machine, _lock) = self.prepare(&[])?;
        eprintln!(
            "kernel messages: {}; Ctrl-A X switches the guest off",
            machine.kernel_log().display()
        );
        machine.interactive()
    }

    /// Packs the initramfs and chooses the accelerator. The lock prevents other xtasks from using the directory.
    fn prepare(&self, commands: &[String]) -> Result<(Machine, File)> {
        let directory = self.workspace.guests().join(&self.kernel.name);
        fs::create_dir_all(&directory)
            .with_context(|| format!("can't make {}", directory.display()))?;
        let lock = kernels::lock(&directory.join("lock"))?;
        let initramfs = directory.join("initramfs.cpio");
        let contents = initramfs::Contents {
            kernel: self.kernel,
            binaries: self.binaries,
            programs: &self.programs,
            other: self.other,
            commands,
        };
        initramfs::pack(&initramfs, &contents)?;
        let mut machine = Machine {
            vmlinuz: self.kernel.vmlinuz.clone(),
            initramfs,
            directory,
            accelerator: Accelerator::Tcg,
            cpus: self.cpus,
        };
        machine.accelerator = match self.accelerator {
            Some(chosen) => chosen,
            None => self.best_accelerator(&machine)?,
        };
        Ok((machine, lock))
    }

    /// KVM if it boots this kernel. The existence of /dev/kvm is not enough: nested in some virtual machines, KVM fails
    /// at the first unusual instruction. The result is kept for later calls.
    fn best_accelerator(&self, machine: &Machine) -> Result<Accelerator> {
        let usable = File::options()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_ok();
        if !usable {
            return Ok(Accelerator::Tcg);
        }
        let verdict = self.workspace.guests().join("kvm");
        match fs::read_to_string(&verdict).as_deref() {
            Ok("works") => return Ok(Accelerator::Kvm),
            Ok("fails") => return Ok(Accelerator::Tcg),
            _ => {}
        }
        let probe = Machine {
            accelerator: Accelerator::Kvm,
            ..machine.clone()
        };
        let running = probe.start(Mode::Probe)?;
        let deadline = Instant::now() + PROBE_LIMIT;
        let works = loop {
            match running.line(deadline) {
                Ok(text) if Line::parse(&text) == Line::Ready => break true,
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        let (word, accelerator) = if works {
            ("works", Accelerator::Kvm)
        } else {
            ("fails", Accelerator::Tcg)
        };
        eprintln!(
            "guests run by {accelerator} (KVM {word} here; kept in {})",
            verdict.display()
        );
        fs::write(&verdict, word)?;
        Ok(accelerator)
    }
}

/// Tracks which command the guest is running.
struct Follower {
    outcomes: Vec<CommandEnd>,
    current: usize,
    /// When the current command began.
    begun: Instant,
    ready: bool,
}

impl Follower {
    fn new(commands: usize) -> Self {
        Self {
            outcomes: vec![CommandEnd::Unfinished; commands],
            current: 0,
            begun: Instant::now(),
            ready: false,
        }
    }

    /// Takes one line; returns true if it was the last one.
    fn take(&mut self, text: &str, on_line: &mut dyn FnMut(usize, &str)) -> bool {
        match Line::parse(text) {
            Line::Ready => self.ready = true,
            Line::Begin(index) => {
                self.current = index;
                self.begun = Instant::now();
            }
            Line::Exit(code) => {
                if let Some(outcome) = self.outcomes.get_mut(self.current) {
                    *outcome = CommandEnd::Exited {
                        code,
                        took: self.begun.elapsed(),
                    };
                }
            }
            Line::Text(text) => on_line(self.current, text),
            Line::End => return true,
        }
        false
    }

    fn trouble(
        &self,
        reason: NoLine,
        (after, silent): (Duration, Duration),
        running: &RunningGuest,
        machine: &Machine,
    ) -> String {
        let what = match reason {
            NoLine::Off => "the guest died",
            NoLine::Timeout if self.ready => "the guest's time was up",
            NoLine::Timeout => "the guest did not come up",
            NoLine::Broken => "the accelerator gave up",
        };
        let complaint = running.complaint();
        let separator = if complaint.is_empty() { "" } else { ": " };
        format!(
            "{what} after {} s, the last {} without a line{separator}{complaint} (kernel messages in {})",
            after.as_secs(),
            silent.as_secs(),
            machine.kernel_log().display()
        )
    }
}

/// Prints the last kernel messages: they explain why a guest died.
fn print_end(guest: &str, kernel_log: &Path) {
    const LINES: usize = 20;
    let text = fs::read(kernel_log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        eprintln!("[{guest}] kernel: {}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_stands_still_is_not_waited_for_to_the_end() {
        let second = Duration::from_secs(1);
        let mut limits = Limits {
            whole: 1500 * second,
            silence: Some(180 * second),
        };
        let begun = Instant::now();
        let after = |seconds| begun + seconds * second;
        assert_eq!(limits.deadline(begun, begun, false), begun + BOOT_LIMIT);
        assert_eq!(limits.deadline(begun, after(30), true), after(210));
        assert_eq!(limits.deadline(begun, after(1400), true), after(1500));
        limits.silence = None;
        assert_eq!(limits.deadline(begun, after(30), true), after(1500));
    }

    #[test]
    fn output_and_exit_codes_are_matched_to_commands() {
        let mut follower = Follower::new(3);
        let mut seen = Vec::new();
        let lines = [
            "@@twtrace ready",
            "@@twtrace begin 0",
            "a",
            "@@twtrace exit 0",
            "@@twtrace begin 1",
            "b",
            "@@twtrace exit 1",
        ];
        for line in lines {
            assert!(!follower.take(line, &mut |index, text| seen.push((index, text.to_owned()))));
        }
        assert!(follower.ready);
        assert_eq!(seen, [(0, "a".to_owned()), (1, "b".to_owned())]);
        let codes: Vec<_> = follower.outcomes.iter().map(CommandEnd::code).collect();
        assert_eq!(codes, [Some(0), Some(1), None]);
        assert!(follower.take("@@twtrace end", &mut |_, _| {}));
    }
}
