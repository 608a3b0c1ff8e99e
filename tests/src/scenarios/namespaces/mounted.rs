//! A network namespace that only a mount keeps, as `ip netns add` creates it: processes come and go.

use std::{fs::File, os::fd::AsRawFd, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::{super::command::in_netns, inside::traffic, row_of};
use crate::{
    actor::Actor,
    runner::{Context, report::RunningReport},
    sys::{check, mount::Mount, netns},
};

/// Traffic of a thread that enters the namespace and leaves nothing behind in it but TIME_WAITs.
fn play_in(namespace: &Path) -> Result<()> {
    let file = File::open(namespace)?;
    let play = move || -> Result<()> {
        // SAFETY: integers only; the descriptor is open.
        check(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) })?;
        drop(traffic()?);
        Ok(())
    };
    let played = thread::spawn(play).join();
    played.map_err(|_| anyhow!("the traffic panicked"))?
}

/// It is audited, although no process is in it when its counters are read.
pub fn kept_by_mount(context: &Context) -> Result<()> {
    /// At least so many births has [`traffic`]; more if what it leaves open is closed.
    const BIRTHS: u64 = 5;
    let file = tempfile::NamedTempFile::new()?;
    let (_mount, netns) = in_netns(|| {
        let mount = Mount::bind(c"/proc/thread-self/ns/net", file.path());
        Ok((mount.context("mount a namespace")?, netns::own()?))
    })?;
    let report = RunningReport::start(&context.twtrace, &context.tier.options())?;
    play_in(file.path())?;
    play_in(file.path())?;
    let report = report.end()?;
    let row = row_of(&report, "audit", netns)?;
    let births = row["births_kernel"].as_u64();
    ensure!(births >= Some(2 * BIRTHS), "{row}");
    ensure!(row["births_seen"].as_u64() == births, "{row}");
    ensure!(row["audited"] == true, "{row}");
    Ok(())
}

/// The same if it was reached through a process first, which has ended: it was created after tracing began, as by
/// `ip netns add` and `ip netns exec`.
pub fn left_to_its_mount(context: &Context) -> Result<()> {
    /// It is read five times per second.
    const READ: Duration = Duration::from_millis(700);
    let file = tempfile::NamedTempFile::new()?;
    let report = RunningReport::start(&context.twtrace, &context.tier.options())?;
    let (_mount, netns, open) = in_netns(|| {
        let mount = Mount::bind(c"/proc/thread-self/ns/net", file.path());
        let mount = mount.context("mount a namespace")?;
        let inhabitant = Actor::start("inhabitant".to_owned())?;
        let open = traffic()?;
        thread::sleep(READ);
        inhabitant.exit()?;
        Ok((mount, netns::own()?, open))
    })?;
    let report = report.end()?;
    drop(open);
    let row = row_of(&report, "audit", netns)?;
    ensure!(row["audited"] == true, "{row}");
    ensure!(row["births_seen"] == row["births_kernel"], "{row}");
    Ok(())
}
