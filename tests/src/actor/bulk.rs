//! Thousands of connections, at full speed.

use std::{
    io,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use super::{
    command::{AddressFamily, Fd, FirstCloser, Protocol, SocketOption},
    play::{await_end, open, set},
};
use crate::sys::inet;

/// Connects `count` times, one after the other, and closes each. Returns the number of connections.
pub fn connect_many(target: SocketAddr, count: usize, first: FirstCloser) -> io::Result<usize> {
    for _ in 0..count {
        leave(connected(target)?, first == FirstCloser::Client)?;
    }
    Ok(count)
}

fn connected(target: SocketAddr) -> io::Result<Fd> {
    let fd = tcp_for(target)?;
    inet::connect(fd, &inet::RawAddress::new(target))?;
    Ok(fd)
}

fn tcp_for(target: SocketAddr) -> io::Result<Fd> {
    let family = if target.is_ipv4() {
        AddressFamily::V4
    } else {
        AddressFamily::V6
    };
    open(family, Protocol::Tcp)
}

/// Connects `count` times, one after the other, from `first` and the ports that follow, and resets each at once.
/// Returns the number of connections.
pub fn reset_many(target: SocketAddr, first: SocketAddr, count: u16) -> io::Result<usize> {
    for index in 0..count {
        let fd = tcp_for(target)?;
        let own = SocketAddr::new(first.ip(), first.port().wrapping_add(index));
        inet::bind(fd, own)?;
        inet::connect(fd, &inet::RawAddress::new(target))?;
        set(fd, SocketOption::LingerZero)?;
        inet::close(fd)?;
    }
    Ok(count.into())
}

/// Longest wait for the next connection after the last one of a loop.
const QUIET: Duration = Duration::from_secs(5);

/// Polls accept() until `count` connections have arrived, or no more arrive, and waits for the end of each before
/// closing it. Returns the remote ports.
pub fn accept_polled(listener: Fd, count: usize) -> io::Result<Vec<u16>> {
    inet::set_nonblocking(listener)?;
    let mut ports = Vec::new();
    let mut last = Instant::now();
    while ports.len() < count && last.elapsed() < QUIET {
        match inet::accept_from(listener, 0) {
            Ok((fd, peer)) => {
                // Ends by a RST.
                let _ = await_end(fd);
                inet::close(fd)?;
                ports.push(peer.port());
                last = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ports)
}

/// Connects `count` times, one per `interval`, and closes each after a quarter of it. Returns the number of
/// connections.
///
/// A FIN that overtakes the handshake's last segment on another CPU is answered by a RST now and then, which
/// also ends the TIME_WAIT.
pub fn connect_paced(target: SocketAddr, count: usize, interval: Duration) -> io::Result<usize> {
    let mut due = Instant::now();
    for _ in 0..count {
        // Sleeps until an absolute time, so that a late connection does not delay all others.
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += interval;
        let fd = connected(target)?;
        thread::sleep(interval / 4);
        inet::close(fd)?;
    }
    Ok(count)
}

/// Accepts `count` connections, one after the other, and closes each. Returns the number of connections.
pub fn accept_many(listener: Fd, count: usize, first: FirstCloser) -> io::Result<usize> {
    for _ in 0..count {
        let fd = inet::accept(listener)?;
        leave(fd, first == FirstCloser::Server)?;
    }
    Ok(count)
}

/// Closes at once, or after the peer did: this fixes which end is the active closer.
fn leave(fd: Fd, at_once: bool) -> io::Result<()> {
    if !at_once {
        await_end(fd)?;
    }
    inet::close(fd)
}
