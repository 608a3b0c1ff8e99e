//! Connections of a process with a unique name, so that its counts can be identified.

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::fs::symlink,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::super::own_namespace::set_ipv4;
use crate::{
    actor::program::{self, Way},
    sys::proc_net::KernelCounters,
};

/// A program with a name of its own.
pub struct NamedProgram {
    directory: TempDir,
    /// comm of its processes.
    pub comm: String,
}

impl NamedProgram {
    /// # Errors
    /// If the file can't be created.
    pub fn new(name: &str) -> Result<Self> {
        let comm = format!("{name}{}", std::process::id());
        ensure!(comm.len() < 16, "{comm}: the kernel keeps 15 bytes");
        let directory = tempfile::tempdir()?;
        symlink(std::env::current_exe()?, directory.path().join(&comm))?;
        Ok(Self { directory, comm })
    }

    /// Connects `count` times to `address`, where [`answer`] listens, and closes each first.
    ///
    /// # Errors
    /// If a connection fails.
    pub fn connect(&self, address: SocketAddr, count: usize) -> Result<()> {
        let line = program::line(Way::Plain, address, count)?;
        let status = Command::new(self.directory.path().join(&self.comm))
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("start a program under another name")?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

/// Listens, and closes each of `count` connections after its client did.
///
/// # Errors
/// If it can't listen on the address.
pub fn answer(address: &str, count: usize) -> Result<(SocketAddr, thread::JoinHandle<Result<()>>)> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let thread = thread::spawn(move || {
        for _ in 0..count {
            let (mut stream, _) = listener.accept()?;
            std::io::copy(&mut stream, &mut std::io::sink())?;
        }
        Ok(())
    });
    Ok((address, thread))
}

/// Takes all local ports of this thread's namespace, of which it leaves [`PORTS`], towards a server that then ends. None is
/// reused.
///
/// # Errors
/// If a setting can't be changed, or a connection fails.
pub fn fill_ports(named: &NamedProgram, server: &str) -> Result<()> {
    set_ipv4("ip_local_port_range", "40000 40019")?;
    set_ipv4("tcp_tw_reuse", "0")?;
    let connect = |count: usize| -> Result<()> {
        let (address, server) = answer(server, count)?;
        named.connect(address, count)?;
        server.join().ok().context("the server panicked")?
    };
    connect(PORTS)?;
    // Late RSTs may have ended some.
    for _ in 0..PORTS {
        if KernelCounters::read()?.alive + 2 >= PORTS as u64 {
            break;
        }
        connect(1)?;
    }
    Ok(())
}

/// Ports that [`fill_ports`] leaves.
const PORTS: usize = 20;
