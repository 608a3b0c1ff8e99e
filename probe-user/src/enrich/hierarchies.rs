//! Where cgroup hierarchies are mounted.

use std::fs;
use std::path::{Path, PathBuf};

/// v1 controllers whose cgroup shows where a process is, the best first: systemd and all runtimes use them.
const CONTROLLERS: [Controller; 5] = [
    Controller::Pids,
    Controller::Memory,
    Controller::Cpu,
    Controller::Devices,
    Controller::Freezer,
];

/// A controller that may be in a v1 hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// `pids`
    Pids,
    /// `memory`
    Memory,
    /// `cpu`
    Cpu,
    /// `devices`
    Devices,
    /// `freezer`
    Freezer,
}

impl Controller {
    /// Its name in mount options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pids => "pids",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
        }
    }

    /// The name of its index in the kernel: a value of the enum `cgroup_subsys_id`.
    pub fn kernel_name(self) -> String {
        format!("{}_cgrp_id", self.name())
    }
}

/// A place where a hierarchy is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The mount point.
    pub point: PathBuf,
    /// The cgroup that is the root of the mount.
    pub root: String,
}

impl Mount {
    /// The path of the cgroup that a directory stands for, from the root of the hierarchy.
    pub fn path_of(&self, directory: &Path) -> Option<String> {
        let below = directory.strip_prefix(&self.point).ok()?;
        let below = below.to_string_lossy();
        // Cgroups above this cgroup namespace are not known by name.
        let root = match self.root.as_str() {
            "/" => "",
            root if is_above(root) => "",
            root => root,
        };
        Some(match (root, below.as_ref()) {
            ("", "") => "/".to_owned(),
            (root, "") => root.to_owned(),
            (root, below) => format!("{root}/{below}"),
        })
    }
}

/// The hierarchies that are used to place processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    pub unified: Option<Mount>,
    /// The hierarchy of the best v1 controller.
    pub v1: Option<(Controller, Mount)>,
}

impl Hierarchies {
    /// As this process sees them.
    pub fn find() -> Self {
        fs::read("/proc/self/mountinfo")
            .map(|text| Self::parse(&String::from_utf8_lossy(&text)))
            .unwrap_or_default()
    }

    fn parse(mountinfo: &str) -> Self {
        let lines: Vec<MountLine<'_>> = mountinfo.lines().filter_map(MountLine::parse).collect();
        Self {
            unified: widest(lines.iter().filter(|line| line.fstype == "cgroup2")),
            v1: CONTROLLERS.into_iter().find_map(|controller| {
                let of_it = lines.iter().filter(|line| line.has(controller));
                Some((controller, widest(of_it)?))
            }),
        }
    }
}

/// The first mount with the widest view: more than this cgroup namespace, all of it, or a part.
fn widest<'a>(lines: impl Iterator<Item = &'a MountLine<'a>>) -> Option<Mount> {
    let rank = |line: &&MountLine<'_>| match line.root {
        "/" => 1,
        root if is_above(root) => 0,
        _ => 2,
    };
    lines.min_by_key(rank).map(|line| Mount {
        point: PathBuf::from(unescape(line.point)),
        root: unescape(line.root),
    })
}

/// `/..`, `/../..`: a cgroup above the root of the reader's namespace.
fn is_above(root: &str) -> bool {
    root.strip_prefix('/')
        .is_some_and(|root| root.split('/').all(|component| component == ".."))
}

struct MountLine<'a> {
    root: &'a str,
    point: &'a str,
    fstype: &'a str,
    options: &'a str,
}

impl<'a> MountLine<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let mut right = right.split(' ');
        Some(Self {
            root: left.next()?,
            point: left.next()?,
            fstype: right.next()?,
            options: right.nth(1)?,
        })
    }

    fn has(&self, controller: Controller) -> bool {
        let mut options = self.options.split(',');
        self.fstype == "cgroup" && options.any(|option| option == controller.name())
    }
}

/// Blanks, tabs, newlines and backslashes are written as `\040` and so on.
pub(super) fn unescape(text: &str) -> String {
    let mut unescaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        unescaped.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4);
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) if byte.is_ascii() => {
                unescaped.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            _ => {
                unescaped.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    unescaped + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(point: &str, root: &str) -> Mount {
        Mount {
            point: point.into(),
            root: root.into(),
        }
    }

    #[test]
    fn hierarchies_are_found_among_others() {
        let mountinfo = "\
22 1 0:20 / /proc rw - proc proc rw
31 22 0:27 / /sys/fs/cgroup/memory rw,nosuid shared:10 - cgroup cgroup rw,memory
32 22 0:28 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,xattr,name=systemd
33 22 0:29 / /sys/fs/cgroup/pids\\040and\\134rdma rw,nosuid - cgroup cgroup rw,pids,rdma
30 22 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
";
        assert_eq!(
            Hierarchies::parse(mountinfo),
            Hierarchies {
                unified: Some(mount("/sys/fs/cgroup/unified", "/")),
                v1: Some((
                    Controller::Pids,
                    mount("/sys/fs/cgroup/pids and\\rdma", "/")
                )),
            }
        );
        let none = Hierarchies::parse("22 1 0:20 / /proc rw - proc proc rw\n\nx - y\n");
        assert_eq!(none, Hierarchies::default());
    }

    #[test]
    fn a_mount_of_all_goes_before_one_of_a_part() {
        let mountinfo = "\
40 1 0:26 /docker/x /mnt rw - cgroup2 cgroup rw
41 1 0:26 / /host/cgroup rw - cgroup2 cgroup rw
";
        let found = Hierarchies::parse(mountinfo);
        assert_eq!(found.unified, Some(mount("/host/cgroup", "/")));
        // The host's hierarchy, mounted in a container.
        let more = "42 1 0:26 /../../.. /host/all rw - cgroup2 cgroup rw\n";
        let found = Hierarchies::parse(&format!("{mountinfo}{more}"));
        assert_eq!(found.unified, Some(mount("/host/all", "/../../..")));
    }

    #[test]
    fn paths_begin_at_the_root_of_the_hierarchy_as_far_as_it_is_known() {
        for (point, root, directory, path) in [
            ("/c", "/", "/c/a/b", Some("/a/b")),
            ("/c", "/", "/c", Some("/")),
            ("/c", "/docker/x", "/c/a", Some("/docker/x/a")),
            ("/c", "/docker/x", "/c", Some("/docker/x")),
            ("/c", "/../..", "/c/a", Some("/a")),
            ("/c", "/../..", "/c", Some("/")),
            ("/c", "/..x", "/c/a", Some("/..x/a")),
            ("/c", "/", "/d/a", None),
            ("/c", "/", "/cc/a", None),
        ] {
            let found = mount(point, root).path_of(Path::new(directory));
            assert_eq!(found.as_deref(), path, "{root} {directory}");
        }
    }
}
