//! Programs that connect in known ways and numbers, for `twtrace report -- COMMAND`: the runner's own binary, started
//! as `scenarios --program WAY ADDRESS COUNT`. The client closes each connection first.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::sys::{check, inet, process};

/// Pause between two connections of the noise.
const PAUSE: Duration = Duration::from_micros(500);
/// The pause on an emulated machine, whose CPUs take turns: without it everything else there would take twice as long.
const PAUSE_EMULATED: Duration = Duration::from_millis(50);

/// How the program opens connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Opened by the process itself.
    Plain,
    /// Also by the process itself, slowly, with one byte to standard output after each.
    Noise,
    /// Each with a request and an answer, so that the server keeps up, and every second one ended by a RST; without a
    /// pause, except on an emulated machine.
    Busy,
    /// Each by a child that exits when its connection ends.
    Children,
    /// By a grandchild whose parent has exited before, in a session of its own.
    Orphan,
    /// By a child forked by a thread other than the main one.
    ChildOfThread,
    /// By the program that a thread other than the main one executes (exec).
    ExecByThread,
    /// Each by a child that the parent creates with vfork and exec, and waits for.
    Spawned,
    /// Each by another program under the same pid; the last one waits until its standard input is closed.
    Replaced,
    /// Accepted at that address, once the program has printed `ready`; another program under the same pid closes the
    /// connection.
    Accepted,
}

const WORDS: [(Way, &str); 10] = [
    (Way::Plain, "plain"),
    (Way::Noise, "noise"),
    (Way::Busy, "busy"),
    (Way::Children, "children"),
    (Way::Orphan, "orphan"),
    (Way::ChildOfThread, "child_of_thread"),
    (Way::ExecByThread, "exec_by_thread"),
    (Way::Spawned, "spawned"),
    (Way::Replaced, "replaced"),
    (Way::Accepted, "accepted"),
];

impl Way {
    /// The word on the command line.
    pub fn word(self) -> &'static str {
        let member = WORDS.iter().find(|(way, _)| *way == self);
        member.map_or("", |(_, word)| word)
    }
}

/// The command line of such a program.
pub fn line(way: Way, server: SocketAddr, count: usize) -> Result<Vec<String>> {
    let own = std::env::current_exe()?;
    let own = own.to_str().context("the runner's path is not UTF-8")?;
    Ok(vec![
        own.to_owned(),
        "--program".to_owned(),
        way.word().to_owned(),
        server.to_string(),
        count.to_string(),
    ])
}

/// Runs as such a program.
pub fn run(words: &[String]) -> Result<()> {
    let [way, server, count] = words else {
        bail!("not WAY ADDRESS COUNT: {words:?}");
    };
    let member = WORDS.iter().find(|(_, word)| word == way);
    let (way, _) = member.with_context(|| format!("no way {way}"))?;
    let (server, count) = (server.parse()?, count.parse()?);
    match way {
        Way::Plain => connect(server, count)?,
        Way::Noise => {
            let pause = if process::emulated() {
                PAUSE_EMULATED
            } else {
                PAUSE
            };
            for _ in 0..count {
                connect(server, 1)?;
                io::stdout().write_all(b".")?;
                io::stdout().flush()?;
                thread::sleep(pause);
            }
        }
        Way::Busy => {
            let is_slow = process::emulated();
            for _ in 0..count {
                ask(server)?;
                reset(&ask(server)?)?;
                if is_slow {
                    thread::sleep(PAUSE_EMULATED);
                }
            }
        }
        Way::Children => {
            for _ in 0..count {
                await_end(fork(|| connect(server, 1))?)?;
            }
        }
        Way::Orphan => orphan(server, count)?,
        Way::ChildOfThread => {
            let child = move || fork(|| connect(server, count));
            await_end(in_thread(child)?)?;
        }
        Way::ExecByThread => in_thread(move || exec(server, count))?,
        Way::Replaced => {
            connect(server, 1)?;
            match count {
                1 => drop(io::stdin().read_to_end(&mut Vec::new())?),
                _ => replace(Way::Replaced, server, count - 1)?,
            }
        }
        Way::Accepted => {
            let listener = TcpListener::bind(server)?;
            println!("ready");
            let accepted = listener.accept()?;
            // Closed by exec().
            replace(Way::Plain, server, 0)?;
            drop(accepted);
        }
        Way::Spawned => {
            for _ in 0..count {
                let line = line(Way::Plain, server, 1)?;
                let status = Command::new(&line[0]).args(&line[1..]).status()?;
                ensure!(status.success(), "a child ended with {status}");
            }
        }
    }
    Ok(())
}

fn connect(server: SocketAddr, count: usize) -> io::Result<()> {
    for _ in 0..count {
        TcpStream::connect(server)?;
    }
    Ok(())
}

fn ask(server: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(b"\r\n\r\n")?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\nwell\n") {
        let mut buffer = [0; 256];
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(stream)
}

fn reset(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    inet::set_option(
        stream.as_raw_fd(),
        libc::SOL_SOCKET,
        libc::SO_LINGER,
        linger,
    )
}

fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    match thread::spawn(work).join() {
        Ok(done) => Ok(done?),
        Err(_) => bail!("the thread panicked"),
    }
}

/// Forks a child that runs `work` and exits.
fn fork(work: impl FnOnce() -> io::Result<()>) -> io::Result<libc::pid_t> {
    // SAFETY: the child opens connections and exits; it takes no lock that another thread may hold.
    match check(unsafe { libc::fork() })? {
        0 => {
            let code = i32::from(work().is_err());
            // SAFETY: ends the child without running what its parent has set up.
            unsafe { libc::_exit(code) }
        }
        child => Ok(child),
    }
}

fn await_end(child: libc::pid_t) -> Result<()> {
    let mut status = 0;
    // SAFETY: the pointer is to a local of the right type.
    check(unsafe { libc::waitpid(child, &raw mut status, 0) })?;
    ensure!(status == 0, "a child ended with status {status}");
    Ok(())
}

/// Waits for the grandchild through a pipe that only the grandchild still holds.
fn orphan(server: SocketAddr, count: usize) -> Result<()> {
    let mut ends = [0; 2];
    // SAFETY: the pointer is to room for two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: created just now, no other owner.
    let [reader, writer] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    let child = fork(|| {
        // SAFETY: no arguments.
        check(unsafe { libc::setsid() })?;
        fork(|| {
            // The parent has exited, or is about to; by then the process has another parent.
            thread::sleep(Duration::from_millis(20));
            connect(server, count)?;
            let done = b".";
            // SAFETY: the pointer and length are of one buffer.
            let written =
                unsafe { libc::write(writer.as_raw_fd(), done.as_ptr().cast(), done.len()) };
            if written == 1 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        })
        .map(drop)
    })?;
    await_end(child)?;
    drop(writer);
    let mut said = Vec::new();
    std::fs::File::from(reader).read_to_end(&mut said)?;
    ensure!(said == b".", "the grandchild failed");
    Ok(())
}

/// The name under which the program is executed as another one.
pub fn other(own: &Path) -> PathBuf {
    own.with_file_name("other-program")
}

/// Replaces this process by the program with the other name.
fn replace(way: Way, server: SocketAddr, count: usize) -> Result<()> {
    let line = line(way, server, count)?;
    let error = Command::new(other(Path::new(&line[0])))
        .args(&line[1..])
        .exec();
    Err(error.into())
}

/// Replaces this process by another program, with the same pid and start time of the main thread.
fn exec(server: SocketAddr, count: usize) -> io::Result<()> {
    let line = line(Way::Plain, server, count).map_err(io::Error::other)?;
    Err(Command::new(&line[0]).args(&line[1..]).exec())
}
