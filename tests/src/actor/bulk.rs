//! Connections by the thousand, at full speed.

use std::{
    io,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use super::{
    command::{Family, Fd, FirstCloser, Protocol},
    play::{await_end, open},
};
use crate::sys::inet;

/// Connects `count` times, one after the other, and closes each. Returns how many there were.
///
/// # Errors
/// errno of the first call that failed.
pub fn connect_many(target: SocketAddr, count: usize, first: FirstCloser) -> io::Result<usize> {
    for _ in 0..count {
        leave(connected(target)?, first == FirstCloser::Client)?;
    }
    Ok(count)
}

fn connected(target: SocketAddr) -> io::Result<Fd> {
    let family = if target.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    let fd = open(family, Protocol::Tcp)?;
    inet::connect(fd, &inet::RawAddress::new(target))?;
    Ok(fd)
}

/// Connects `count` times, one each `interval`, and closes each after a quarter of that. Returns how many there
/// were.
///
/// A FIN that overtakes the handshake's last segment on another CPU is answered by a RST now and then, which
/// also ends the TIME_WAIT.
///
/// # Errors
/// errno of the first call that failed.
pub fn connect_paced(target: SocketAddr, count: usize, interval: Duration) -> io::Result<usize> {
    let mut due = Instant::now();
    for _ in 0..count {
        // By the clock, so that a late one does not make all others late.
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += interval;
        let fd = connected(target)?;
        thread::sleep(interval / 4);
        inet::close(fd)?;
    }
    Ok(count)
}

/// Accepts `count` connections, one after the other, and closes each. Returns how many there were.
///
/// # Errors
/// errno of the first call that failed.
pub fn accept_many(listener: Fd, count: usize, first: FirstCloser) -> io::Result<usize> {
    for _ in 0..count {
        let fd = inet::accept(listener)?;
        leave(fd, first == FirstCloser::Server)?;
    }
    Ok(count)
}

/// Closes at once, or after the peer did: so it is sure which end is the active closer.
fn leave(fd: Fd, at_once: bool) -> io::Result<()> {
    if !at_once {
        await_end(fd)?;
    }
    inet::close(fd)
}
