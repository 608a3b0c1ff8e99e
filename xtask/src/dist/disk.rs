//! A Debian disk that boots systemd under QEMU, and the contents of a second one. mmdebstrap installs the system, and mke2fs
//! writes the file system from a directory, without mounting it: no image format is written here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::debian_root::{self, Recipe};
use crate::{process::run, workspace::Workspace};

/// With a kernel; curl and others are for the tests in it.
const BOOTABLE: Recipe = Recipe {
    name: "bootable",
    packages: &[
        "systemd-sysv",
        "dbus",
        "udev",
        "linux-image-cloud-amd64",
        "initramfs-tools",
        "busybox",
        "curl",
        "iproute2",
        "procps",
    ],
};

/// Runs the script of the second disk, on the second serial line, and powers off.
const UNIT: &str = "[Unit]\n\
    After=multi-user.target\n\
    [Service]\n\
    Type=simple\n\
    StandardOutput=tty\n\
    StandardError=tty\n\
    TTYPath=/dev/ttyS1\n\
    ExecStartPre=/bin/mount -o ro /dev/vdb /mnt\n\
    ExecStart=/bin/sh /mnt/check.sh\n\
    ExecStopPost=/bin/systemctl --no-block poweroff\n\
    [Install]\n\
    WantedBy=multi-user.target\n";

/// The disk, and the kernel and initramfs that boot it.
#[derive(Debug)]
pub struct Disk {
    /// ext4, without a partition table. It stays unchanged.
    pub image: PathBuf,
    /// Debian's kernel.
    pub kernel: PathBuf,
    /// Its initramfs.
    pub initramfs: PathBuf,
}

/// Builds the disk, unless it exists.
pub fn bootable(workspace: &Workspace) -> Result<Disk> {
    let tarball = debian_root::tarball(workspace, &BOOTABLE)?;
    let directory = workspace.target.join("debian-roots");
    let disk = Disk {
        image: directory.join("bootable.img"),
        kernel: directory.join("bootable.vmlinuz"),
        initramfs: directory.join("bootable.initrd"),
    };
    let unit = directory.join("bootable.service");
    let is_current =
        fs::read_to_string(&unit).is_ok_and(|text| text == UNIT) && newer(&disk.image, &tarball)?;
    if is_current {
        return Ok(disk);
    }
    let root = directory.join("bootable");
    debian_root::unpack(&tarball, &root)?;
    fs::rename(find_boot(&root, "vmlinuz-")?, &disk.kernel)?;
    fs::rename(find_boot(&root, "initrd.img-")?, &disk.initramfs)?;
    fs::write(root.join("etc/fstab"), "/dev/vda / ext4 defaults 0 0\n")?;
    let units = root.join("etc/systemd/system");
    fs::create_dir_all(units.join("multi-user.target.wants"))?;
    fs::write(units.join("check.service"), UNIT)?;
    std::os::unix::fs::symlink(
        "../check.service",
        units.join("multi-user.target.wants/check.service"),
    )?;
    make(&disk.image, &root, "1000M")?;
    fs::remove_dir_all(&root)?;
    fs::write(&unit, UNIT)?;
    Ok(disk)
}

/// Creates an ext4 image of a directory's content, without mounting it.
pub fn make(image: &Path, content: &Path, size: &str) -> Result<()> {
    if image.exists() {
        fs::remove_file(image)?;
    }
    run(Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-E", "root_owner=0:0", "-d"])
        .arg(content)
        .arg(image)
        .arg(size))
}

fn newer(file: &Path, than: &Path) -> Result<bool> {
    let Ok(about) = fs::metadata(file) else {
        return Ok(false);
    };
    Ok(about.modified()? >= fs::metadata(than)?.modified()?)
}

fn find_boot(root: &Path, beginning: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(root.join("boot"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(beginning) {
            return Ok(entry.path());
        }
    }
    None.with_context(|| format!("there is no /boot/{beginning}… in the root"))
}
