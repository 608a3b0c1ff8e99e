//! Hostile clients, and too many clients.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::service::Service;
use crate::{runner::Context, sys::http};

/// Connections that send their request slowly, or never.
const SLOW: usize = 600;
/// Scrapes at the same time.
const SCRAPES: u64 = 1_000;
/// Maximum growth for all of it, KiB. Half of it is enough; a page takes a few hundred.
const MAX_GROWTH_KIB: u64 = 24 << 10;

/// The service continues to trace, answers others, and its memory stays bounded.
pub fn clients(context: &Context) -> Result<()> {
    let service = Service::start(context, &[])?;
    let at = service.address;
    // Memory that is allocated once is allocated before the measurement.
    service.metrics()?;
    let before_kib = service.peak_memory_kib()?;

    // Slow clients, and some that send headers without end.
    let mut slow = Vec::new();
    for number in 0..SLOW {
        if let Ok(mut stream) = TcpStream::connect(at) {
            let _ = stream.write_all(match number % 3 {
                0 => b"",
                1 => b"GET /metrics HTTP/1.1\r\nX-A: ",
                // Requested, and never read.
                _ => b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            });
            slow.push(stream);
        }
    }
    // Some may find the queue full.
    ensure!(slow.len() > SLOW / 2, "{} slow clients", slow.len());
    let endless = thread::spawn(move || endless_header(at));
    // One of them may have to wait until others have been dropped.
    let answer = http::get(at, "/metrics")?;
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(http::get(at, "/healthz")?.status == 200);
    for stream in &mut slow {
        let _ = stream.write_all(b"a");
    }
    let taken = endless.join().ok().context("the client panicked")??;
    ensure!(taken < 1 << 20, "took {taken} bytes of one header");
    garbage(at)?;

    // All at the same time.
    let (answered, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..SCRAPES {
            scope.spawn(|| match http::get(at, "/metrics") {
                Ok(answer) if answer.status == 200 => answered.fetch_add(1, Ordering::Relaxed),
                _ => refused.fetch_add(1, Ordering::Relaxed),
            });
        }
    });
    let (answered, refused) = (answered.into_inner(), refused.into_inner());
    // Nearly all, if the CPUs are otherwise idle.
    ensure!(
        answered > SCRAPES / 2,
        "{answered} scrapes of {SCRAPES} were answered, {refused} were not"
    );
    drop(slow);

    ensure!(http::get(at, "/readyz")?.status == 200);
    let growth_kib = service.peak_memory_kib()?.saturating_sub(before_kib);
    ensure!(growth_kib < MAX_GROWTH_KIB, "took {growth_kib} KiB more");
    let said = service.stop()?;
    ensure!(said.len() == 1, "{said:?}");
    Ok(())
}

/// How much of a header is read before the connection is closed.
fn endless_header(at: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    let mut taken = 0;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nX-A: ")?;
    while taken < 64 << 20 {
        match stream.write(&[b'a'; 4_096]) {
            Ok(length @ 1..) => taken += length as u64,
            // Closed, or it no longer reads.
            _ => break,
        }
    }
    // What the kernel buffers on both sides was not read by the service.
    Ok(taken.saturating_sub(8 << 20))
}

/// Input that is not HTTP is answered with an error or a close.
fn garbage(at: SocketAddr) -> Result<()> {
    for text in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET /metrics\r\n\r\n",
        b"GET \x1b[31m HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n",
        b"\r\n\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(at)?;
        stream.write_all(text)?;
        stream.shutdown(Shutdown::Write)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut answer = Vec::new();
        // An error also ends it.
        let _ = stream.read_to_end(&mut answer);
    }
    Ok(())
}
