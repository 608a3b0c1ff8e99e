//! Programs of this machine that are needed to boot guests and run scenarios, and their packages.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{apt, process::find_program};

/// A program and its Debian package.
struct Tool {
    program: &'static str,
    package: &'static str,
}

/// Programs that the scenarios run, on the machine and in guests.
const TRAFFIC: [Tool; 7] = [
    Tool {
        program: "nginx",
        package: "nginx",
    },
    Tool {
        program: "ab",
        package: "apache2-utils",
    },
    Tool {
        program: "curl",
        package: "curl",
    },
    Tool {
        program: "ip",
        package: "iproute2",
    },
    Tool {
        program: "ss",
        package: "iproute2",
    },
    Tool {
        program: "nft",
        package: "nftables",
    },
    Tool {
        program: "tmux",
        package: "tmux",
    },
];

/// Displays the page of `report --html`: on the machine only, as it is too large for a guest.
const BROWSER: [Tool; 1] = [Tool {
    program: "chromium",
    package: "chromium",
}];

/// Scrapes `twtrace serve`, and checks its rules: on the machine only.
const SCRAPER: [Tool; 2] = [
    Tool {
        program: "prometheus",
        package: "prometheus",
    },
    Tool {
        program: "promtool",
        package: "prometheus",
    },
];

/// Used by commands of the documentation, which run as they stand: on the machine only.
const DOCUMENTED: [Tool; 3] = [
    Tool {
        program: "jq",
        package: "jq",
    },
    Tool {
        program: "sqlite3",
        package: "sqlite3",
    },
    Tool {
        program: "zstdcat",
        package: "zstd",
    },
];

/// Other tracers that the bench compares with. Those of libbpf-tools are also packed into its guests.
const PEERS: [Tool; 6] = [
    Tool {
        program: "tcpstates",
        package: "libbpf-tools",
    },
    Tool {
        program: "tcplife",
        package: "libbpf-tools",
    },
    Tool {
        program: "tcptracer",
        package: "libbpf-tools",
    },
    Tool {
        program: "funclatency",
        package: "libbpf-tools",
    },
    Tool {
        program: "tcpstates-bpfcc",
        package: "bpfcc-tools",
    },
    Tool {
        program: "bpftrace",
        package: "bpftrace",
    },
];

/// Needed to boot a guest.
const BOOTING: [Tool; 3] = [
    Tool {
        program: "qemu-system-x86_64",
        package: "qemu-system-x86",
    },
    Tool {
        program: "busybox",
        package: "busybox-static",
    },
    Tool {
        program: "xz",
        package: "xz-utils",
    },
];

/// Counts instructions for the benchmark.
const COUNTING: [Tool; 1] = [Tool {
    program: "valgrind",
    package: "valgrind",
}];

/// Needed to build packages.
const PACKING: [Tool; 3] = [
    Tool {
        program: "dpkg-deb",
        package: "dpkg",
    },
    Tool {
        program: "readelf",
        package: "binutils",
    },
    Tool {
        program: "git",
        package: "git",
    },
];

/// Needed to build a Debian root, and a disk from it.
const ROOTS: [Tool; 2] = [
    Tool {
        program: "mmdebstrap",
        package: "mmdebstrap",
    },
    Tool {
        program: "mke2fs",
        package: "e2fsprogs",
    },
];

/// Installs missing programs that the scenarios use.
///
/// # Errors
/// If it can't be installed; the error has the command to type.
pub fn ensure_for_scenarios() -> Result<()> {
    let optional = [
        (&BROWSER[..], "one scenario uses a browser"),
        (&SCRAPER[..], "one scenario uses Prometheus"),
        (&DOCUMENTED[..], "commands of the documentation use them"),
    ];
    for (tools, why) in optional {
        if let Err(error) = ensure(tools, why) {
            // The scenarios are skipped, and report that.
            eprintln!("{error:#}");
        }
    }
    ensure(&TRAFFIC, "the scenarios use programs that are not here")
}

/// Installs the program that counts instructions, if it is missing.
///
/// # Errors
/// If it can't be installed; the error has the command to type.
pub fn ensure_for_path() -> Result<()> {
    ensure(
        &COUNTING,
        "instructions are counted by a program that is not here",
    )
}

/// Installs missing peers. Failures are printed here, and again in the tables.
pub fn ensure_peers() {
    if let Err(error) = ensure(&PEERS, "the bench compares with programs that are not here") {
        eprintln!("{error:#}");
    }
}

/// Names of the peers that run in a guest: those without a compiler.
pub fn guest_peers() -> impl Iterator<Item = &'static str> {
    PEERS
        .iter()
        .filter(|tool| tool.package == "libbpf-tools")
        .map(|tool| tool.program)
}

/// Installs missing programs for booting a guest.
///
/// # Errors
/// If it can't be installed; the error has the command to type.
pub fn ensure_for_guests() -> Result<()> {
    ensure(
        &BOOTING,
        "booting a virtual machine takes programs that are not here",
    )
}

/// Installs missing programs for building packages.
///
/// # Errors
/// If it can't be installed; the error has the command to type.
pub fn ensure_for_packages() -> Result<()> {
    ensure(&PACKING, "making packages takes programs that are not here")
}

/// Installs missing programs for building Debian roots.
///
/// # Errors
/// If it can't be installed; the error has the command to type.
pub fn ensure_for_debian_roots() -> Result<()> {
    ensure(
        &ROOTS,
        "making a Debian root takes programs that are not here",
    )
}

/// Names of the programs that are packed into a guest if they are installed.
pub fn guest_programs() -> impl Iterator<Item = &'static str> {
    TRAFFIC.iter().map(|tool| tool.program)
}

fn ensure(tools: &[Tool], why: &str) -> Result<()> {
    let mut packages: Vec<String> = tools
        .iter()
        .filter(|tool| !is_here(tool))
        .map(|tool| tool.package.to_owned())
        .collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    apt::install(&packages).with_context(|| format!("{why} ({})", packages.join(", ")))
}

fn is_here(tool: &Tool) -> bool {
    match find_program(tool.program) {
        // Alone in a guest, busybox has no libraries to load.
        Some(path) if tool.program == "busybox" => is_static(&path),
        found => found.is_some(),
    }
}

/// Whether an ELF file has no dynamic loader.
fn is_static(path: &Path) -> bool {
    const LOADER: &[u8] = b"/ld-linux";
    fs::read(path).is_ok_and(|content| {
        // The loader's name is in the first page, after the headers.
        let head = &content[..content.len().min(4096)];
        !head.windows(LOADER.len()).any(|window| window == LOADER)
    })
}
