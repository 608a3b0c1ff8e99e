//! Messages to the service manager.

use std::{os::unix::net::UnixDatagram, process::Command, time::Duration};

use anyhow::{Result, ensure};

use super::service::{self, Service};
use crate::runner::Context;

/// Ready, alive, reloading, ready again, stopping: in this order.
pub fn notified(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket)?;
    manager.set_read_timeout(Some(Duration::from_secs(60)))?;
    let serve = service::command(context, &[]);
    // The watchdog names the watched process by its pid.
    let mut command = Command::new("sh");
    command
        .args(["-c", "WATCHDOG_PID=$$ exec \"$@\"", "sh"])
        .arg(serve.get_program())
        .args(serve.get_args())
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "2000000");
    let mut service = Service::of(command)?;
    let until = |word: &str| -> Result<()> {
        let mut heard = Vec::new();
        for _ in 0..20 {
            let mut message = [0; 4_096];
            let length = manager.recv(&mut message)?;
            let message = String::from_utf8_lossy(&message[..length]).into_owned();
            if message.lines().any(|line| line == word) {
                return Ok(());
            }
            heard.push(message);
        }
        anyhow::bail!("no {word}: {heard:?}")
    };
    until("READY=1")?;
    for _ in 0..3 {
        until("WATCHDOG=1")?;
    }
    service.signal(libc::SIGHUP)?;
    until("RELOADING=1")?;
    until("READY=1")?;
    service.signal(libc::SIGTERM)?;
    until("STOPPING=1")?;
    let status = service.ended()?;
    ensure!(status.success(), "{status}");
    Ok(())
}
