//! A twtrace that runs in namespaces of its own, and connections for it.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    runner::{Context, wait},
    sys::{check, check_long, process},
};

/// Since 5.6; the libc crate does not have it for all targets.
const CLONE_NEWTIME: libc::c_int = 0x80;

/// The offsets of the clocks.
const OFFSETS: &[u8] = b"monotonic 1000000 0\nboottime 2000000 500000000\n";

/// What twtrace is put into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// A pid namespace with its own /proc.
    PidNamespace,
    /// A pid namespace with the /proc of the host.
    PidNamespaceOnly,
    /// A time namespace.
    TimeNamespace,
}

/// Continues in the child of a process that has entered new namespaces; the process itself waits for it: only children
/// are in a new pid or time namespace. To be called between fork and exec.
fn enter(into: Into) -> io::Result<()> {
    let flags = match into {
        Into::PidNamespace => libc::CLONE_NEWPID | libc::CLONE_NEWNS,
        Into::PidNamespaceOnly => libc::CLONE_NEWPID,
        Into::TimeNamespace => CLONE_NEWTIME,
    };
    // SAFETY: integers only.
    check(unsafe { libc::unshare(flags) })?;
    if into == Into::TimeNamespace {
        fs::write("/proc/self/timens_offsets", OFFSETS)?;
    }
    // SAFETY: this process has one thread.
    let child = check(unsafe { libc::fork() })?;
    if child > 0 {
        let mut status = 0;
        // spawn() waits until the pipe that reports errors is closed. 5.9 and later.
        // SAFETY: integers only.
        check_long(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) })?;
        // SAFETY: the pointer is to a local of the right type.
        check(unsafe { libc::waitpid(child, &raw mut status, 0) })?;
        let code = if libc::WIFEXITED(status) {
            libc::WEXITSTATUS(status)
        } else {
            1
        };
        // SAFETY: ends only this process.
        unsafe { libc::_exit(code) }
    }
    // SAFETY: integers only.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    if into == Into::PidNamespace {
        process::keep_mounts_private()?;
        // SAFETY: NUL-terminated strings, and no options.
        unsafe {
            check(libc::mount(
                c"proc".as_ptr(),
                c"/proc".as_ptr(),
                c"proc".as_ptr(),
                0,
                std::ptr::null(),
            ))?;
        }
    }
    Ok(())
}

/// A running twtrace.
pub struct Inside {
    child: Child,
    stdout: File,
    stderr: File,
}

/// How long it counts: it gets no signal.
pub fn duration() -> &'static str {
    if process::emulated() { "10s" } else { "4s" }
}

impl Inside {
    pub fn start(
        context: &Context,
        into: Into,
        arguments: &[&str],
        line: &[String],
    ) -> Result<Self> {
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let mut command = Command::new(&context.twtrace);
        command.args(arguments).args(context.tier.options());
        if !line.is_empty() {
            command.arg("--").args(line);
        }
        command
            .stdin(Stdio::null())
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?);
        // SAFETY: makes system calls only, and takes no lock that another thread may hold.
        unsafe { command.pre_exec(move || enter(into)) };
        Ok(Self {
            child: command.spawn().context("start twtrace in a namespace")?,
            stdout,
            stderr,
        })
    }

    /// Waits until this text appears on standard error or output.
    pub fn await_text(&mut self, text: &str) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let said = contents(&self.stderr)? + &contents(&self.stdout)?;
            if said.contains(text) {
                return Ok(());
            }
            ensure!(self.child.try_wait()?.is_none(), "it ended: {said}");
            ensure!(Instant::now() < end, "it does not begin: {said}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its standard output and standard error.
    pub fn end(mut self) -> Result<(String, String)> {
        let status = wait(&mut self.child, Duration::from_secs(120))?;
        let stderr = contents(&self.stderr)?;
        ensure!(status.success(), "ended with {status}: {stderr}");
        Ok((contents(&self.stdout)?, stderr))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // It has exited already if `end` was called.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// twtrace writes at the end of the file that both have open, so it is read through another file description.
fn contents(file: &File) -> io::Result<String> {
    use std::os::fd::AsRawFd as _;
    let mut file = File::open(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))?;
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Five connections that their client closes first, and one that stays in CLOSE_WAIT.
pub fn traffic() -> Result<Vec<TcpStream>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    for _ in 0..5 {
        let client = TcpStream::connect(address)?;
        let (mut accepted, _) = listener.accept()?;
        end_first(&client, &mut accepted)?;
    }
    let client = TcpStream::connect(address)?;
    let (mut accepted, _) = listener.accept()?;
    end_first(&client, &mut accepted)?;
    Ok(vec![client, accepted])
}

/// Not by close(): another thread of the runner may have forked just then, and its child would be the last to close.
pub fn end_first(client: &TcpStream, accepted: &mut TcpStream) -> Result<()> {
    client.shutdown(Shutdown::Write)?;
    ensure!(accepted.read(&mut [0])? == 0, "no end");
    Ok(())
}
