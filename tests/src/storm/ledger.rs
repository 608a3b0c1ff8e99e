//! What every process of a namespace did, in memory that all of them share: the truth that events are compared with.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd as _,
    path::Path,
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{
    forge::Forged,
    plan::{End, LastAct, Life, StepAction},
};
use crate::sys::clock;

/// An action of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The life it belongs to; 0 for none.
    pub life: Life,
    pub connection: u8,
    pub end: End,
    pub action: StepAction,
    /// Thread group of the process.
    pub pid: i32,
    /// CLOCK_MONOTONIC just before the action, nanoseconds.
    pub before_ns: u64,
    /// Just after it; `u64::MAX` if the process no longer existed by then.
    pub after_ns: u64,
    /// errno of the call; 0 if it succeeded.
    pub errno: i32,
}

/// Layout in memory: integers only.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Raw {
    before_ns: u64,
    after_ns: u64,
    life: u32,
    pid: i32,
    errno: i32,
    bytes: u16,
    /// [`code`] of the action, and the end in the highest bit.
    what: u8,
    connection: u8,
}

const SERVER: u8 = 0x80;

/// Maximum number of entries. A life creates about a dozen.
const ROOM: usize = 1 << 19;

/// The whole memory, initially zero.
#[repr(C)]
struct Memory {
    used: AtomicU32,
    /// 1 when no client has anything left to do.
    clients_done: AtomicU32,
    entries: [Raw; ROOM],
}

/// The ledger of one namespace.
pub struct StormLedger {
    memory: *mut Memory,
}

// SAFETY: counters are atomic, and each entry is written once, by the process that took its number.
unsafe impl Sync for StormLedger {}
// SAFETY: as above.
unsafe impl Send for StormLedger {}

impl StormLedger {
    /// Creates and maps a new file.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(path)?;
        file.set_len(size_of::<Memory>() as u64)?;
        Self::map(&file)
    }

    /// Opens and maps an existing file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::map(&OpenOptions::new().read(true).write(true).open(path)?)
    }

    fn map(file: &File) -> io::Result<Self> {
        // SAFETY: a new mapping of a file of this length; it is never unmapped while in use.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<Memory>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Self {
                memory: memory.cast(),
            })
        }
    }

    fn used(&self) -> &AtomicU32 {
        // SAFETY: mapped as long as self lives, and aligned to a page.
        unsafe { &(*self.memory).used }
    }

    fn clients_done(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { &(*self.memory).clients_done }
    }

    /// Signals to all that no client has anything left to do.
    pub fn end_clients(&self) {
        self.clients_done().store(1, Ordering::Release);
    }

    /// Whether that was signalled.
    pub fn are_clients_done(&self) -> bool {
        self.clients_done().load(Ordering::Acquire) == 1
    }

    /// Runs an action and records it; returns its result.
    pub fn doing<T>(
        &self,
        (life, connection, end): (Life, u8, End),
        action: StepAction,
        act: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let before_ns = clock::monotonic_ns()?;
        let result = act();
        self.write(LedgerEntry {
            life,
            connection,
            end,
            action,
            pid: std::process::id().cast_signed(),
            before_ns,
            after_ns: clock::monotonic_ns()?,
            errno: result
                .as_ref()
                .err()
                .and_then(io::Error::raw_os_error)
                .unwrap_or(0),
        });
        result
    }

    /// Writes an entry. Without room it is not written: [`StormLedger::entries`] then fails.
    pub fn write(&self, entry: LedgerEntry) {
        let index = self.used().fetch_add(1, Ordering::Relaxed) as usize;
        if index >= ROOM {
            return;
        }
        let (what, bytes) = code(entry.action);
        let end = if entry.end == End::Server { SERVER } else { 0 };
        let raw = Raw {
            before_ns: entry.before_ns,
            after_ns: entry.after_ns,
            life: entry.life,
            pid: entry.pid,
            errno: entry.errno,
            bytes,
            what: what | end,
            connection: entry.connection,
        };
        // SAFETY: within the mapping, and only this process has this number.
        unsafe { (&raw mut (*self.memory).entries[index]).write(raw) };
    }

    /// All entries, once no process writes any more.
    ///
    /// # Errors
    /// If there was not room for all.
    pub fn entries(&self) -> io::Result<Vec<LedgerEntry>> {
        let used = self.used().load(Ordering::Acquire) as usize;
        if used > ROOM {
            return Err(io::Error::other(format!(
                "the ledger has room for {ROOM} entries, and there were {used}"
            )));
        }
        let read = |index: usize| {
            // SAFETY: within the mapping, written, and not written again.
            let raw: Raw = unsafe { (&raw const (*self.memory).entries[index]).read() };
            Some(LedgerEntry {
                life: raw.life,
                connection: raw.connection,
                end: match raw.what & SERVER {
                    0 => End::Client,
                    _ => End::Server,
                },
                action: action(raw.what & !SERVER, raw.bytes)?,
                pid: raw.pid,
                before_ns: raw.before_ns,
                after_ns: raw.after_ns,
                errno: raw.errno,
            })
        };
        // An unfinished entry belongs to a process that was killed just then.
        Ok((0..used).filter_map(read).collect())
    }
}

impl Drop for StormLedger {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and no longer borrowed.
        unsafe { libc::munmap(self.memory.cast(), size_of::<Memory>()) };
    }
}

/// All actions but writes; the index is the code less two.
const ACTIONS: [StepAction; 21] = [
    StepAction::Connect,
    StepAction::Accept,
    StepAction::Read,
    StepAction::ShutdownWrite,
    StepAction::ShutdownBoth,
    StepAction::Close,
    StepAction::CloseInThread,
    StepAction::Abort,
    StepAction::Disconnect,
    StepAction::CloseListener,
    StepAction::Hand(LastAct::Close),
    StepAction::Hand(LastAct::Abort),
    StepAction::Hand(LastAct::Exit),
    StepAction::Hand(LastAct::Killed),
    StepAction::Forge(Forged::Reset),
    StepAction::Forge(Forged::ResetInWindow),
    StepAction::Forge(Forged::Syn),
    StepAction::Forge(Forged::OldData),
    StepAction::Forge(Forged::NewData),
    StepAction::Forge(Forged::Fin),
    StepAction::Forge(Forged::KeepaliveProbe),
];

/// 0 means none: the memory is zero initially.
fn code(action: StepAction) -> (u8, u16) {
    if let StepAction::Write(bytes) = action {
        return (1, bytes);
    }
    let index = ACTIONS.iter().position(|other| *other == action);
    (index.map_or(0, |index| index as u8 + 2), 0)
}

fn action(code: u8, bytes: u16) -> Option<StepAction> {
    match code {
        0 => None,
        1 => Some(StepAction::Write(bytes)),
        code => ACTIONS.get(usize::from(code) - 2).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_code() {
        for of in ACTIONS.into_iter().chain([StepAction::Write(4_000)]) {
            let (code, bytes) = code(of);
            assert_eq!(action(code, bytes), Some(of));
        }
        assert_eq!(action(0, 0), None);
        assert_eq!(action(100, 0), None);
    }

    #[test]
    fn what_one_writes_another_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let mine = StormLedger::create(&path).unwrap();
        let theirs = StormLedger::open(&path).unwrap();
        let whose = (300, 1, End::Server);
        let failed = mine.doing(whose, StepAction::Write(7), || {
            Err::<(), _>(io::Error::from_raw_os_error(libc::EPIPE))
        });
        assert!(failed.is_err());
        mine.end_clients();
        let entries = theirs.entries().unwrap();
        assert_eq!(entries.len(), 1);
        let entry = entries[0];
        assert_eq!((entry.life, entry.connection, entry.end), whose);
        assert_eq!(
            (entry.action, entry.errno),
            (StepAction::Write(7), libc::EPIPE)
        );
        assert!(entry.before_ns <= entry.after_ns);
        assert!(theirs.are_clients_done());
    }
}
