//! Hundreds of short-lived processes per second, each with a few connections.

use std::{
    io::{self, Read as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    ptr,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::sys::{check, inet, netns, process};

/// Number of listeners: half of them close first, the clients of the others do.
const LISTENERS: u8 = 16;
/// Clients close one of this many connections with a RST.
const RESET_EVERY: u64 = 16;
/// Maximum number of jobs at the same time, so that they do not accumulate on a slow machine.
const MAX_RUNNING: u64 = 512;

/// How long the namespace still exists when everything has been played.
pub const AFTERWARDS: Duration = Duration::from_secs(25);

/// Size of the load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Processes started per second.
    pub jobs_per_s: u32,
    /// Connections of each process.
    pub connections: u32,
    /// Number of different process names.
    pub names: u32,
    pub duration: Duration,
}

/// What was played, in memory that all processes share.
#[derive(Debug, Default)]
pub struct LoadCounters {
    /// Processes that have started and exited.
    pub jobs: AtomicU64,
    /// Connections that the client closed first.
    pub client_first: AtomicU64,
    /// Connections that the server closed first.
    pub server_first: AtomicU64,
    /// Connections that the client reset.
    pub resets: AtomicU64,
    /// Connections that failed to open.
    pub failed: AtomicU64,
    /// Inode number of the network namespace.
    pub netns: AtomicU64,
    /// 1 when everything has been played; the namespace still exists for a while.
    pub done: AtomicU64,
}

impl LoadCounters {
    /// # Errors
    /// errno of mmap().
    pub fn shared() -> io::Result<&'static Self> {
        // SAFETY: a new mapping of its own.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<Self>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: zeroed, aligned to a page, large enough, and mapped until the process ends.
        Ok(unsafe { &*memory.cast::<Self>() })
    }
}

/// Starts it in a process of its own, in a network namespace of its own. Returns its pid.
///
/// # Errors
/// errno of fork().
pub fn start(load: Load, played: &'static LoadCounters) -> io::Result<i32> {
    // SAFETY: the caller has no other threads.
    let pid = check(unsafe { libc::fork() })?;
    if pid == 0 {
        let code = match play(load, played) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("soak: {error:#}");
                1
            }
        };
        // SAFETY: ends only this process.
        unsafe { libc::_exit(code) };
    }
    Ok(pid)
}

fn play(load: Load, played: &'static LoadCounters) -> Result<()> {
    process::die_with_parent()?;
    let netns = netns::enter_new().context("a network namespace")?;
    played.netns.store(netns, Ordering::Relaxed);
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535")?;
    // The default depends on the machine's memory.
    std::fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "1048576")?;
    // SAFETY: no other threads yet.
    let server = check(unsafe { libc::fork() })?;
    if server == 0 {
        let served = process::die_with_parent()
            .map_err(Into::into)
            .and_then(|()| serve());
        eprintln!("soak: the server ended: {served:?}");
        // SAFETY: as above.
        unsafe { libc::_exit(1) };
    }
    let ready = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address(LISTENERS - 1)).is_err() {
        ensure!(Instant::now() < ready, "the server does not listen");
        thread::sleep(Duration::from_millis(10));
    }
    // That was a connection that the server closed first.
    played.server_first.fetch_add(1, Ordering::Relaxed);
    let run = run_jobs(load, played);
    // Connections may still be open on its side, and a removed namespace is not audited.
    played.done.store(1, Ordering::Relaxed);
    thread::sleep(AFTERWARDS);
    process::signal(server, libc::SIGKILL)?;
    process::reap(server, Duration::from_secs(5));
    run
}

fn address(listener: u8) -> SocketAddr {
    (Ipv4Addr::new(127, 9, 0, listener + 1), 9_000).into()
}

fn closes_first(listener: u8) -> bool {
    listener % 2 == 1
}

fn serve() -> Result<()> {
    process::set_name("soak-server")?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..LISTENERS)
            .map(|listener| {
                scope.spawn(move || -> Result<()> {
                    let socket = TcpListener::bind(address(listener))?;
                    loop {
                        // The client reset it while it waited.
                        let Ok((mut stream, _)) = socket.accept() else {
                            continue;
                        };
                        if !closes_first(listener) {
                            let _ = stream.read(&mut [0]);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(ended) => ended?,
                Err(_) => anyhow::bail!("a thread panicked"),
            }
        }
        Ok(())
    })
}

fn run_jobs(load: Load, played: &'static LoadCounters) -> Result<()> {
    let end = Instant::now() + load.duration;
    let interval = Duration::from_secs(1) / load.jobs_per_s;
    let mut due = Instant::now();
    let mut running = 0;
    for number in 0_u64.. {
        if Instant::now() >= end {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += interval;
        // SAFETY: this process has one thread.
        let pid = check(unsafe { libc::fork() })?;
        if pid == 0 {
            job(number, load, played);
            // SAFETY: ends only this process.
            unsafe { libc::_exit(0) };
        }
        running += 1;
        loop {
            let wait = running >= MAX_RUNNING;
            // SAFETY: a null status is allowed.
            let ended =
                unsafe { libc::waitpid(-1, ptr::null_mut(), if wait { 0 } else { libc::WNOHANG }) };
            if ended <= 0 {
                break;
            }
            running -= 1;
            // The server is not a job, but it ends only when the load is over.
            played.jobs.fetch_add(1, Ordering::Relaxed);
        }
    }
    while running > 0 {
        // SAFETY: as above.
        if unsafe { libc::waitpid(-1, ptr::null_mut(), 0) } <= 0 {
            break;
        }
        running -= 1;
        played.jobs.fetch_add(1, Ordering::Relaxed);
        if running == 0 {
            break;
        }
    }
    Ok(())
}

/// A few connections, to one listener after the other.
fn job(number: u64, load: Load, played: &LoadCounters) {
    let _ = process::set_name(&format!("job-{}", number % u64::from(load.names)));
    for index in 0..u64::from(load.connections) {
        let listener = ((number + index) % u64::from(LISTENERS)) as u8;
        let Ok(mut stream) = TcpStream::connect(address(listener)) else {
            played.failed.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let counter = if closes_first(listener) {
            let _ = stream.read(&mut [0]);
            &played.server_first
        } else if ((number + index) / 2).is_multiple_of(RESET_EVERY) {
            let linger = libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            let _ = inet::set_option(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                linger,
            );
            &played.resets
        } else {
            &played.client_first
        };
        drop(stream);
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
