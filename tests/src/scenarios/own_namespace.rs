//! A network namespace for one check, entered by a thread, with a process by which others find it.

use std::{fs, process::Command, thread};

use anyhow::{Context as _, Result};

use crate::sys::netns;

/// Runs `play` in a new namespace, and tells it a path of that (`/proc/PID/ns/net`).
///
/// # Errors
/// If there can be no namespace, or those of `play`.
pub fn play_in_own(play: impl FnOnce(&str) -> Result<()> + Send) -> Result<()> {
    thread::scope(|scope| {
        let played = scope.spawn(|| -> Result<()> {
            netns::enter_new()?;
            let mut resident = Command::new("sleep").arg("600").spawn()?;
            let done = play(&format!("/proc/{}/ns/net", resident.id()));
            resident.kill()?;
            resident.wait()?;
            done
        });
        played.join().ok().context("it panicked")?
    })
}

/// Changes a setting of this thread's namespace, by its name in `net.ipv4`.
///
/// # Errors
/// If there is no such setting, or it takes no such value.
pub fn set_ipv4(name: &str, value: &str) -> Result<()> {
    fs::write(format!("/proc/sys/net/ipv4/{name}"), value).context(name.to_owned())
}
