//! The bytes of a BTF file.

use std::{
    fs::{self, File},
    io,
    ops::Deref,
    os::fd::AsRawFd as _,
    path::Path,
    ptr::{self, NonNull},
};

/// File in which the kernel shows its own BTF.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Bytes that were read, or a mapping of the kernel's own.
pub enum Source {
    Read(Vec<u8>),
    /// The kernel's own, which never changes ("btf: Allow mmap of vmlinux btf", 6.16).
    Mapped(Mapping),
}

impl Source {
    /// Maps the kernel's own BTF if possible: reading it takes a call per page. Reads other files: one that is
    /// truncated while it is mapped would end the process.
    ///
    /// # Errors
    /// If it can't be opened or read.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new(KERNEL_BTF)
            && let Ok(mapping) = Mapping::of(&File::open(path)?)
        {
            return Ok(Self::Mapped(mapping));
        }
        fs::read(path).map(Self::Read)
    }
}

impl Deref for Source {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Read(bytes) => bytes,
            Self::Mapped(mapping) => mapping.bytes(),
        }
    }
}

/// A whole file, mapped for reading.
pub struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    fn of(file: &File) -> io::Result<Self> {
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ,
                libc::MAP_PRIVATE,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { start, bytes })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: it is mapped for as long as `self` lives, and never written: it is the kernel's read-only data.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is what was mapped, and no reference to it is left.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mapped_is_what_is_read() {
        let path = Path::new(KERNEL_BTF);
        // A machine without BTF can run these tests, but not twtrace.
        let Ok(read) = fs::read(path) else { return };
        assert!(*Source::open(path).unwrap() == *read);
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        assert!(Source::open(Path::new("/nonexistent/vmlinux")).is_err());
    }
}
