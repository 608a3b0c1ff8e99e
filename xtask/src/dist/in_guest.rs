//! The package in a Debian guest with systemd, under QEMU: as a service, killed, reloaded, removed.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Artifacts,
    disk::{self, Disk},
    staging::Staging,
};
use crate::{
    guest::{self, Accelerator, NoLine, RunningGuest, tools},
    workspace::Workspace,
};

const SCRIPT: &str = include_str!("guest_check.sh");
/// From power-on to power-off.
const LIMIT: Duration = Duration::from_secs(1200);

/// Boots the guest, and prints its output.
///
/// # Errors
/// If it does not finish, or a check fails.
pub fn play(workspace: &Workspace, artifacts: &Artifacts) -> Result<()> {
    tools::ensure_for_guests()?;
    let disk = disk::bootable(workspace)?;
    let directory = workspace.target.join("debian-roots/guest");
    let given = Staging::new(directory.join("given"))?;
    let package = fs::read(&artifacts.deb)?;
    given.put("twtrace.deb", &package)?;
    given.put("check.sh", SCRIPT.as_bytes())?;
    let second = directory.join("given.img");
    disk::make(&second, given.root(), "32M")?;

    let log_path = directory.join("check.log");
    let mut log =
        File::create(&log_path).with_context(|| format!("can't write {}", log_path.display()))?;
    let kernel_log = directory.join("kernel.log");
    let machine = machine(&disk, &second, &kernel_log);
    let running = RunningGuest::of(machine, directory.join("qemu.log"))?;
    let deadline = Instant::now() + LIMIT;
    let mut verdicts = Verdicts::default();
    loop {
        match running.line(deadline) {
            Ok(line) => {
                eprintln!("{line}");
                writeln!(log, "{line}")?;
                verdicts.take(&line);
            }
            Err(NoLine::Off) => break,
            Err(NoLine::Timeout | NoLine::Broken) => {
                bail!(
                    "the guest did not come to its end in {} s: {} (kernel messages in {})",
                    LIMIT.as_secs(),
                    running.complaint(),
                    kernel_log.display()
                )
            }
        }
    }
    verdicts.judge().with_context(|| {
        format!(
            "{}, kernel messages in {}; {}",
            log_path.display(),
            kernel_log.display(),
            running.complaint()
        )
    })
}

/// Emulated: it boots in half a minute, and works everywhere.
fn machine(disk: &Disk, second: &Path, kernel_log: &Path) -> Command {
    let mut command = guest::bare(Accelerator::Tcg, guest::CPUS, &disk.kernel, &disk.initramfs);
    command
        .args([
            "-append",
            "console=ttyS0 no_timer_check norandmaps root=/dev/vda rw panic=-1 softlockup_panic=1 loglevel=4",
        ])
        // Changes are discarded when the guest ends.
        .arg("-drive")
        .arg(format!(
            "file={},if=virtio,format=raw,snapshot=on",
            disk.image.display()
        ))
        .arg("-drive")
        .arg(format!(
            "file={},if=virtio,format=raw,readonly=on",
            second.display()
        ))
        .arg("-serial")
        .arg(format!("file:{}", kernel_log.display()))
        .args(["-serial", "stdio"]);
    command
}

/// Number of verdicts that the script prints: one that ends early is no success.
fn expected() -> usize {
    let lines = SCRIPT.lines();
    lines.filter(|line| line.starts_with("check \"")).count()
}

/// What the script printed.
#[derive(Debug, Default)]
struct Verdicts {
    good: usize,
    bad: Vec<String>,
    is_ended: bool,
}

impl Verdicts {
    fn take(&mut self, line: &str) {
        if line.starts_with("ok ") {
            self.good += 1;
        } else if let Some(name) = line.strip_prefix("not ok ") {
            self.bad.push(name.to_owned());
        } else if line == "end" {
            self.is_ended = true;
        }
    }

    fn judge(&self) -> Result<()> {
        ensure!(self.is_ended, "the guest went before the script ended");
        ensure!(
            self.bad.is_empty(),
            "not so in the guest: {}",
            self.bad.join("; ")
        );
        ensure!(
            self.good == expected(),
            "{} verdicts came in place of {}",
            self.good,
            expected()
        );
        eprintln!("{} of {} in the guest", self.good, self.good);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_counts_and_the_end_has_to_come() {
        let mut verdicts = Verdicts {
            good: expected() - 1,
            ..Verdicts::default()
        };
        verdicts.take("ok it is active");
        assert!(verdicts.judge().is_err(), "no end");
        verdicts.take("end");
        assert!(verdicts.judge().is_ok());
        verdicts.take("not ok it comes back");
        let error = verdicts.judge().unwrap_err().to_string();
        assert!(error.contains("it comes back"), "{error}");
        let few = Verdicts {
            good: 3,
            is_ended: true,
            ..Verdicts::default()
        };
        assert!(few.judge().is_err());
    }
}
