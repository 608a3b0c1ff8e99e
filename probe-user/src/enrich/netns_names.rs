//! Names of network namespaces, for users, to whom inode numbers mean nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use twtrace_core::event::place::Place;
use twtrace_core::model::netns_name::{NamedAfter, NetnsName};

use super::{cgroup_lines, netns, procfs};

/// Where `ip netns` keeps its namespaces.
pub const NAMED: [&str; 2] = ["/run/netns", "/var/run/netns"];
/// The names of all namespaces that have one, by inode number.
pub fn find() -> Vec<NetnsName> {
    let mut mounts: BTreeMap<u32, Vec<PathBuf>> = BTreeMap::new();
    for (netns, path) in netns::mounted() {
        mounts.entry(netns).or_default().push(path);
    }
    let inhabited = netns::inhabited();
    let mut all: Vec<u32> = mounts.keys().chain(inhabited.keys()).copied().collect();
    all.sort_unstable();
    all.dedup();
    let host = netns::of_process(1);
    all.into_iter()
        .filter_map(|netns| {
            let paths = mounts.get(&netns).map_or(&[][..], Vec::as_slice);
            let place = || inhabited.get(&netns).and_then(|pids| place_of_oldest(pids));
            let (after, name) = name(host == Some(netns), paths, place)?;
            Some(NetnsName { netns, after, name })
        })
        .collect()
}

fn name(
    is_host: bool,
    paths: &[PathBuf],
    place: impl FnOnce() -> Option<Place>,
) -> Option<(NamedAfter, String)> {
    if is_host {
        return Some((NamedAfter::Host, "host".to_owned()));
    }
    if let Some(given) = paths.iter().find_map(|path| given_name(path)) {
        return Some((NamedAfter::IpNetns, given));
    }
    let place = place().unwrap_or_default();
    [
        (NamedAfter::Pod, place.pod_uid),
        (NamedAfter::Container, place.container_id),
        (NamedAfter::Unit, place.unit),
        (
            NamedAfter::Mount,
            paths
                .first()
                .map(|path| path.to_string_lossy().into_owned()),
        ),
    ]
    .into_iter()
    .find_map(|(after, name)| Some((after, name?)))
}

/// A name that somebody gave; not one that was generated for a container: `cni-UUID`, `netns-UUID`.
fn given_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let is_named = NAMED
        .iter()
        .any(|directory| path.parent() == Some(Path::new(directory)));
    let is_made_up = ["cni-", "netns-"].iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() == 36 && rest.bytes().all(is_of_uuid))
    });
    (is_named && !is_made_up).then(|| name.to_owned())
}

fn is_of_uuid(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b'-'
}

fn place_of_oldest(pids: &[u32]) -> Option<Place> {
    let oldest = pids
        .iter()
        .filter_map(|pid| Some((procfs::start_ticks(*pid)?, *pid)))
        .min()?;
    let text = fs::read(format!("/proc/{}/cgroup", oldest.1)).ok()?;
    cgroup_lines::choose(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "3f1b2c4d-0a1b-4c2d-8e3f-001122334455";

    fn named(paths: &[&str], cgroup: &str) -> Option<(NamedAfter, String)> {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        name(false, &paths, || Some(Place::from_path(cgroup.to_owned())))
    }

    #[test]
    fn a_name_that_was_given_goes_first() {
        let docker = format!("/docker/{ID}");
        let pod = format!("/kubepods/pod{UID}/{ID}");
        let cni = format!("/var/run/netns/cni-{UID}");
        for (paths, cgroup, after, expected) in [
            (
                &["/run/netns/blue"][..],
                docker.as_str(),
                NamedAfter::IpNetns,
                "blue",
            ),
            (
                &["/run/docker/netns/0a1b2c3d4e5f"],
                &docker,
                NamedAfter::Container,
                ID,
            ),
            (&[&cni], &pod, NamedAfter::Pod, UID),
            (&[&cni], "/", NamedAfter::Mount, &cni),
            (
                &["/run/netns/cni-mine"],
                "/",
                NamedAfter::IpNetns,
                "cni-mine",
            ),
            (
                &[],
                "/system.slice/a.service",
                NamedAfter::Unit,
                "a.service",
            ),
        ] {
            assert_eq!(
                named(paths, cgroup),
                Some((after, expected.to_owned())),
                "{paths:?} {cgroup}"
            );
        }
        assert_eq!(named(&[], "/"), None);
        let host = name(true, &[PathBuf::from("/run/netns/x")], || None);
        assert_eq!(host, Some((NamedAfter::Host, "host".to_owned())));
    }

    #[test]
    fn this_host_has_one_of_its_own() {
        let hosts: Vec<u32> = find()
            .into_iter()
            .filter(|name| name.after == NamedAfter::Host)
            .map(|name| name.netns)
            .collect();
        // Only root may read the namespaces of the first process.
        let expected: Vec<u32> = netns::of_process(1).into_iter().collect();
        assert_eq!(hosts, expected);
    }
}
