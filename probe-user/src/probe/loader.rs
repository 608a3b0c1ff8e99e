//! aya's loader, without its reading of the kernel's BTF.

use std::io;

use aya::EbpfLoader;

/// A loader for programs without CO-RE relocations; ours have none.
///
/// [`EbpfLoader::new`] (aya 0.14) reads and parses all of /sys/kernel/btf/vmlinux, 30 ms and 30 MiB, which
/// [`EbpfLoader::btf`] then discards. It continues without a file that can't be opened. There is no other way to
/// create a loader, so this process may open no file for that moment: it lowers the soft limit RLIMIT_NOFILE, which
/// takes no privilege and leaves open descriptors open. No other thread of ours opens files while probes are
/// attached.
///
/// # Errors
/// If the limit can't be read, lowered or restored.
pub fn without_kernel_btf<'a>() -> io::Result<EbpfLoader<'a>> {
    let usual = limit()?;
    set_limit(&libc::rlimit {
        rlim_cur: 0,
        rlim_max: usual.rlim_max,
    })?;
    let mut loader = EbpfLoader::new();
    set_limit(&usual)?;
    loader.btf(None);
    Ok(loader)
}

fn limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a local of the right type.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set_limit(limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: the pointer is to a value of the right type.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
