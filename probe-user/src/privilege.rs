//! Capabilities: what attaching needs, and dropping what only attaching needs.

use std::io;

const CAP_CHOWN: u32 = 0;
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_FOWNER: u32 = 3;
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The user and group without rights of their own (`fs.overflowuid`).
const NOBODY: libc::uid_t = 65_534;

/// `_LINUX_CAPABILITY_VERSION_3`: 64 bits in two words.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Word {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl Header {
    /// For the calling thread.
    const fn own() -> Self {
        Self {
            version: VERSION_3,
            pid: 0,
        }
    }
}

/// The capabilities of the calling thread: the lower and the upper half.
fn own() -> io::Result<[Word; 2]> {
    let mut header = Header::own();
    let mut words = [Word::default(); 2];
    // SAFETY: both point to structs with the layout of this version.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(words)
}

fn both(halves: [u32; 2]) -> u64 {
    u64::from(halves[0]) | u64::from(halves[1]) << 32
}

/// Names of the capabilities that attaching needs and the caller does not have.
///
/// # Errors
/// If the kernel refuses to return them.
pub fn missing_to_attach() -> io::Result<Vec<&'static str>> {
    let words = own()?;
    Ok(missing(both(words.map(|word| word.effective))))
}

fn missing(held: u64) -> Vec<&'static str> {
    let has = |capability: u32| held >> capability & 1 != 0;
    if has(CAP_SYS_ADMIN) {
        return Vec::new();
    }
    [
        (CAP_BPF, "CAP_BPF"),
        (CAP_PERFMON, "CAP_PERFMON"),
        (CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"),
    ]
    .into_iter()
    .filter(|(capability, _)| !has(*capability))
    .map(|(_, name)| name)
    .collect()
}

/// Which capabilities to keep when probes are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// None.
    Nothing,
    /// What reads the files of other users (CAP_DAC_READ_SEARCH).
    Reading,
    /// Also CAP_DAC_OVERRIDE: a file has yet to be written in a directory that root does not own.
    ReadingAndWriting,
    /// What some kernels require for reading maps (CAP_BPF, or CAP_SYS_ADMIN before 5.8).
    Maps,
    /// Also what is needed to read other users' processes in /proc (CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH).
    Naming,
    /// Also CAP_DAC_OVERRIDE: a file has yet to be written in a directory that root does not own.
    NamingAndWriting,
}

impl Keep {
    fn of(self, held: u64) -> u64 {
        let maps = match held & bit(CAP_BPF) {
            // Before 5.8, and for users who were granted only that one.
            0 => bit(CAP_SYS_ADMIN),
            _ => bit(CAP_BPF),
        };
        let naming = bit(CAP_DAC_READ_SEARCH) | bit(CAP_SYS_PTRACE);
        match self {
            Self::Nothing => 0,
            Self::Reading => bit(CAP_DAC_READ_SEARCH),
            Self::ReadingAndWriting => bit(CAP_DAC_READ_SEARCH) | bit(CAP_DAC_OVERRIDE),
            Self::Maps => maps,
            Self::Naming => naming | maps,
            Self::NamingAndWriting => naming | maps | bit(CAP_DAC_OVERRIDE),
        }
    }
}

/// Drops all capabilities except these, permanently, for this thread and those it starts, which can't gain any by
/// executing programs either; their bounding set is emptied. Attached probes stay attached until their descriptors are
/// closed.
pub fn drop_all_but(keep: Keep) -> io::Result<()> {
    keep_only(|held| keep.of(held))
}

/// Whether something can be done without any capability: tries it that way.
///
/// # Errors
/// If the kernel refuses to return capabilities, or to drop and restore them.
pub fn works_without(attempt: impl FnOnce() -> bool) -> io::Result<bool> {
    let before = own()?;
    set(&before.map(|word| Word {
        effective: 0,
        ..word
    }))?;
    let works = attempt();
    set(&before)?;
    Ok(works)
}

/// Keeps the capability needed to enter network namespaces, CAP_SYS_ADMIN. Otherwise as [`drop_all_but`].
pub fn keep_to_enter_namespaces() -> io::Result<()> {
    keep_only(|_| bit(CAP_SYS_ADMIN))
}

/// Keeps what creating and renaming files in directories of other users takes: CAP_DAC_OVERRIDE, CAP_CHOWN for those of the
/// user who called sudo, CAP_FOWNER for a sticky directory. Otherwise as [`drop_all_but`].
pub fn keep_to_create_files() -> io::Result<()> {
    keep_only(|_| bit(CAP_DAC_OVERRIDE) | bit(CAP_CHOWN) | bit(CAP_FOWNER))
}

/// Becomes another user without any capability, permanently; otherwise as [`drop_all_but`]. The user id changes only if this
/// process may change it (CAP_SETUID, CAP_SETGID). For a process with one thread.
///
/// # Errors
/// If the kernel refuses.
pub fn become_unprivileged(user: libc::uid_t) -> io::Result<()> {
    let held = both(own()?.map(|word| word.effective));
    empty_bounding_set();
    if held & bit(CAP_SETUID) != 0 && held & bit(CAP_SETGID) != 0 {
        match change_user(user) {
            // A user namespace maps some ids only.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => change_user(NOBODY)?,
            changed => changed?,
        }
    }
    keep_only(|_| 0)
}

fn change_user(user: libc::uid_t) -> io::Result<()> {
    // SAFETY: no group is read from a null list of length 0; integers otherwise.
    let is_changed = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setresgid(user, user, user) == 0
            && libc::setresuid(user, user, user) == 0
    };
    if is_changed {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Without CAP_SETPCAP it stays as it is: what it allows can't be gained with no_new_privs.
fn empty_bounding_set() {
    for capability in 0..u64::BITS {
        // SAFETY: PR_CAPBSET_DROP takes only numbers.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
}

fn keep_only(wanted_of: impl Fn(u64) -> u64) -> io::Result<()> {
    empty_bounding_set();
    // SAFETY: PR_SET_NO_NEW_PRIVS takes only numbers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut words = own()?;
    let held = both(words.map(|word| word.permitted));
    let kept = held & wanted_of(held);
    for (index, word) in words.iter_mut().enumerate() {
        // The lower and the upper half.
        let half = (kept >> (32 * index)) as u32;
        *word = Word {
            effective: half,
            permitted: half,
            inheritable: 0,
        };
    }
    set(&words)
}

fn set(words: &[Word; 2]) -> io::Result<()> {
    let mut header = Header::own();
    // SAFETY: as in `own`.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, words.as_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

const fn bit(capability: u32) -> u64 {
    1 << capability
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(
            missing(0),
            ["CAP_BPF", "CAP_PERFMON", "CAP_DAC_READ_SEARCH"]
        );
        assert_eq!(
            missing(1 << CAP_BPF | 1 << CAP_DAC_READ_SEARCH),
            ["CAP_PERFMON"]
        );
        assert!(missing(1 << CAP_SYS_ADMIN).is_empty());
    }

    #[test]
    fn only_what_is_needed_is_kept() {
        assert_eq!(
            Keep::Naming.of(u64::MAX),
            1 << CAP_DAC_READ_SEARCH | 1 << CAP_SYS_PTRACE | 1 << CAP_BPF
        );
        assert_ne!(Keep::Maps.of(1 << CAP_SYS_ADMIN) & 1 << CAP_SYS_ADMIN, 0);
        assert_eq!(Keep::Nothing.of(u64::MAX), 0);
    }

    fn effective() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    }

    #[test]
    fn what_is_dropped_is_gone_and_only_of_this_thread() {
        let before = effective();
        for keep in [Keep::Naming, Keep::Maps, Keep::Nothing] {
            let after = std::thread::spawn(move || {
                drop_all_but(keep).unwrap();
                effective()
            })
            .join()
            .unwrap();
            assert_eq!(after, before & keep.of(before));
        }
        assert_eq!(effective(), before);
    }

    #[test]
    fn an_attempt_without_is_one_and_no_more() {
        let before = effective();
        let mut within = u64::MAX;
        let works = works_without(|| {
            within = effective();
            false
        });
        assert!(!works.unwrap());
        assert_eq!((within, effective()), (0, before));
    }
}
