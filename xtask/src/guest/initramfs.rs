//! Contents of a guest: guest_init as the first process, twtrace, the scenario runner, busybox, kernel modules, and the
//! host's programs that scenarios use.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{cpio::CpioArchive, kernels::GuestKernel, libraries, modules};
use crate::{build::Binaries, process::find_program};

/// Path of the other build of twtrace in a guest, if there is one.
pub const OTHER_TWTRACE: &str = "/bin/other-twtrace";

const DIRECTORIES: [&str; 13] = [
    "/dev",
    "/proc",
    "/sys",
    "/tmp",
    "/run",
    "/root",
    "/var/tmp",
    "/var/log/nginx",
    "/var/lib/nginx",
    "/etc/nginx",
    "/usr/bin",
    "/usr/sbin",
    "/sbin",
];

const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n\
    www-data:x:33:33:www-data:/var/www:/bin/false\n\
    nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
const GROUPS: &str = "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\nnobody:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

/// What differs between guests.
pub struct Contents<'a> {
    /// The kernel, for its modules.
    pub kernel: &'a GuestKernel,
    /// Programs of the project.
    pub binaries: &'a Binaries,
    /// Programs of this machine.
    pub programs: &'a [&'static str],
    /// Another build of twtrace.
    pub other: Option<&'a Path>,
    /// Commands to run, one per line.
    pub commands: &'a [String],
}

/// Packs an initramfs into `file`.
pub fn pack(file: &Path, contents: &Contents<'_>) -> Result<()> {
    let binaries = contents.binaries;
    let out = File::create(file).with_context(|| format!("can't write {}", file.display()))?;
    let mut archive = CpioArchive::new(BufWriter::new(out));
    for directory in DIRECTORIES {
        archive.directory(directory)?;
    }
    // The kernel opens it for the first process, before /dev exists.
    archive.character_device("/dev/console", 5, 1)?;
    add(&mut archive, "/init", &binaries.guest_init())?;
    add(&mut archive, "/bin/twtrace", &binaries.twtrace())?;
    for (path, program) in [
        ("/bin/scenarios", binaries.scenarios()),
        ("/bin/bench", binaries.bench()),
    ] {
        if program.is_file() {
            add(&mut archive, path, &program)?;
        }
    }
    if let Some(other) = contents.other {
        add(&mut archive, OTHER_TWTRACE, other)?;
    }
    let busybox = find_program("busybox").context("there is no busybox")?;
    add(&mut archive, "/bin/busybox", &busybox)?;
    archive.symlink("/bin/sh", "busybox")?;
    add_programs(&mut archive, contents.programs)?;
    for (path, text) in [
        ("/etc/passwd", USERS),
        ("/etc/group", GROUPS),
        ("/etc/hosts", HOSTS),
    ] {
        archive.file(path, 0o644, text.as_bytes())?;
    }
    if let Some(directory) = &contents.kernel.modules {
        for (number, module) in modules::collect(directory)?.iter().enumerate() {
            // The numbers give the order in which guest_init loads them.
            let path = format!("/modules/{number:02}-{}.ko", module.name);
            archive.file(&path, 0o644, &module.content)?;
        }
    }
    let mut list = contents.commands.join("\n");
    list.push('\n');
    archive.file("/commands", 0o644, list.as_bytes())?;
    archive.finish()?;
    Ok(())
}

/// Adds the host's programs at their own paths, with their libraries; missing ones are left out, and the scenarios that
/// need them report that.
fn add_programs(archive: &mut CpioArchive<BufWriter<File>>, programs: &[&str]) -> Result<()> {
    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    for name in programs {
        match find_program(name) {
            Some(program) => {
                files.extend(libraries::of_program(&program)?);
                files.insert(program);
            }
            None => eprintln!("guest: without {name}, which is not on this machine"),
        }
    }
    for file in files {
        add(archive, &file.to_string_lossy(), &file)?;
    }
    Ok(())
}

fn add(archive: &mut CpioArchive<BufWriter<File>>, path: &str, from: &Path) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("can't read {}", from.display()))?;
    archive.file(path, 0o755, &content)?;
    Ok(())
}
