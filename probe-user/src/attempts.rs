//! In builds with debug assertions, which tests use: a process that has dropped its rights tries what it must not do, and
//! reports how that ended. Tests ask for it by [`VARIABLE`]. Other builds do not read the variable and have none of this.

#[cfg(debug_assertions)]
pub use tried::Attempts;

/// What a process tries.
#[cfg(not(debug_assertions))]
#[derive(Debug)]
pub struct Attempts(());

#[cfg(not(debug_assertions))]
impl Attempts {
    /// Nothing.
    pub const fn of(_process: &str) -> Self {
        Self(())
    }

    /// Tries nothing.
    pub fn run(self) {}
}

#[cfg(debug_assertions)]
mod tried {
    use std::env;
    use std::ffi::CString;
    use std::fs::{self, File, OpenOptions};
    use std::io::{self, Write};
    use std::ptr::{null, null_mut};

    /// Words: the name of a process or thread; the pid of another process; a file; a file for the report; and what to
    /// try, or nothing for all of [`REFUSED`].
    const VARIABLE: &str = "TWTRACE_ATTEMPTS";

    type Attempt = fn(&Aim) -> io::Result<()>;

    /// What fails with an error.
    const REFUSED: &[(&str, Attempt)] = &[
        ("read_file", |aim| File::open(&aim.file).map(drop)),
        ("write_file", |aim| {
            let mut options = OpenOptions::new();
            options.append(true).open(&aim.file).map(drop)
        }),
        ("create_file", |aim| {
            File::create_new(format!("{}.new", aim.file)).map(drop)
        }),
        ("remove_file", |aim| fs::remove_file(&aim.file)),
        ("open_memory", |aim| {
            let mut options = OpenOptions::new();
            let memory = format!("/proc/{}/mem", aim.pid);
            options.read(true).write(true).open(memory).map(drop)
        }),
        ("signal", |aim| {
            // SAFETY: integers only.
            checked(i64::from(unsafe { libc::kill(aim.pid, libc::SIGKILL) }))
        }),
        ("fork", |_| {
            // SAFETY: the child only ends.
            match unsafe { libc::fork() } {
                // SAFETY: as above.
                0 => unsafe { libc::_exit(0) },
                child => checked(i64::from(child)),
            }
        }),
        ("network_socket", |_| {
            // SAFETY: integers only.
            checked(i64::from(unsafe {
                libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)
            }))
        }),
        ("local_socket", |_| {
            // SAFETY: integers only.
            checked(i64::from(unsafe {
                libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)
            }))
        }),
        ("raw_netlink", |_| {
            // SAFETY: integers only.
            checked(i64::from(unsafe {
                libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)
            }))
        }),
        ("connect", |_| {
            // SAFETY: the kernel refuses a null address.
            checked(i64::from(unsafe { libc::connect(0, null(), 0) }))
        }),
        ("bind", |_| {
            // SAFETY: as above.
            checked(i64::from(unsafe { libc::bind(0, null(), 0) }))
        }),
        ("enter_mounts", |_| {
            // SAFETY: integers only.
            checked(i64::from(unsafe { libc::setns(0, libc::CLONE_NEWNS) }))
        }),
        ("new_namespace", |_| {
            // SAFETY: integers only.
            checked(i64::from(unsafe { libc::unshare(libc::CLONE_NEWNET) }))
        }),
        ("code", |_| {
            let (rights, flags) = (libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: a new mapping, which nobody uses.
            match unsafe { libc::mmap(null_mut(), 4096, rights, flags, -1, 0) } {
                libc::MAP_FAILED => Err(io::Error::last_os_error()),
                _ => Ok(()),
            }
        }),
    ];

    /// What ends the process.
    const FATAL: &[(&str, Attempt)] = &[
        ("ptrace", |aim| {
            // SAFETY: PTRACE_SEIZE takes integers.
            checked(unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_SEIZE, aim.pid, 0, 0) })
        }),
        ("write_memory", |aim| {
            // SAFETY: empty lists.
            let written = unsafe { libc::process_vm_writev(aim.pid, null(), 0, null(), 0, 0) };
            checked(written as i64)
        }),
        ("exec", |_| {
            let arguments = [c"true".as_ptr(), null()];
            // SAFETY: strings that end with NUL, and lists that end with null.
            checked(i64::from(unsafe {
                libc::execve(
                    c"/bin/true".as_ptr(),
                    arguments.as_ptr(),
                    &raw const arguments[1],
                )
            }))
        }),
        ("load_program", |_| {
            /// `BPF_PROG_LOAD` of `enum bpf_cmd`
            const PROG_LOAD: libc::c_int = 5;
            // SAFETY: the kernel refuses a null pointer.
            checked(unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, 0, 0) })
        }),
        ("key", |_| {
            // SAFETY: KEYCTL_GET_KEYRING_ID takes integers.
            checked(unsafe { libc::syscall(libc::SYS_keyctl, 0, 0, 0, 0, 0) })
        }),
        ("mount", |_| {
            let kind = CString::from(c"tmpfs");
            // SAFETY: strings that end with NUL; the target does not exist.
            checked(i64::from(unsafe {
                libc::mount(
                    kind.as_ptr(),
                    c"/nonexistent".as_ptr(),
                    kind.as_ptr(),
                    0,
                    null(),
                )
            }))
        }),
    ];

    fn checked(result: i64) -> io::Result<()> {
        match result {
            ..0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    #[derive(Debug)]
    struct Aim {
        pid: libc::pid_t,
        file: String,
    }

    #[derive(Debug)]
    struct Wanted {
        aim: Aim,
        report: File,
        /// Empty for all that fails with an error.
        name: String,
    }

    /// What a process tries.
    #[derive(Debug)]
    pub struct Attempts(Option<Wanted>);

    impl Attempts {
        /// What the environment asks of this process. To be called before rights are dropped, for the report.
        pub fn of(process: &str) -> Self {
            Self(wanted(process))
        }

        /// Tries it, and reports each attempt in a line: its name, and `done` or errno.
        pub fn run(self) {
            let Some(mut wanted) = self.0 else {
                return;
            };
            for (name, attempt) in REFUSED.iter().chain(FATAL) {
                let is_fatal = FATAL.iter().any(|(fatal, _)| fatal == name);
                let is_wanted = if wanted.name.is_empty() {
                    !is_fatal
                } else {
                    wanted.name == *name
                };
                if !is_wanted {
                    continue;
                }
                let line = match attempt(&wanted.aim) {
                    Ok(()) => format!("{name} done\n"),
                    Err(error) => format!("{name} {}\n", error.raw_os_error().unwrap_or_default()),
                };
                let _ = wanted.report.write_all(line.as_bytes());
            }
            let _ = wanted.report.write_all(b"end\n");
        }
    }

    fn wanted(process: &str) -> Option<Wanted> {
        let text = env::var(VARIABLE).ok()?;
        let mut words = text.split(' ');
        if words.next()? != process {
            return None;
        }
        let aim = Aim {
            pid: words.next()?.parse().ok()?,
            file: words.next()?.to_owned(),
        };
        let report = OpenOptions::new().append(true).open(words.next()?).ok()?;
        let name = words.next().unwrap_or_default().to_owned();
        Some(Wanted { aim, report, name })
    }
}
