//! A program that closes connections by code of a file that it maps, and the memory of who reads that file.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::hostile_elf::Hostile;
use crate::{stage::Skip, sys::process};

pub const NOBODY: u32 = 65_534;
const MAPPER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mapper"));
/// Its comm.
pub const COMM: &str = "mapper";
/// The file that it maps, which belongs to its user.
const FILE: &str = "file";
/// How long it closes connections, seconds.
const SECONDS: &str = "2";

/// A directory that every user may enter, with the program.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new() -> Result<Self> {
        if MAPPER.is_empty() {
            bail!(Skip("mapper.c could not be built here".to_owned()));
        }
        let place = Self(env::temp_dir().join(format!("twtrace-hostile-{}", std::process::id())));
        // It may be left from a run that was killed.
        let _ = fs::remove_dir_all(&place.0);
        fs::create_dir(&place.0)?;
        fs::write(place.0.join(COMM), MAPPER)?;
        for path in [&place.0, &place.0.join(COMM)] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(place)
    }

    fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }

    pub fn hostile(&self, what: Hostile) -> Result<String> {
        what.write(&self.file())?;
        chown(self.file(), Some(NOBODY), Some(NOBODY))?;
        Ok(self.file().to_str().context("a path in UTF-8")?.to_owned())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running mapper.
pub struct Mapper {
    pub child: Child,
    output: BufReader<ChildStdout>,
}

impl Mapper {
    /// Starts it; returns when it has mapped its file.
    pub fn start(place: &Place, user: u32, file: &str, how: &str) -> Result<Self> {
        let mut child = Command::new(place.0.join(COMM))
            .args([file, SECONDS, how])
            .uid(user)
            .gid(user)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let mut mapper = Self { child, output };
        mapper.says("mapped\n")?;
        Ok(mapper)
    }

    /// Lets it close connections until its time is over. It stays until this is dropped.
    pub fn run(&mut self) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("no input")?;
        stdin.write_all(b"\n")?;
        self.says("done\n")
    }

    fn says(&mut self, expected: &str) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(line == expected, "it says {line:?}, not {expected:?}");
        Ok(())
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Follows the memory of a process and its children.
pub struct Memory {
    ends: Arc<AtomicBool>,
    peak_kib: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Memory {
    pub fn of(pid: u32) -> Self {
        let (ends, peak_kib) = (Arc::default(), Arc::default());
        let (ended, peak) = (
            Arc::<AtomicBool>::clone(&ends),
            Arc::<AtomicU64>::clone(&peak_kib),
        );
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                peak.fetch_max(family_peak_kib(pid), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(50));
            }
        });
        Self {
            ends,
            peak_kib,
            thread: Some(thread),
        }
    }

    pub fn end(mut self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.peak_kib.load(Ordering::Relaxed)
    }
}

/// The largest peak of the resident memory among a process, its children and theirs, KiB.
fn family_peak_kib(pid: u32) -> u64 {
    let mut family = vec![pid.to_string()];
    let mut peak = 0;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    // Children have larger numbers, as a rule, and come later.
    for process in processes {
        let Ok(status) = fs::read_to_string(process.path().join("status")) else {
            continue;
        };
        let number = |name| process::field(&status, name).unwrap_or_default().to_owned();
        let (own, parent) = (number("Pid"), number("PPid"));
        if family.contains(&own) || family.contains(&parent) {
            family.push(own);
            let kib = number("VmHWM");
            let kib = kib.split_whitespace().next().and_then(|it| it.parse().ok());
            peak = peak.max(kib.unwrap_or(0));
        }
    }
    peak
}
