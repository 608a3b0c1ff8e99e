//! A recording with a filter replays like the live view, and has nothing of what the filter hid.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{
    in_netns, output, printed, run, same::first_difference, start, text, traffic, with_files,
};
use crate::{
    actor::program::{self, Way},
    runner::Context,
    scenarios::{
        command::{server, shell},
        programs,
    },
    sys::{
        cgroup::{self, Version},
        netns,
    },
};

/// The name of the other process.
const NEIGHBOUR: &str = "neighbour";
/// The address that it connects to.
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(traffic::SERVER), 18_777);
/// Number of its connections.
const CONNECTIONS: usize = 7;

const CONTAINER: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
const POD: &str = "5d1b2c4d_0a1b_4c2d_8e3f_001122334455";

/// A filter, and what a report with it must not contain: rows of a list for which this is true.
struct Case {
    options: Vec<String>,
    rows: &'static str,
    is_hidden: Box<dyn Fn(&Value) -> bool + Send + Sync>,
}

fn case(
    options: &[&str],
    rows: &'static str,
    is_hidden: impl Fn(&Value) -> bool + Send + Sync + 'static,
) -> Case {
    Case {
        options: options.iter().map(ToString::to_string).collect(),
        rows,
        is_hidden: Box::new(is_hidden),
    }
}

/// One case per option, and one with several.
fn cases(netns: u64) -> Vec<Case> {
    let own = std::process::id();
    let is_neighbours = |row: &Value| row["process"]["comm"] == NEIGHBOUR;
    let is_elsewhere = move |row: &Value| row["netns"] != netns;
    let of_neighbour =
        |options: [&str; 2]| case(&options, "processes", move |row| !is_neighbours(row));
    let server = SERVER.to_string();
    let nobody = format!("{}/31", traffic::NOBODY.ip());
    vec![
        case(&["--pid", &own.to_string()], "processes", is_neighbours),
        of_neighbour(["--comm", NEIGHBOUR]),
        of_neighbour(["--container", &CONTAINER[..12]]),
        of_neighbour(["--pod", &POD.replace('_', "-")]),
        of_neighbour(["--unit", "cri-containerd-0f1e*.scope"]),
        case(
            &["--local", &traffic::SERVER.to_string()],
            "destinations",
            |row| row["side"] != "server",
        ),
        case(
            &["--remote", &server, "--remote", &nobody],
            "destinations",
            |row| row["side"] != "client",
        ),
        case(
            &["--netns", &netns.to_string()],
            "destinations",
            is_elsewhere,
        ),
        case(&["--side", "client"], "destinations", |row| {
            row["side"] != "client"
        }),
        case(&["--event", "reset"], "processes", |row| {
            row["ports"] != Value::Array(Vec::new())
        }),
        case(
            &[
                "--comm",
                NEIGHBOUR,
                "--event",
                "time_wait",
                "--netns",
                &netns.to_string(),
            ],
            "destinations",
            is_elsewhere,
        ),
    ]
}

/// Every filter, in both forms of a report.
pub fn filters(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let place = Place::create()?;
    in_netns(|| {
        let netns = netns::own()?;
        serve()?;
        for form in [&["report", "--json"][..], &["report"]] {
            let cases = cases(netns);
            let paths: Vec<PathBuf> = (0..cases.len())
                .map(|number| directory.path().join(format!("{}{number}", form.len())))
                .collect();
            let of_cases = cases.iter().zip(&paths);
            let running = at_once(of_cases, |(case, path)| {
                let options = case.options.iter().map(String::as_str);
                let verb: Vec<&str> = form.iter().copied().chain(options).collect();
                let mut words = with_files(&verb, "--record", &[path]);
                words.extend(["--duration", "600s"].map(OsStr::new));
                Ok((start(context, &words)?, case, path))
            })?;
            let traffic = traffic::play()?;
            let elsewhere = thread::scope(|scope| {
                let elsewhere = scope.spawn(|| in_netns(traffic::play));
                elsewhere.join().unwrap_or_else(|_| bail!("panicked"))
            })?;
            neighbour(directory.path(), &place)?;
            at_once(running, |(live, case, path)| {
                let (_, live) = live.end_with(&[0])?;
                let what = || case.options.join(" ");
                if form.contains(&"--json") {
                    has_nothing_hidden(&live, case).with_context(what)?;
                }
                replays_as(context, form, path, &live).with_context(what)
            })?;
            drop((traffic, elsewhere));
        }
        Ok(())
    })
}

/// Runs `work` for each item, on a thread of its own.
fn at_once<T: Send, R: Send>(
    all: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let work = &work;
    thread::scope(|scope| {
        let threads = all.into_iter().map(|one| scope.spawn(move || work(one)));
        let threads: Vec<_> = threads.collect();
        let results = threads.into_iter();
        results
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("panicked")))
            .collect()
    })
}

/// `report -- COMMAND`: the recording has its processes, even one without events: a client whose server closes first.
pub fn command(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    in_netns(|| {
        serve()?;
        let closes_first = server::start()?;
        let children = program::line(Way::Children, SERVER, CONNECTIONS)?.join(" ");
        let curl = programs::program("curl")?;
        let script = format!(
            "{children} && {} --silent --fail --http1.0 http://{closes_first}/ >/dev/null",
            curl.display()
        );
        for form in [&["report", "--json"][..], &["report"]] {
            let path = directory.path().join(format!("{}", form.len()));
            let live = directory.path().join("live");
            let mut words = with_files(form, "--record", &[&path]);
            words.extend([OsStr::new("--output"), live.as_os_str()]);
            let mut command = Command::new(&context.twtrace);
            command.args(words).args(context.tier.options());
            command.arg("--");
            command.args(shell(&script));
            let traffic = traffic::play()?;
            let done = output(command.stdin(Stdio::null()))?;
            ensure!(done.status.success(), "{}", text(&done.stderr));
            let live = fs::read_to_string(live)?;
            if form.contains(&"--json") {
                let report: Value = serde_json::from_str(&live)?;
                let rows = report["processes"].as_array().context("no processes")?;
                ensure!(rows.len() == CONNECTIONS + 1, "{} processes", rows.len());
            }
            replays_as(context, form, &path, &live)?;
            drop(traffic);
        }
        Ok(())
    })
}

fn has_nothing_hidden(report: &str, case: &Case) -> Result<()> {
    let report: Value = serde_json::from_str(report)?;
    let rows = report[case.rows].as_array().context("no rows")?;
    ensure!(!rows.is_empty(), "no {} at all", case.rows);
    match rows.iter().find(|row| (case.is_hidden)(row)) {
        Some(row) => bail!("{row} is in {}", case.rows),
        None => Ok(()),
    }
}

fn replays_as(context: &Context, form: &[&str], path: &Path, live: &str) -> Result<()> {
    let replay = run(context, &with_files(form, "--from", &[path]))?;
    let replayed = printed(&replay)?;
    let stderr = text(&replay.stderr);
    ensure!(stderr.is_empty(), "the replay says {stderr}");
    ensure!(
        replayed == live,
        "the replay differs {}",
        first_difference(replayed, live)
    );
    Ok(())
}

/// Closes what its clients have closed, as long as the runner lives.
fn serve() -> Result<()> {
    let listener = TcpListener::bind(SERVER)?;
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // A broken connection is no error of the server.
            let _ = stream.read(&mut [0]);
        }
    });
    Ok(())
}

/// The other process, in a container.
fn neighbour(directory: &Path, place: &Place) -> Result<()> {
    let line = program::line(Way::Plain, SERVER, CONNECTIONS)?;
    let name = directory.join(NEIGHBOUR);
    if !name.exists() {
        symlink(&line[0], &name)?;
    }
    let members = File::options()
        .write(true)
        .open(place.0.join("cgroup.procs"))?;
    let mut command = Command::new(&name);
    command.args(&line[1..]).stdin(Stdio::null());
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(move || (&members).write_all(b"0"));
    }
    let done = output(&mut command)?;
    ensure!(done.status.success(), "{NEIGHBOUR}: {}", text(&done.stderr));
    Ok(())
}

/// A cgroup with the name of a container in a pod. Removed when dropped.
struct Place(PathBuf);

impl Place {
    fn create() -> Result<Self> {
        let mounted = match cgroup::mounted(Version::V2)? {
            Some(mounted) => mounted,
            None => cgroup::mounted(Version::V1)?.context("no cgroups")?,
        };
        let own = mounted.join(format!("twtrace-filtered-{}", std::process::id()));
        let slice =
            format!("kubepods.slice/kubepods-pod{POD}.slice/cri-containerd-{CONTAINER}.scope");
        let place = Self(own.join(slice));
        fs::create_dir_all(&place.0)?;
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A leftover is empty, and harmless.
        if let Some(own) = self.0.ancestors().nth(3) {
            let _ = cgroup::remove(own);
        }
    }
}
