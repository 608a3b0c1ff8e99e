//! Births, expiries and state changes that no eBPF program can have seen, because this kernel runs none in the context
//! of init.
//!
//! Some hardened kernels do that for every kind of program, and do not count it in `recursion_misses`: a softirq that
//! interrupts a thread of process 1 is then invisible, with all the connections it handles. ftrace still sees it, so
//! they are counted here, one by one: what twtrace missed must be these and no others.

use std::{
    fs,
    io::Read as _,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result};

use super::{process, tracefs};

/// Kilobytes of trace buffer on each CPU.
const BUFFER_KB: &str = "8192";

const TIMER_START: &str = "timer/timer_start";
const TIMER_EXPIRE: &str = "timer/timer_expire_entry";
const SET_STATE: &str = "sock/inet_sock_set_state";

/// A recording of timers of mini-sockets that were started or expired, and of states that changed, in the context of
/// init.
pub struct Recording {
    instance: PathBuf,
}

impl Recording {
    /// Begins to record. `None` if tracefs or the timer's function is not available, and in emulated guests, whose
    /// stock kernels hide nothing.
    pub fn begin() -> Option<Self> {
        /// Scenarios that play at the same time have one each.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        /// Finding it takes reading all symbols.
        static HANDLER: OnceLock<Option<String>> = OnceLock::new();
        if process::emulated() {
            return None;
        }
        let root = tracefs::ensure().ok()?;
        let handler = HANDLER.get_or_init(handler_address).as_ref()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let instance = root
            .join("instances")
            .join(format!("twtrace-tests-{}-{number}", std::process::id()));
        fs::create_dir(&instance).ok()?;
        let recording = Self { instance };
        recording.configure(handler).ok()?;
        Some(recording)
    }

    fn configure(&self, handler: &str) -> Result<()> {
        let threads: Vec<String> = fs::read_dir("/proc/1/task")?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .map(|thread| format!("common_pid == {thread}"))
            .collect();
        let in_init = threads.join(" || ");
        let of_mini = format!("function == 0x{handler} && ({in_init})");
        self.write("buffer_size_kb", BUFFER_KB)?;
        for (event, filter) in [
            (TIMER_START, &of_mini),
            (TIMER_EXPIRE, &of_mini),
            (SET_STATE, &in_init),
        ] {
            self.write(&format!("events/{event}/filter"), filter)?;
            self.write(&format!("events/{event}/enable"), "1")?;
        }
        Ok(())
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.instance.join(file);
        fs::write(&path, value).with_context(|| format!("write \"{value}\" to {}", path.display()))
    }

    /// Number of births so far. A re-armed timer also counts: an upper bound.
    ///
    /// # Errors
    /// If the trace can't be read.
    pub fn births(&self) -> Result<u64> {
        self.count(&[": timer_start: "])
    }

    /// Number of all kinds so far, including those of init's own sockets.
    ///
    /// # Errors
    /// If the trace can't be read.
    pub fn all(&self) -> Result<u64> {
        self.count(&[
            ": timer_start: ",
            ": timer_expire_entry: ",
            ": inet_sock_set_state: ",
        ])
    }

    fn count(&self, marks: &[&str]) -> Result<u64> {
        let mut text = Vec::new();
        fs::File::open(self.instance.join("trace"))?.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        Ok(text
            .lines()
            .filter(|line| marks.iter().any(|mark| line.contains(mark)))
            .count() as u64)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // An instance that can't be removed is empty and harmless.
        for event in [TIMER_START, TIMER_EXPIRE, SET_STATE] {
            let _ = self.write(&format!("events/{event}/enable"), "0");
        }
        let _ = fs::remove_dir(&self.instance);
    }
}

fn handler_address() -> Option<String> {
    let symbols = fs::read_to_string("/proc/kallsyms").ok()?;
    symbols.lines().find_map(|line| {
        let (address, rest) = line.split_once(' ')?;
        let is_handler = rest.split_whitespace().nth(1) == Some("tw_timer_handler");
        (is_handler && address.bytes().any(|digit| digit != b'0')).then(|| address.to_owned())
    })
}
