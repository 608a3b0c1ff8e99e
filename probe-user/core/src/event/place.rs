//! Derives container, pod and systemd unit from a cgroup's path.

use std::borrow::Cow;

use super::cgroup_names as names;
pub use names::CONTAINER_ID_DIGITS;

/// Where a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The cgroup's path, from the root of the hierarchy.
    pub path: String,
    /// Id of the innermost container; its name if it has no other id (LXC, systemd-nspawn).
    pub container_id: Option<String>,
    /// UID of the Kubernetes pod, with dashes.
    pub pod_uid: Option<String>,
    /// Innermost systemd service or scope, as systemd writes it.
    pub unit: Option<String>,
}

impl Place {
    /// Parses a path, with the cgroup names of Docker, containerd, CRI-O and Podman with either cgroup driver, the
    /// kubelet, LXC, systemd-nspawn, and systemd.
    pub fn from_path(path: String) -> Self {
        let container_id = containers(&path).next();
        let pod_uid = pods(&path).next();
        let unit = components(&path).rev().find_map(names::unit);
        Self {
            container_id,
            pod_uid,
            unit: unit.map(str::to_owned),
            path,
        }
    }

    /// Returns the other place if that is more specific.
    pub fn or_if_it_says_more(self, other: Self) -> Self {
        if other.weight() > self.weight() {
            other
        } else {
            self
        }
    }

    fn weight(&self) -> [bool; 4] {
        [
            self.container_id.is_some(),
            self.pod_uid.is_some(),
            self.unit.is_some(),
            self.path != "/",
        ]
    }
}

/// The containers on a path, the innermost first.
pub fn containers(path: &str) -> impl Iterator<Item = String> {
    let components: Vec<&str> = components(path).collect();
    (0..components.len())
        .rev()
        .filter_map(move |index| names::container(&components, index).map(Cow::into_owned))
}

/// The pods on a path, the innermost first.
pub fn pods(path: &str) -> impl Iterator<Item = String> {
    components(path).rev().filter_map(names::pod_uid)
}

/// The systemd units on a path, including slices, the innermost first.
pub fn units(path: &str) -> impl Iterator<Item = &str> {
    components(path).rev().filter_map(names::any_unit)
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|component| !component.is_empty())
}

#[cfg(test)]
#[path = "place_tests/mod.rs"]
mod tests;
