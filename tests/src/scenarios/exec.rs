//! A process that executes another program: earlier actions are not reported as the new program's.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Lines, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::Usage;
use crate::{
    actor::program::{self, Way},
    runner::{Context, spawn, wait},
    sys::process,
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "exec/each_program_has_its_own_name",
        run: each_has_its_own,
    },
    Usage {
        name: "exec/accepted_by_the_one_before",
        run: accepted_by_the_one_before,
    },
    Usage {
        name: "exec/busy_when_tracing_began",
        run: busy_when_tracing_began,
    },
];

/// Time until mini-sockets exist, and events are read.
const SETTLED: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(30);

/// The runner's binary under another name, shared by all checks that play at the same time; removed when dropped.
struct Other(
    PathBuf,
    #[expect(dead_code, reason = "held until it is dropped")] MutexGuard<'static, ()>,
);

static OTHER: Mutex<()> = Mutex::new(());

impl Other {
    fn new() -> Result<Self> {
        let alone = OTHER.lock().unwrap_or_else(PoisonError::into_inner);
        let own = env::current_exe()?;
        let other = program::other(&own);
        // Left by an earlier run.
        let _ = fs::remove_file(&other);
        fs::hard_link(&own, &other).context("link the runner's binary")?;
        Ok(Self(other, alone))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A running `twtrace trace --json`.
struct Trace {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Trace {
    fn start(context: &Context, filter: &[&str]) -> Result<Self> {
        let verb = [&["trace", "--json"], filter].concat();
        let mut child = spawn(&context.twtrace, &verb, &context.tier.options())?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let first = lines.next().context("twtrace says nothing")??;
        ensure!(first.contains(r#""start""#), "begins with {first}");
        Ok(Self { child, lines })
    }

    fn signal(&self, signal: i32) -> Result<()> {
        Ok(process::signal(self.child.id().cast_signed(), signal)?)
    }

    /// Ends it, and returns its events.
    fn end(mut self) -> Result<Vec<Value>> {
        self.signal(libc::SIGINT)?;
        let events = self.lines.map(|line| Ok(serde_json::from_str(&line?)?));
        let events = events.collect::<Result<_>>()?;
        wait(&mut self.child, LIMIT)?;
        Ok(events)
    }
}

/// One program closes a connection and executes another, which also closes one. All of that is read at the end; and
/// late events of the first connection come after the second program has acted.
fn each_has_its_own(context: &Context) -> Result<()> {
    let other = Other::new()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let trace = Trace::start(context, &["--remote", &address.to_string()])?;

    trace.signal(libc::SIGSTOP)?;
    let played = play(&listener, address);
    trace.signal(libc::SIGCONT)?;
    let ((program, stdin), ends) = played?;
    thread::sleep(2 * SETTLED);
    let events = trace.end()?;
    drop(stdin);
    end(program)?;

    let own = env::current_exe()?;
    for (end, program, exe) in [
        (ends[0], &own, Value::Null),
        (ends[1], &other.0, other.0.to_str().into()),
    ] {
        let found: Vec<&Value> = events
            .iter()
            .filter(|event| event["local"] == end.to_string().as_str())
            .filter(|event| event["event"] == "time_wait" || event["event"] == "reset")
            .collect();
        // Up to 6.1, only fentry or kprobes see what mini-sockets send.
        let births = found.iter().filter(|event| event["event"] == "time_wait");
        ensure!(births.count() == 1, "of {end}: {events:#?}");
        for event in found {
            for actor in ["process", "opener"] {
                let process = &event[actor];
                ensure!(
                    process["comm"] == comm(program).as_str() && process["exe"] == exe,
                    "the {actor} is not {} with the executable {exe}: {event}",
                    comm(program)
                );
            }
        }
    }
    Ok(())
}

/// A program accepts a connection and executes another, which closes it.
fn accepted_by_the_one_before(context: &Context) -> Result<()> {
    let other = Other::new()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let trace = Trace::start(context, &[])?;

    let line = program::line(Way::Accepted, address, 1)?;
    let mut program = Command::new(&line[0])
        .args(&line[1..])
        .stdout(Stdio::piped())
        .spawn()?;
    let ready = BufReader::new(program.stdout.take().context("no output")?);
    ready.lines().next().context("the program is not ready")??;
    let mut stream = TcpStream::connect(address)?;
    ensure!(stream.read(&mut [0])? == 0, "the program sent something");
    drop(stream);
    end(program)?;
    thread::sleep(SETTLED);
    let events = trace.end()?;

    let birth = birth(&events, address)?;
    let (own, next) = (comm(&env::current_exe()?), comm(&other.0));
    ensure!(
        birth["opener"]["comm"] == own.as_str() && birth["process"]["comm"] == next.as_str(),
        "not accepted by {own} and closed by {next}: {birth}"
    );
    Ok(())
}

/// The TIME_WAIT at this end.
fn birth(events: &[Value], end: SocketAddr) -> Result<&Value> {
    let is_birth = |event: &&Value| {
        event["local"] == end.to_string().as_str() && event["event"] == "time_wait"
    };
    events.iter().find(is_birth).context("no TIME_WAIT")
}

/// comm of a program.
fn comm(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.chars().take(15).collect()
}

/// A process that acts all the time while tracing starts has its name also for a connection that it opened before.
fn busy_when_tracing_began(context: &Context) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let kept = TcpStream::connect(address)?;
    let end = kept.local_addr()?;
    let (accepted, _) = listener.accept()?;
    let is_over = AtomicBool::new(false);
    let events: Vec<Value> = thread::scope(|scope| {
        let busy = scope.spawn(|| busy(&is_over));
        let traced = || -> Result<Vec<Value>> {
            let trace = Trace::start(context, &["--remote", &address.to_string()])?;
            // Not by close(): a child that another check starts at this moment also holds the descriptor, until its
            // exec().
            kept.shutdown(Shutdown::Both)?;
            thread::sleep(SETTLED);
            drop(accepted);
            thread::sleep(SETTLED);
            trace.end()
        };
        let events = traced();
        is_over.store(true, Ordering::Relaxed);
        let busy = busy
            .join()
            .map_err(|_| anyhow::anyhow!("the traffic panicked"))?;
        ensure!(busy? > 0, "there was no traffic");
        events
    })?;
    let birth = birth(&events, end)?;
    for actor in ["process", "opener"] {
        let process = &birth[actor];
        ensure!(
            process["comm"] != "" && process["exe"].is_string(),
            "the {actor} has no name: {birth}"
        );
    }
    Ok(())
}

/// Connects until told to end; returns the number of connections.
fn busy(is_over: &AtomicBool) -> Result<u64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let began = Instant::now();
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) && began.elapsed() < LIMIT {
        drop(TcpStream::connect(address)?);
        drop(listener.accept()?);
        count += 1;
        // Slow enough not to use up the ephemeral ports.
        thread::sleep(Duration::from_millis(2));
    }
    Ok(count)
}

type Played = ((Child, ChildStdin), [SocketAddr; 2]);

fn play(listener: &TcpListener, address: SocketAddr) -> Result<Played> {
    let line = program::line(Way::Replaced, address, 2)?;
    let mut program = Command::new(&line[0])
        .args(&line[1..])
        .stdin(Stdio::piped())
        .spawn()?;
    let stdin = program.stdin.take().context("no standard input")?;
    let mut connections = Vec::new();
    for _ in 0..2 {
        let (mut stream, end) = listener.accept()?;
        ensure!(stream.read(&mut [0])? == 0, "the program sent something");
        connections.push((stream, end));
    }
    thread::sleep(SETTLED);
    // Receives a RST, as the process has closed.
    let late = |stream: &mut TcpStream| stream.write_all(b"late");
    for (stream, _) in &mut connections {
        late(stream)?;
    }
    thread::sleep(SETTLED);
    let [(_, first), (_, second)] = &connections[..] else {
        bail!("not two connections");
    };
    Ok(((program, stdin), [*first, *second]))
}

fn end(mut program: Child) -> Result<()> {
    let status = wait(&mut program, LIMIT)?;
    ensure!(status.success(), "the program ended with {status}");
    Ok(())
}
