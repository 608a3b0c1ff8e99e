//! Giving up what is needed for attaching only.

use std::io;

const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

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

/// Keeps the capabilities that reading /proc of other users (CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH) and maps
/// (CAP_BPF on older kernels) takes, and drops all others, for good, of this thread and those it starts.
/// Attached probes stay attached, and go with their descriptors.
///
/// # Errors
/// When the kernel refuses.
pub fn drop_unneeded() -> io::Result<()> {
    // SAFETY: PR_SET_NO_NEW_PRIVS takes plain numbers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut words = [Word::default(); 2];
    // SAFETY: both point to structs of the layout that this version has.
    if unsafe { libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let held = u64::from(words[0].permitted) | u64::from(words[1].permitted) << 32;
    let kept = held & kept_of(held);
    for (index, word) in words.iter_mut().enumerate() {
        // The lower and the upper half.
        let half = (kept >> (32 * index)) as u32;
        *word = Word {
            effective: half,
            permitted: half,
            inheritable: 0,
        };
    }
    // SAFETY: as above.
    if unsafe { libc::syscall(libc::SYS_capset, &raw mut header, words.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn kept_of(held: u64) -> u64 {
    let bit = |capability: u32| 1_u64 << capability;
    let maps = match held & bit(CAP_BPF) {
        // Before 5.8, and for those who were only given that.
        0 => bit(CAP_SYS_ADMIN),
        _ => bit(CAP_BPF),
    };
    bit(CAP_DAC_READ_SEARCH) | bit(CAP_SYS_PTRACE) | maps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_kept() {
        assert_eq!(
            kept_of(u64::MAX),
            1 << CAP_DAC_READ_SEARCH | 1 << CAP_SYS_PTRACE | 1 << CAP_BPF
        );
        assert_ne!(kept_of(1 << CAP_SYS_ADMIN) & 1 << CAP_SYS_ADMIN, 0);
    }

    #[test]
    fn what_is_dropped_is_gone_and_only_of_this_thread() {
        let effective = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("CapEff:"))
                .unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        let before = effective();
        let after = std::thread::spawn(move || {
            drop_unneeded().unwrap();
            effective()
        })
        .join()
        .unwrap();
        assert_eq!(after, before & kept_of(before));
        assert_eq!(effective(), before);
    }
}
