//! The server that the command and the noise connect to.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::actor::program::{self, Way};

/// More connections than the noise opens during any check.
const NOISE: usize = 200_000;

/// Serves everybody as long as the runner lives: closes when the client has, or after the answer to a HTTP/1.0 request.
///
/// # Errors
/// If the namespace of the calling thread has no loopback interface.
pub fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A broken connection is no error of the server.
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..length]);
        if request.ends_with(b"\r\n\r\n") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwell\n")?;
            if request.windows(8).any(|bytes| bytes == b"HTTP/1.0") {
                return Ok(());
            }
            request.clear();
        }
    }
}

/// Another process that connects to the same server all the time. Stopped when dropped.
pub struct Noise {
    child: Child,
    made: Arc<AtomicU64>,
}

impl Noise {
    /// Starts it, and waits until it connects.
    pub fn start(server: SocketAddr) -> Result<Self> {
        let line = program::line(Way::Noise, server, NOISE)?;
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = child.stdout.take().context("no output")?;
        let made = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&made);
        thread::spawn(move || {
            let mut buffer = [0; 256];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                counted.fetch_add(length as u64, Ordering::Relaxed);
            }
        });
        let noise = Self { child, made };
        while noise.made() == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(noise)
    }

    /// Number of connections so far.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has ended.
    pub fn check(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the noise is over: {ended:?}");
        Ok(())
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
