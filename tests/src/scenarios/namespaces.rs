//! twtrace in a pid namespace, where /proc has few processes and other ids, and in a time namespace, where clocks differ from
//! those of the kernel side.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use twtrace_core::event::{Timestamp, timestamp::SECOND_NS};

use super::{
    Usage,
    command::{in_netns, server},
};
use crate::{
    actor::program::{self, Way},
    runner::{Context, report::RunningReport, wait},
    sys::{check, check_long, clock, netns, process},
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "usage/pid_namespace",
        run: pid_namespace,
    },
    Usage {
        name: "usage/pid_namespace_with_the_hosts_proc",
        run: with_hosts_proc,
    },
    Usage {
        name: "usage/command_in_pid_namespace",
        run: command_in_pid_namespace,
    },
    Usage {
        name: "usage/time_namespace",
        run: time_namespace,
    },
    Usage {
        name: "usage/namespace_of_a_thread",
        run: namespace_of_a_thread,
    },
];

/// Since 5.6; the libc crate does not have it for all targets.
const CLONE_NEWTIME: libc::c_int = 0x80;

/// What the clocks are moved by.
const OFFSETS: &[u8] = b"monotonic 1000000 0\nboottime 2000000 500000000\n";

/// What twtrace is put into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Into {
    /// A pid namespace with its own /proc.
    PidNamespace,
    /// One with that of the host.
    PidNamespaceOnly,
    /// A time namespace.
    TimeNamespace,
}

/// The child of a process that has entered new namespaces, in place of the process itself, which waits for it: only children
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
        // spawn() waits until the pipe is closed by which it is told of errors. 5.9 and later.
        // SAFETY: integers only.
        check_long(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) })?;
        // SAFETY: the pointer is to a local of the right type.
        check(unsafe { libc::waitpid(child, &raw mut status, 0) })?;
        let code = if libc::WIFEXITED(status) {
            libc::WEXITSTATUS(status)
        } else {
            1
        };
        // SAFETY: ends this process alone.
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
struct Inside {
    child: Child,
    stdout: File,
    stderr: File,
}

/// How long it counts: it gets no signal.
fn duration() -> &'static str {
    if process::emulated() { "10s" } else { "4s" }
}

impl Inside {
    fn start(context: &Context, into: Into, arguments: &[&str], line: &[String]) -> Result<Self> {
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
        // SAFETY: system calls only, and nothing that another thread may hold.
        unsafe { command.pre_exec(move || enter(into)) };
        Ok(Self {
            child: command.spawn().context("start twtrace in a namespace")?,
            stdout,
            stderr,
        })
    }

    /// Waits until it has begun: until there is this on standard error or output.
    fn await_text(&mut self, text: &str) -> Result<()> {
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

    /// What it printed, and what it said.
    fn end(mut self) -> Result<(String, String)> {
        let status = wait(&mut self.child, Duration::from_secs(120))?;
        let stderr = contents(&self.stderr)?;
        ensure!(status.success(), "ended with {status}: {stderr}");
        Ok((contents(&self.stdout)?, stderr))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Gone already, after `end`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// twtrace writes at the end of the file that both have open, so it is read by another description.
fn contents(file: &File) -> io::Result<String> {
    use std::os::fd::AsRawFd as _;
    let mut file = File::open(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))?;
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Five connections that their client closes first, and one that stays in CLOSE_WAIT.
fn traffic() -> Result<Vec<TcpStream>> {
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
fn end_first(client: &TcpStream, accepted: &mut TcpStream) -> Result<()> {
    client.shutdown(Shutdown::Write)?;
    ensure!(accepted.read(&mut [0])? == 0, "no end");
    Ok(())
}

/// A report from inside, about traffic of this process in a network namespace of its own; that namespace, and what it said.
fn report(context: &Context, into: Into) -> Result<(Value, u64, String)> {
    let arguments = ["report", "--json", "--duration", duration()];
    let mut inside = Inside::start(context, into, &arguments, &[])?;
    inside.await_text("counting")?;
    in_netns(|| {
        let _open = traffic()?;
        // A namespace is found by its processes, and this is a thread.
        let _inhabitant = server::Noise::start(server::start()?)?;
        let (printed, said) = inside.end()?;
        Ok((serde_json::from_str(&printed)?, netns::own()?, said))
    })
}

/// The row of a network namespace.
fn row_of(report: &Value, rows: &str, netns: u64) -> Result<Value> {
    let mut found = report[rows].as_array().into_iter().flatten();
    let row = found.find(|row| row["netns"] == netns);
    let row = row.with_context(|| format!("{rows} has no row of {netns}: {}", report[rows]))?;
    Ok(row.clone())
}

fn row_of_own_process(report: &Value) -> Result<Value> {
    let mut rows = report["processes"].as_array().into_iter().flatten();
    let own = rows.find(|row| row["process"]["pid"] == std::process::id());
    Ok(own.context("no row of the runner")?.clone())
}

/// What can't be known is said, in each view and at the start; what can is right.
fn pid_namespace(context: &Context) -> Result<()> {
    let (report, netns, said) = report(context, Into::PidNamespace)?;
    let warnings = said.lines().filter(|line| line.contains("pid namespace"));
    ensure!(warnings.count() == 1, "not one warning: {said}");
    let tiers = report["tiers"].as_array().into_iter().flatten();
    ensure!(
        tiers
            .filter_map(|tier| tier["lost"].as_str())
            .any(|lost| lost.contains("pid namespace")),
        "nothing is said to be lost: {}",
        report["tiers"]
    );
    for rows in ["audit", "unscanned", "budgets_unknown"] {
        let row = row_of(&report, rows, netns)?;
        let why = row["why"].as_str().unwrap_or_default();
        ensure!(why.contains("pid namespace"), "{rows} says {why:?}: {row}");
    }
    let audit = row_of(&report, "audit", netns)?;
    ensure!(audit["births_seen"].as_u64() >= Some(5), "{audit}");
    ensure!(audit["audited"] == false, "{audit}");
    row_of_own_process(&report)?;
    Ok(())
}

/// Everything is known.
fn with_hosts_proc(context: &Context) -> Result<()> {
    let (report, netns, said) = report(context, Into::PidNamespaceOnly)?;
    ensure!(!said.contains("pid namespace"), "{said}");
    let audit = row_of(&report, "audit", netns)?;
    ensure!(audit["births_seen"].as_u64() >= Some(5), "{audit}");
    ensure!(audit["audited"] == true, "{audit}");
    // A child that another thread of the runner has just forked may hold further ones.
    let left = report["close_wait"].as_array().context("no close_wait")?;
    let is_own = |row: &Value| row["netns"] == netns && row["process"]["pid"] == std::process::id();
    ensure!(left.iter().any(is_own), "{left:?}");
    let own = row_of_own_process(&report)?;
    ensure!(own["process"]["exe"].is_string(), "{own}");
    Ok(())
}

/// Processes in the same namespace are known by the ids that events have, and with what /proc shows of them under others.
fn command_in_pid_namespace(context: &Context) -> Result<()> {
    // So that it lives until it is read.
    let made = if process::emulated() { 100 } else { 3_000 };
    let (program, report) = in_netns(|| {
        let line = program::line(Way::Noise, server::start()?, made)?;
        let output = tempfile::NamedTempFile::new()?;
        let path = output.path().to_str().context("not UTF-8")?;
        let arguments = ["report", "--json", "--output", path];
        Inside::start(context, Into::PidNamespace, &arguments, &line)?.end()?;
        let document: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        Ok((line[0].clone(), document))
    })?;
    let rows = report["processes"].as_array().context("no processes")?;
    let [row] = &rows[..] else {
        anyhow::bail!("not one process: {rows:?}");
    };
    let births = &row["time_wait"]["client"];
    ensure!(*births == made, "{births} TIME_WAITs: {row}");
    let process = &row["process"];
    // Ids in a new namespace are few.
    ensure!(process["pid"].as_u64() > Some(10), "{process}");
    let exe = fs::canonicalize(program)?;
    ensure!(process["exe"].as_str() == exe.to_str(), "{process}");
    Ok(())
}

/// Namespaces that only a thread is in are audited: one in which there were connections before the start, and one in which
/// there are none until then.
fn namespace_of_a_thread(context: &Context) -> Result<()> {
    const IS_BEFORE: [bool; 2] = [false, true];
    let (report, namespaces) = thread::scope(|scope| {
        let players = IS_BEFORE.map(|is_before| {
            let ((say, said), (cue, cued)) = (mpsc::channel(), mpsc::channel());
            let play = move || {
                let before = is_before.then(traffic).transpose()?;
                say.send(())?;
                cued.recv()?;
                let open = [traffic()?, traffic()?];
                // It is read five times a second.
                thread::sleep(Duration::from_millis(700));
                let more = traffic()?;
                say.send(())?;
                // Until the report is over, or will never be.
                let _ = cued.recv();
                drop((before, open, more));
                Ok(netns::own()?)
            };
            (said, cue, scope.spawn(|| in_netns(play)))
        });
        let reported = || -> Result<Value> {
            for (said, ..) in &players {
                said.recv()?;
            }
            // Not by a thread that is in one of them: twtrace would be in it, too.
            let report = RunningReport::start(&context.twtrace, &context.tier.options())?;
            for (_, cue, _) in &players {
                cue.send(())?;
            }
            for (said, ..) in &players {
                said.recv()?;
            }
            report.end()
        };
        let report = reported();
        let namespaces = players.map(|(_, cue, player)| {
            drop(cue);
            let netns = player.join();
            netns.unwrap_or_else(|_| Err(anyhow::anyhow!("the traffic panicked")))
        });
        (report, namespaces)
    });
    let namespaces = namespaces.into_iter().collect::<Result<Vec<u64>>>()?;
    let report = report?;
    for (netns, is_before) in namespaces.into_iter().zip(IS_BEFORE) {
        audited_by_thread(&report, netns, is_before)?;
    }
    Ok(())
}

fn audited_by_thread(report: &Value, netns: u64, is_before: bool) -> Result<()> {
    /// Those of [`traffic`], three times.
    const BIRTHS: u64 = 3 * 5;
    let rows = report["audit"].as_array().context("no audit")?;
    let row = rows
        .iter()
        .filter(|row| row["netns"] == netns)
        .max_by_key(|row| row["netns_nth"].as_u64())
        .with_context(|| format!("no row of {netns}: {rows:?}"))?;
    let figure = |name: &str| row[name].as_u64().unwrap_or(u64::MAX);
    ensure!(row["audited"] == true, "not audited: {row}");
    ensure!(
        row["difference"].as_i64().map(i64::unsigned_abs) <= row["uncertainty"].as_u64(),
        "the audit is off: {row}"
    );
    let is_all = if is_before {
        // From when it was found on.
        (1..=BIRTHS).contains(&figure("births_kernel"))
    } else {
        figure("births_kernel") == BIRTHS && figure("births_seen") == BIRTHS
    };
    ensure!(is_all, "there were {BIRTHS} births: {row}");
    Ok(())
}

/// Nothing is different from outside.
fn time_namespace(context: &Context) -> Result<()> {
    let before = now_s()?;
    let (events, netns) = in_netns(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let opened_before = TcpStream::connect(listener.local_addr()?)?;
        let (mut accepted, _) = listener.accept()?;
        let arguments = ["trace", "--json", "--duration", duration()];
        let mut inside = Inside::start(context, Into::TimeNamespace, &arguments, &[])?;
        inside.await_text("\"start\"")?;
        end_first(&opened_before, &mut accepted)?;
        drop(accepted);
        let _open = traffic()?;
        let (printed, _) = inside.end()?;
        let events = printed.lines().map(serde_json::from_str);
        Ok((events.collect::<Result<Vec<Value>, _>>()?, netns::own()?))
    })?;
    let mono_ns = clock::monotonic_ns()?;
    let own = std::process::id();
    let births = events
        .iter()
        .filter(|event| event["event"] == "time_wait" && event["netns"] == netns);
    let mut count = 0;
    for event in births.chain(events.first()) {
        let ago_ns = mono_ns.checked_sub(event["mono_ns"].as_u64().unwrap_or(0));
        ensure!(
            ago_ns.is_some_and(|ago_ns| ago_ns < 300_000_000_000),
            "CLOCK_MONOTONIC is {mono_ns} now: {event}"
        );
        ensure!(
            is_since(before, &event["ts"])?,
            "began at {before}: {event}"
        );
        if event["event"] == "start" {
            continue;
        }
        count += 1;
        for actor in ["process", "opener"] {
            let process = &event[actor];
            ensure!(process["pid"] == own, "the {actor} is not {own}: {event}");
            ensure!(process["exe"].is_string(), "no executable: {event}");
            ensure!(
                is_since(before - 86_400, &process["start_time"])?,
                "not today: {event}"
            );
        }
    }
    ensure!(count >= 6, "{count} TIME_WAITs");
    Ok(())
}

/// Whether a time of the contract is between this one (seconds since 1970) and now.
fn is_since(before_s: u64, at: &Value) -> Result<bool> {
    let at = at.as_str().with_context(|| format!("no time: {at}"))?;
    let at: Timestamp = at.parse()?;
    Ok((before_s..=now_s()?).contains(&(at.0 / SECOND_NS)))
}

fn now_s() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
