//! The kernels of guests: the newest package of each series, unpacked in the target directory. An existing one is
//! reused; to fetch a newer one, remove `target/kernels/SERIES`.

use std::{
    cmp::Ordering,
    fs::{self, File},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::mirror::{Archive, Mirror};
use crate::workspace::Workspace;

/// A kernel series and its Debian packages.
#[derive(Debug)]
pub struct KernelSeries {
    /// Such as `6.12`.
    pub name: &'static str,
    suites: &'static [(Archive, &'static str)],
    /// Prefixes of the names of packages with the kernel image, the preferred first.
    images: &'static [&'static str],
    /// Prefix of the name of the package with the modules, if that is another one.
    modules: Option<&'static str>,
}

/// Suffixes of the image packages' names: the smallest flavour, signed for secure boot or not.
const FLAVOURS: [&str; 2] = ["-cloud-amd64", "-cloud-amd64-unsigned"];

/// All series that are tested, the oldest first.
pub const SERIES: [KernelSeries; 4] = [
    KernelSeries {
        name: "5.10",
        suites: &[
            (Archive::Main, "bullseye"),
            (Archive::Security, "bullseye-security"),
        ],
        images: &["linux-image-5.10.0-"],
        modules: None,
    },
    KernelSeries {
        name: "6.1",
        suites: &[
            (Archive::Main, "bookworm"),
            (Archive::Security, "bookworm-security"),
        ],
        images: &["linux-image-6.1.0-"],
        modules: None,
    },
    KernelSeries {
        name: "6.12",
        suites: &[
            (Archive::Main, "trixie"),
            (Archive::Security, "trixie-security"),
        ],
        images: &["linux-image-6.12."],
        modules: None,
    },
    KernelSeries {
        name: "7.3",
        suites: &[(Archive::Main, "trixie-backports")],
        // Since 7.x the image, the modules and their configuration are separate packages.
        images: &["linux-binary-unsigned-7.3.", "linux-binary-7.3."],
        modules: Some("linux-modules-7.3."),
    },
];

/// The series with this name.
///
/// # Errors
/// If there is none; the error lists the existing ones.
pub fn series(name: &str) -> Result<&'static KernelSeries> {
    SERIES
        .iter()
        .find(|series| series.name == name)
        .with_context(|| {
            let known: Vec<_> = SERIES.iter().map(|series| series.name).collect();
            format!("no kernel series {name}; there are {}", known.join(", "))
        })
}

/// Where kernels come from: options of the verbs that boot guests.
#[derive(Args, Clone, Debug, Default)]
pub struct KernelSource {
    /// Debian mirror to fetch kernels from, in place of the one in this machine's apt sources
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
}

/// A kernel ready to boot.
#[derive(Clone, Debug)]
pub struct GuestKernel {
    /// Its name in output and in directory names.
    pub name: String,
    /// The image.
    pub vmlinuz: PathBuf,
    /// A directory that contains its modules at any depth, if it has any.
    pub modules: Option<PathBuf>,
}

/// The newest kernel of a series, fetched unless it exists.
///
/// # Errors
/// If it can't be fetched or unpacked.
pub fn obtain(
    workspace: &Workspace,
    series: &KernelSeries,
    source: &KernelSource,
) -> Result<GuestKernel> {
    let directory = workspace.kernels().join(series.name);
    fs::create_dir_all(workspace.kernels())?;
    // Two xtasks at the same time must not unpack over each other.
    let _lock = lock(&workspace.kernels().join(format!("{}.lock", series.name)))?;
    if !directory.is_dir() {
        fetch(workspace, series, source, &directory)
            .with_context(|| format!("can't fetch a kernel {}", series.name))?;
    }
    let vmlinuz = find_image(&directory)?
        .with_context(|| format!("no vmlinuz in {}", directory.display()))?;
    Ok(GuestKernel {
        name: series.name.to_owned(),
        vmlinuz,
        modules: Some(directory),
    })
}

fn fetch(
    workspace: &Workspace,
    series: &KernelSeries,
    source: &KernelSource,
    directory: &Path,
) -> Result<()> {
    ensure!(
        std::env::consts::ARCH == "x86_64",
        "kernel packages are fetched for x86-64 only; use vm --vmlinuz FILE --modules DIR"
    );
    let mirror = Mirror::open(
        &workspace.kernels().join("apt").join(series.name),
        source.mirror.as_deref(),
        series.suites,
    )?;
    let image = newest_image(series, &mirror)?;
    let mut packages = vec![image.clone()];
    if let Some(prefix) = series.modules {
        let stem = FLAVOURS
            .iter()
            .find_map(|end| image.strip_suffix(end))
            .unwrap_or(&image);
        let version = series
            .images
            .iter()
            .find_map(|start| stem.strip_prefix(start))
            .unwrap_or(stem);
        packages.push(format!("{prefix}{version}{}", FLAVOURS[0]));
    }
    eprintln!("kernel {}: fetching {}", series.name, packages.join(", "));
    let unpacked = workspace.kernels().join(format!("{}.new", series.name));
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    fs::create_dir_all(&unpacked)?;
    mirror.unpack(&packages, &unpacked)?;
    mirror.remove()?;
    // The name appears only when everything is complete.
    fs::rename(&unpacked, directory)?;
    Ok(())
}

fn newest_image(series: &KernelSeries, mirror: &Mirror) -> Result<String> {
    for prefix in series.images {
        let names = mirror.names(prefix)?;
        if let Some(newest) = newest(&names, prefix) {
            return Ok(newest.to_owned());
        }
    }
    let suites: Vec<_> = series.suites.iter().map(|(_, suite)| *suite).collect();
    bail!(
        "the mirror has no package {}*{} in {}",
        series.images[0],
        FLAVOURS[0],
        suites.join(", ")
    )
}

/// The name with the highest version among packages of our flavour.
fn newest<'a>(names: &'a [String], prefix: &str) -> Option<&'a str> {
    names
        .iter()
        .filter_map(|name| {
            let rest = name.strip_prefix(prefix)?;
            let (rank, version) = FLAVOURS
                .iter()
                .enumerate()
                .find_map(|(rank, end)| Some((rank, rest.strip_suffix(end)?)))?;
            Some((name.as_str(), version, rank))
        })
        .max_by(|a, b| compare_versions(a.1, b.1).then(b.2.cmp(&a.2)))
        .map(|(name, _, _)| name)
}

/// Compares versions as people do: sequences of digits by their number, the rest by character.
fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (digits_a, rest_a) = split_digits(a);
        let (digits_b, rest_b) = split_digits(b);
        let order = digits_a
            .len()
            .cmp(&digits_b.len())
            .then(digits_a.cmp(digits_b));
        if order != Ordering::Equal {
            return order;
        }
        match (rest_a.split_first(), rest_b.split_first()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((x, tail_a)), Some((y, tail_b))) => {
                if x != y {
                    return x.cmp(y);
                }
                (a, b) = (tail_a, tail_b);
            }
        }
    }
}

/// Leading digits without leading zeros, and the rest.
fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|c| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let zeros = text[..end].iter().take_while(|c| **c == b'0').count();
    (&text[zeros..end], &text[end..])
}

/// `boot/vmlinuz-*`, or `usr/lib/modules/*/vmlinuz*` of newer packages.
fn find_image(directory: &Path) -> Result<Option<PathBuf>> {
    let mut places = vec![directory.join("boot")];
    for modules in ["usr/lib/modules", "lib/modules"] {
        if let Ok(entries) = fs::read_dir(directory.join(modules)) {
            places.extend(entries.flatten().map(|entry| entry.path()));
        }
    }
    for place in places {
        let Ok(entries) = fs::read_dir(&place) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("vmlinuz") {
                return Ok(Some(entry.path()));
            }
        }
    }
    Ok(None)
}

/// Holds a lock file until the returned file is dropped.
pub fn lock(path: &Path) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("can't open {}", path.display()))?;
    // SAFETY: the descriptor is open as long as `file` lives.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } != 0 {
        return Err(std::io::Error::last_os_error())
            .with_context(|| format!("can't lock {}", path.display()));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_package_of_the_flavour_is_chosen() {
        let names: Vec<String> = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64-unsigned",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-57-amd64",
            "linux-image-6.1.0-57-cloud-amd64-dbg",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(
            newest(&names, "linux-image-6.1.0-"),
            Some("linux-image-6.1.0-56-cloud-amd64")
        );
        assert_eq!(newest(&names, "linux-image-6.12."), None);
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert_eq!(
            compare_versions("100+deb13", "90+deb13.1"),
            Ordering::Greater
        );
        assert_eq!(
            compare_versions("115+deb13.1", "115+deb13"),
            Ordering::Greater
        );
        assert_eq!(
            compare_versions("117+deb13", "117+deb12"),
            Ordering::Greater
        );
        assert_eq!(compare_versions("007", "7"), Ordering::Equal);
    }
}
