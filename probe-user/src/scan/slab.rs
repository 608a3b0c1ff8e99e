//! Memory of the kernel's tables, from /proc/slabinfo.

use std::fs;
use std::io;
use std::path::Path;

/// Caches that TIME_WAIT fills: mini-sockets, and the ports of these and all other sockets.
pub const CACHES: [&str; 4] = [
    "tw_sock_TCP",
    "tw_sock_TCPv6",
    "tcp_bind_bucket",
    "tcp_bind2_bucket",
];

const SLABINFO: &str = "/proc/slabinfo";
const SLABS: &str = "/sys/kernel/slab";

/// One of the kernel's caches of objects of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slab {
    /// Objects in use. The kernel counts those that a CPU keeps ready as used, so this may be too high by some dozens
    /// per CPU.
    pub active_objects: u64,
    /// Size of one object, bytes, with the padding to the next.
    pub object_bytes: u64,
    /// Memory that the cache holds, used or not, bytes.
    pub held_bytes: u64,
}

/// Why a cache's size is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlabError {
    /// The file can't be read: root only, or not there.
    #[error("reading {SLABINFO}: {0}")]
    Unreadable(String),
    /// This kernel keeps these objects in one cache with others of the same size.
    #[error("this kernel keeps these objects in one cache with others of their size")]
    Merged,
    /// This kernel has no such cache.
    #[error("this kernel has no such cache")]
    Missing,
    /// The line is not as expected.
    #[error("{SLABINFO} is not of a known form")]
    Malformed,
}

/// Reads the [`CACHES`].
pub fn read() -> Vec<(&'static str, Result<Slab, SlabError>)> {
    let text = fs::read_to_string(SLABINFO);
    CACHES
        .iter()
        .map(|name| (*name, one(name, &text)))
        .collect()
}

fn one(name: &str, slabinfo: &io::Result<String>) -> Result<Slab, SlabError> {
    let text = slabinfo
        .as_ref()
        .map_err(|error| SlabError::Unreadable(error.to_string()))?;
    match find(text, name, page_bytes()) {
        // A merged cache is left as a link to the cache that it is a part of.
        Err(SlabError::Missing) if Path::new(SLABS).join(name).is_symlink() => {
            Err(SlabError::Merged)
        }
        found => found,
    }
}

/// A cache's line: name, active objects, objects, size of an object, objects per slab, pages per slab; after
/// `slabdata`: active slabs, slabs.
fn find(slabinfo: &str, name: &str, page_bytes: u64) -> Result<Slab, SlabError> {
    let mut lines = slabinfo.lines();
    let line = lines
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .ok_or(SlabError::Missing)?;
    let (objects, slabs) = line.split_once(": slabdata").ok_or(SlabError::Malformed)?;
    let number = |text: &str, index: usize| -> Result<u64, SlabError> {
        text.split_ascii_whitespace()
            .nth(index)
            .and_then(|field| field.parse().ok())
            .ok_or(SlabError::Malformed)
    };
    let slab_bytes = number(objects, 4)?.saturating_mul(page_bytes);
    Ok(Slab {
        active_objects: number(objects, 0)?,
        object_bytes: number(objects, 2)?,
        held_bytes: number(slabs, 1)?.saturating_mul(slab_bytes),
    })
}

fn page_bytes() -> u64 {
    // SAFETY: sysconf() has no preconditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLABINFO_2_1: &str = "\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
tw_sock_TCPv6         80    144    256   16    1 : tunables    0    0    0 : slabdata      9      9      0
tw_sock_TCP           12     32    248   32    2 : tunables    0    0    0 : slabdata      1      2      0
";

    #[test]
    fn lines_are_found_by_their_whole_name() {
        assert_eq!(
            find(SLABINFO_2_1, "tw_sock_TCP", 4096),
            Ok(Slab {
                active_objects: 12,
                object_bytes: 248,
                held_bytes: 2 * 2 * 4096,
            })
        );
        let missing = find(SLABINFO_2_1, "tcp_bind_bucket", 4096);
        assert_eq!(missing, Err(SlabError::Missing));
        assert_eq!(
            find("tw_sock_TCP 1 2 x", "tw_sock_TCP", 4096),
            Err(SlabError::Malformed)
        );
    }

    #[test]
    fn a_file_that_may_not_be_read_is_named() {
        let denied = Err(io::Error::from_raw_os_error(libc::EACCES));
        let error = one("tw_sock_TCP", &denied).unwrap_err().to_string();
        assert!(
            error.contains("/proc/slabinfo") && error.contains("denied"),
            "{error}"
        );
        assert_eq!(read().len(), CACHES.len());
    }

    proptest! {
        #[test]
        fn no_text_does_harm(text: String, numbers: [u64; 6]) {
            let _ = find(&text, "tw_sock_TCP", 4096);
            let [a, b, c, d, e, f] = numbers;
            let line = format!("tw_sock_TCP {a} {b} {c} {d} {e} : tunables 0 0 0 : slabdata {f} {f} 0");
            prop_assert!(find(&line, "tw_sock_TCP", 4096).is_ok());
        }
    }
}
