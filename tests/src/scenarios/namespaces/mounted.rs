//! A network namespace that only a mount keeps, as `ip netns add` creates it: processes come and go.

use std::{ffi::CString, fs::File, os::fd::AsRawFd, os::unix::ffi::OsStrExt, ptr, thread};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::{super::command::in_netns, inside::traffic, row_of};
use crate::{
    runner::{Context, report::RunningReport},
    sys::{check, netns},
};

/// A file on which the calling thread's network namespace is mounted; unmounted when dropped.
struct NamespaceMount(tempfile::NamedTempFile);

impl NamespaceMount {
    fn new() -> Result<Self> {
        let file = tempfile::NamedTempFile::new()?;
        let path = CString::new(file.path().as_os_str().as_bytes())?;
        // SAFETY: all texts are NUL-terminated and live for the length of the call; a bind mount has no options.
        check(unsafe {
            libc::mount(
                c"/proc/thread-self/ns/net".as_ptr(),
                path.as_ptr(),
                ptr::null(),
                libc::MS_BIND,
                ptr::null(),
            )
        })
        .context("mount a namespace")?;
        Ok(Self(file))
    }

    /// Traffic of a thread that enters the namespace and leaves nothing behind in it but TIME_WAITs.
    fn play(&self) -> Result<()> {
        let file = File::open(self.0.path())?;
        let play = move || -> Result<()> {
            // SAFETY: integers only; the descriptor is open.
            check(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) })?;
            drop(traffic()?);
            Ok(())
        };
        let played = thread::spawn(play).join();
        played.map_err(|_| anyhow!("the traffic panicked"))?
    }
}

impl Drop for NamespaceMount {
    fn drop(&mut self) {
        if let Ok(path) = CString::new(self.0.path().as_os_str().as_bytes()) {
            // SAFETY: the text is NUL-terminated and lives for the length of the call.
            unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

/// It is audited, although no process is in it when its counters are read.
pub fn kept_by_mount(context: &Context) -> Result<()> {
    /// At least so many births has [`traffic`]; more if what it leaves open is closed.
    const BIRTHS: u64 = 5;
    let (mount, netns) = in_netns(|| Ok((NamespaceMount::new()?, netns::own()?)))?;
    let report = RunningReport::start(&context.twtrace, &context.tier.options())?;
    mount.play()?;
    mount.play()?;
    let report = report.end()?;
    let row = row_of(&report, "audit", netns)?;
    let births = row["births_kernel"].as_u64();
    ensure!(births >= Some(2 * BIRTHS), "{row}");
    ensure!(row["births_seen"].as_u64() == births, "{row}");
    ensure!(row["audited"] == true, "{row}");
    Ok(())
}
