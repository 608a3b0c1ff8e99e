//! /proc/PID/cgroup: a process's cgroup in each hierarchy, and which of them to use.

use twtrace_core::event::place::Place;

/// The kernel appends this to the name of a removed cgroup while a process is still exiting.
const DELETED: &str = " (deleted)";

/// The most specific place: a container before a pod, a unit, and a bare path. Of several that are equally specific,
/// the one in the v2 hierarchy, then the ones in the v1 hierarchies that everything uses.
///
/// On a host with both, Docker's containers may be in v1 hierarchies only, while the v2 cgroup is the daemon's own.
pub fn choose(text: &[u8]) -> Option<Place> {
    choose_of(text, CgroupVersions::All)
}

/// Which hierarchies to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersions {
    All,
    V1,
    V2,
}

/// The same for some hierarchies only. The file shows where a process is now. If it is already known where the
/// process was in one hierarchy when something happened, that hierarchy's line must not be used: the process may have
/// been moved since. The v1 hierarchies count as one here, as a process is moved in all of them at once.
pub fn choose_of(text: &[u8], wanted: CgroupVersions) -> Option<Place> {
    let text = String::from_utf8_lossy(text);
    let is_wanted = |line: &CgroupLine<'_>| match wanted {
        CgroupVersions::All => true,
        CgroupVersions::V1 => !line.controllers.is_empty(),
        CgroupVersions::V2 => line.controllers.is_empty(),
    };
    let mut lines: Vec<CgroupLine<'_>> = text
        .lines()
        .filter_map(CgroupLine::parse)
        .filter(is_wanted)
        .collect();
    lines.sort_by_key(CgroupLine::rank);
    let places = lines.into_iter().map(|line| Place::from_path(line.path()));
    places.reduce(|best, other| best.or_if_it_says_more(other))
}

struct CgroupLine<'a> {
    /// Empty for v2.
    controllers: &'a str,
    path: &'a str,
}

impl<'a> CgroupLine<'a> {
    /// `0::/a.service`, `4:cpu,cpuacct:/docker/ID`, `1:name=systemd:/a.service`. A path may contain colons.
    fn parse(line: &'a str) -> Option<Self> {
        let (_id, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        path.starts_with('/').then_some(Self { controllers, path })
    }

    fn rank(&self) -> usize {
        const FIRST: [&str; 4] = ["", "name=systemd", "pids", "memory"];
        let has = |wanted: &&str| self.controllers.split(',').any(|name| name == *wanted);
        FIRST.iter().position(has).unwrap_or(FIRST.len())
    }

    /// From the root of the hierarchy, as far as it is visible: a path outside of the reader's cgroup namespace
    /// begins with one `/..` for each level up.
    fn path(&self) -> String {
        let mut path = match self.controllers {
            "" => self.path.strip_suffix(DELETED).unwrap_or(self.path),
            _ => self.path,
        };
        while let Some(rest) = path.strip_prefix("/..")
            && (rest.is_empty() || rest.starts_with('/'))
        {
            path = rest;
        }
        match path {
            "" => "/".to_owned(),
            path => path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn chosen(text: &str) -> Option<String> {
        choose(text.replace("{ID}", ID).as_bytes()).map(|place| place.path)
    }

    fn is(text: &str, path: &str) {
        assert_eq!(chosen(text), Some(path.replace("{ID}", ID)), "{text}");
    }

    #[test]
    fn on_v2_there_is_one() {
        is("0::/system.slice/a.service\n", "/system.slice/a.service");
        is("0::/\n", "/");
        is("0::/a:b\n", "/a:b");
        assert_eq!(chosen(""), None);
        assert_eq!(chosen("0::\nx\n0:/a"), None);
    }

    #[test]
    fn on_v1_all_say_the_same_or_some_say_nothing() {
        is(
            "4:memory:/docker/{ID}\n2:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}\n",
            "/docker/{ID}",
        );
        is("4:cpu,memory:/docker/x\n1:name=systemd:/\n", "/docker/x");
        is("9:rdma:/a\n4:memory:/b\n", "/b");
        is("9:rdma:/a\n4:memory:/\n", "/a");
    }

    #[test]
    fn where_there_are_both_the_one_that_says_more_is_taken() {
        // Docker without the systemd driver on a hybrid host: v2 has the shim's unit.
        is(
            "4:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/containerd.service\n",
            "/docker/{ID}",
        );
        // A unit without accounting.
        is(
            "4:memory:/\n1:name=systemd:/system.slice/a.service\n0::/system.slice/a.service\n",
            "/system.slice/a.service",
        );
        is("4:memory:/x\n1:name=systemd:/y\n0::/\n", "/y");
        is("4:memory:/x\n0::/a.service\n", "/a.service");
    }

    #[test]
    fn a_hierarchy_that_is_known_better_is_left_out() {
        let text = b"4:memory:/b.service\n1:name=systemd:/b.service\n0::/docker/a.scope\n";
        let chosen = |lines| choose_of(text, lines).map(|place| place.path);
        assert_eq!(chosen(CgroupVersions::V1).as_deref(), Some("/b.service"));
        assert_eq!(
            chosen(CgroupVersions::V2).as_deref(),
            Some("/docker/a.scope")
        );
        assert_eq!(choose_of(b"0::/a\n", CgroupVersions::V1), None);
    }

    #[test]
    fn what_is_outside_of_this_cgroup_namespace_goes_up_first() {
        is(
            "0::/../../system.slice/a.service\n",
            "/system.slice/a.service",
        );
        is(
            "0::/../cri-containerd-{ID}.scope\n",
            "/cri-containerd-{ID}.scope",
        );
        is("0::/../..\n", "/");
        is("0::/..x/a\n", "/..x/a");
    }

    #[test]
    fn a_cgroup_that_was_removed_has_its_name() {
        is("0::/docker/{ID} (deleted)\n", "/docker/{ID}");
        // Only in v2 does the kernel add it.
        is("1:pids:/docker/{ID} (deleted)\n", "/docker/{ID} (deleted)");
    }

    #[test]
    fn names_need_not_be_utf8() {
        let place = choose(b"0::/a\xff/b.service\n").unwrap();
        assert_eq!(place.path, "/a\u{fffd}/b.service");
        assert_eq!(place.unit.as_deref(), Some("b.service"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: Vec<u8>) {
            let _ = choose(&text);
        }
    }
}
