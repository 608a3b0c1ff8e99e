//! Where the commands run: a network and a mount namespace of their own, with the files that pages name.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::shell::{self, Running};
use crate::{
    runner::Context,
    scenarios::{
        command::in_netns,
        recordings::{self, traffic},
    },
    stage::Skip,
    sys::{check, netns, process},
};

/// Programs that pages use besides twtrace.
const PROGRAMS: [&str; 6] = ["bash", "curl", "ip", "jq", "sqlite3", "zstdcat"];

/// Recordings that pages name.
const RECORDINGS: [&str; 4] = ["now.twt", "yesterday.twt", "today.twt", "FILE"];

/// Hides what commands write to, and creates the namespaces that pages name. `$1` is the directory of the files.
const PREPARE: &str = r#"
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /usr/local/share
cp -a /etc "$1/etc"
mkdir -p "$1/etc/bash_completion.d" /run/netns
mount --bind "$1/etc" /etc
cp -a "$1/DIR" /var/lib/twtrace
for name in web app gw; do ip netns add $name; ip -n $name link set lo up; done
"#;

/// The place, and the files in it.
pub struct Sandbox {
    directory: PathBuf,
    path: String,
}

impl Sandbox {
    /// Starts a command line in it.
    pub fn start(&self, command: &str) -> Result<Running> {
        let work = self.directory.join("work");
        // A recording is not overwritten: the one of the page comes first.
        if let Some((_, file)) = command.split_once(" record -o ") {
            let file = file.split_whitespace().next().unwrap_or_default();
            fs::remove_file(work.join(file)).with_context(|| format!("remove {file}"))?;
        }
        shell::start(command, &work, &self.path)
    }
}

/// Creates it, and does some work in it.
///
/// # Errors
/// If it can't be created; a [`Skip`] if a program is missing.
pub fn within<T: Send>(
    context: &Context,
    work: impl FnOnce(&Sandbox) -> Result<T> + Send,
) -> Result<T> {
    for program in PROGRAMS {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("command -v {program}")]);
        let status = shell.stdout(Stdio::null()).status().context("start sh")?;
        if !status.success() {
            bail!(Skip(format!("there is no {program}")));
        }
    }
    let directory = tempfile::tempdir()?;
    let files = directory.path();
    fs::create_dir_all(files.join("bin"))?;
    fs::create_dir_all(files.join("work/demo"))?;
    programs(context, &files.join("bin"))?;
    fixtures(context, files)?;
    let sandbox = Sandbox {
        directory: files.to_owned(),
        path: format!(
            "{}:{}",
            files.join("bin").display(),
            std::env::var("PATH").unwrap_or_default()
        ),
    };
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            netns::enter_new().context("make a network namespace")?;
            // The file system's state of a thread of its own: the others keep theirs.
            // SAFETY: integers only.
            check(unsafe { libc::unshare(libc::CLONE_FS | libc::CLONE_NEWNS) })?;
            process::keep_mounts_private()?;
            prepare(files)?;
            let ended = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| connect_until(&ended));
                let _ended = AtEnd(&ended);
                work(&sandbox)
            })
        });
        worker.join().unwrap_or_else(|_| Err(anyhow!("panicked")))
    })
}

/// Says that the work has ended, also if it panics.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A service that is killed if it is not waited for.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A copy, which a command without privileges reaches; and a sudo that only runs the command: this is root.
fn programs(context: &Context, directory: &Path) -> Result<()> {
    fs::copy(&context.twtrace, directory.join("twtrace"))?;
    let sudo = directory.join("sudo");
    fs::write(&sudo, "#!/bin/sh\nexec \"$@\"\n")?;
    fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Recordings, a history, a program, and configuration files.
fn fixtures(context: &Context, files: &Path) -> Result<()> {
    let work = files.join("work");
    let recording = work.join(RECORDINGS[0]);
    recordings::recorded(context, &recording)?;
    for name in &RECORDINGS[1..] {
        fs::copy(&recording, work.join(name))?;
    }
    let history = files.join("DIR");
    let service = in_netns(|| {
        let service = Command::new(&context.twtrace)
            .args(["serve", "--listen", "127.0.0.1:10660", "--history"])
            .arg(&history)
            .args(context.tier.options())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start twtrace serve")?;
        let service = Service(service);
        // It has seen the traffic once it answers: that begins when it counts.
        until_answered(10_660)?;
        drop(traffic::play()?);
        Ok(service)
    });
    let mut service = service?;
    thread::sleep(Duration::from_millis(500));
    process::signal(service.0.id().cast_signed(), libc::SIGINT)?;
    let status = crate::runner::wait(&mut service.0, Duration::from_secs(60))?;
    ensure!(status.success(), "twtrace serve ended with {status}");
    for name in ["DIR", "demo/history"] {
        copy(&history, &work.join(name))?;
    }
    fs::copy(history.join("history.db"), work.join("history.db"))?;
    let orders = work.join("orders");
    fs::write(&orders, "#!/bin/sh\nexec true\n")?;
    fs::set_permissions(&orders, fs::Permissions::from_mode(0o755))?;
    fs::write(work.join("twtrace.toml"), "top-processes = 7\n")?;
    fs::write(work.join("wrong.toml"), "lisen = \"127.0.0.1:10661\"\n")?;
    Ok(())
}

fn until_answered(port: u16) -> Result<()> {
    for _ in 0..3_000 {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("twtrace serve does not answer")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").args([from, to]).status()?;
    ensure!(status.success(), "cp ended with {status}");
    Ok(())
}

fn prepare(files: &Path) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", PREPARE, "sh"]).arg(files);
    let output = shell.output().context("start sh")?;
    ensure!(
        output.status.success(),
        "preparing: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Opens and closes connections: metrics have no series of processes without any.
fn connect_until(ended: &AtomicBool) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    while !ended.load(Ordering::Relaxed) {
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (accepted, _) = listener.accept()?;
        drop(client);
        drop(accepted);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
