//! The first process of a test guest. It sets the guest up like a plain Linux, loads the kernel modules in /modules,
//! runs the lines of /commands one after the other, and powers off.
//!
//! tracefs and bpffs stay unmounted on purpose: twtrace must cope with that by itself.
//!
//! Its own lines begin with `@@twtrace `; xtask (`xtask/src/guest/protocol.rs`) reads them. They are written to the
//! second serial line, separate from the kernel's messages on the first.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Command, ExitStatus},
};

use anyhow::{Context, Result};

const TERMINAL: &str = "/dev/ttyS1";

/// Programs of the host come before the applets of busybox in /bin.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Maximum number of open descriptors of a process: the crowd scenarios hold thousands of sockets.
const OPEN_FILES: u64 = 65_536;

/// Source, target, type, options.
const MOUNTS: [(&str, &str, &str, &str); 8] = [
    ("proc", "/proc", "proc", ""),
    ("sysfs", "/sys", "sysfs", ""),
    ("devtmpfs", "/dev", "devtmpfs", "mode=755"),
    ("devpts", "/dev/pts", "devpts", "mode=620,ptmxmode=666"),
    ("tmpfs", "/dev/shm", "tmpfs", "mode=1777"),
    ("tmpfs", "/tmp", "tmpfs", "mode=1777"),
    ("tmpfs", "/run", "tmpfs", "mode=755"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2", ""),
];

/// Prints a line. A serial line that was hung up must not cause a panic, which would also be a kernel panic.
macro_rules! say {
    ($($arguments:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($arguments)*);
    }};
}

fn main() {
    let mode = std::env::args().nth(1).unwrap_or_default();
    if let Err(error) = work(&mode) {
        say!("guest_init: {error:#}");
    }
    power_off();
}

fn work(mode: &str) -> Result<()> {
    let mounted: Vec<_> = MOUNTS
        .iter()
        .map(|mount| (mount.1, mount_one(mount)))
        .collect();
    become_terminal().context("can't open the second serial line")?;
    // Only now is there a place to print errors to.
    for (target, result) in mounted {
        if let Err(error) = result {
            say!("guest_init: can't mount {target}: {error}");
        }
    }
    load_modules();
    if let Err(error) = raise_loopback() {
        say!("guest_init: can't raise lo: {error}");
    }
    set_limits();
    set_host_name();
    // Creates links for all applets; existing files are kept.
    let _ = wait_for(Command::new("/bin/busybox").args(["--install", "-s", "/bin"]));
    say!("@@twtrace ready");
    match mode {
        "probe" => {}
        "shell" => {
            wait_for(shell(Terminal::Controlling).arg("-i"))?;
        }
        _ => run_commands()?,
    }
    say!("@@twtrace end");
    Ok(())
}

fn run_commands() -> Result<()> {
    let commands = fs::read_to_string("/commands").context("can't read /commands")?;
    for (index, line) in commands
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
    {
        say!("@@twtrace begin {index}");
        let code = match wait_for(shell(Terminal::Plain).args(["-c", line])) {
            Ok(status) => status.code().unwrap_or(128 + status.signal().unwrap_or(0)),
            Err(error) => {
                say!("guest_init: can't run {line}: {error}");
                127
            }
        };
        say!("@@twtrace exit {code}");
        end_leftovers();
    }
    Ok(())
}

/// A shell of busybox, in a session of its own.
fn shell(terminal: Terminal) -> Command {
    let mut command = Command::new("/bin/busybox");
    command
        .arg("sh")
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("TERM", "linux");
    // SAFETY: both calls are async-signal-safe, and so may be made between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            if terminal == Terminal::Controlling {
                libc::ioctl(0, libc::TIOCSCTTY, 0);
            }
            Ok(())
        });
    }
    command
}

/// How a shell uses the serial line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Terminal {
    /// As its controlling terminal: Ctrl-C works. When that shell ends, the line is hung up for all.
    Controlling,
    /// As a plain file.
    Plain,
}

/// Runs a program to its end. The first process inherits orphans, so it also reaps others that end during this time.
fn wait_for(command: &mut Command) -> io::Result<ExitStatus> {
    let child = command.spawn()?.id() as libc::pid_t;
    loop {
        let mut status = 0;
        // SAFETY: `status` lives through the call.
        let pid = unsafe { libc::waitpid(-1, &mut status, 0) };
        if pid == child {
            return Ok(ExitStatus::from_raw(status));
        }
        if pid < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

/// Kills the processes that a command left behind, so that each command starts in the same state.
fn end_leftovers() {
    // SAFETY: the first process signals all others and not itself; no memory is involved.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    // SAFETY: no status is requested. Ends with ECHILD.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } > 0 {}
}

fn mount_one(&(source, target, kind, options): &(&str, &str, &str, &str)) -> Result<()> {
    fs::create_dir_all(target)?;
    let [source, target, kind, options] = [source, target, kind, options].map(CString::new);
    let (source, target, kind, options) = (source?, target?, kind?, options?);
    // SAFETY: all four are C strings that live through the call.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            0,
            options.as_ptr().cast(),
        )
    };
    check(result)?;
    Ok(())
}

/// Makes the serial line the input and output of this process.
fn become_terminal() -> io::Result<()> {
    let terminal = File::options().read(true).write(true).open(TERMINAL)?;
    for descriptor in 0..3 {
        // SAFETY: both descriptors are open, or the second is free.
        check(unsafe { libc::dup2(terminal.as_raw_fd(), descriptor) })?;
    }
    Ok(())
}

/// Loads /modules in the order of their names, which is the order of their dependencies.
fn load_modules() {
    let Ok(entries) = fs::read_dir("/modules") else {
        return;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if let Err(error) = load_module(&path) {
            say!("guest_init: can't load {}: {error}", path.display());
        }
    }
}

fn load_module(path: &std::path::Path) -> io::Result<()> {
    let file = File::open(path)?;
    // SAFETY: the descriptor is open and the parameters are a C string.
    let result =
        unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn raise_loopback() -> io::Result<()> {
    // SAFETY: only numbers; the result is checked.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    check(socket)?;
    // SAFETY: the descriptor was opened just now and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: ifreq is plain data, for which zeros are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the kernel reads the request, which lives through the call.
    check(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    })?;
    Ok(())
}

fn set_limits() {
    let limit = libc::rlimit {
        rlim_cur: OPEN_FILES,
        rlim_max: OPEN_FILES,
    };
    // SAFETY: the kernel reads the structure, which lives through the call.
    if check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }).is_err() {
        say!("guest_init: can't raise the limit of open files");
    }
}

fn set_host_name() {
    let name = b"guest";
    // SAFETY: pointer and length are of the same array. It is no error if the guest has no name.
    unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) };
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn power_off() {
    // SAFETY: the only argument is a number. The output of both lines is drained first, so that nothing is lost.
    unsafe {
        libc::tcdrain(1);
        libc::reboot(libc::RB_POWER_OFF);
    }
}
