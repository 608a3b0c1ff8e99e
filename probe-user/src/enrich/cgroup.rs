//! What a cgroup's path says about container, pod and systemd unit.

use std::borrow::Cow;

use super::cgroup_names as names;
pub use names::CONTAINER_ID_DIGITS;

/// Where a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The cgroup's path, from the root of the hierarchy.
    pub path: String,
    /// Id of the innermost container; its name where it has no other id (LXC, systemd-nspawn).
    pub container_id: Option<String>,
    /// UID of the Kubernetes pod, with dashes.
    pub pod_uid: Option<String>,
    /// Innermost systemd service or scope, as systemd writes it.
    pub unit: Option<String>,
}

impl Place {
    /// Reads what is known from a path, as these name cgroups: Docker, containerd, CRI-O and Podman with
    /// either cgroup driver, the kubelet, LXC, systemd-nspawn, and systemd.
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
}

/// The containers that a path leads into, the innermost first.
pub fn containers(path: &str) -> impl Iterator<Item = String> {
    let components: Vec<&str> = components(path).collect();
    (0..components.len())
        .rev()
        .filter_map(move |index| names::container(&components, index).map(Cow::into_owned))
}

/// The pods that a path leads into, the innermost first.
pub fn pods(path: &str) -> impl Iterator<Item = String> {
    components(path).rev().filter_map(names::pod_uid)
}

/// The systemd units that a path leads into, slices too, the innermost first.
pub fn units(path: &str) -> impl Iterator<Item = &str> {
    components(path).rev().filter_map(names::any_unit)
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|component| !component.is_empty())
}

/// The line of /proc/PID/cgroup to go by: the v2 hierarchy, unless the process sits at its root while a v1
/// hierarchy says more (hybrid hosts).
pub fn choose_path(text: &str) -> Option<String> {
    let lines = || {
        text.lines().filter_map(|line| {
            let (_id, rest) = line.split_once(':')?;
            rest.split_once(':')
        })
    };
    let of = |controller: &str| {
        lines()
            .find(|(controllers, _)| controllers.split(',').any(|name| name == controller))
            .map(|(_, path)| path)
    };
    [of(""), of("name=systemd"), of("memory"), of("pids")]
        .into_iter()
        .flatten()
        .find(|path| *path != "/")
        .or_else(|| lines().next().map(|_| "/"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "3f1b2c4d-0a1b-4c2d-8e3f-001122334455";

    fn place(path: &str) -> (Option<String>, Option<String>, Option<String>) {
        let path = path
            .replace("{ID}", ID)
            .replace("{UID}", UID)
            .replace("{UID_}", &UID.replace('-', "_"));
        let place = Place::from_path(path.clone());
        assert_eq!(place.path, path);
        (place.container_id, place.pod_uid, place.unit)
    }

    #[test]
    fn each_runtime_and_driver() {
        let container = Some(ID.to_owned());
        let pod = Some(UID.to_owned());
        let cases = [
            ("/docker/{ID}", true, false),
            ("/system.slice/docker-{ID}.scope", true, false),
            ("/system.slice/docker-{ID}.scope/init.scope", true, false),
            ("/kubepods/burstable/pod{UID}/{ID}", true, true),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/cri-containerd-{ID}.scope",
                true,
                true,
            ),
            (
                "/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope",
                true,
                true,
            ),
            (
                "/kubepods.slice/kubepods-pod{UID_}.slice/crio-conmon-{ID}.scope",
                false,
                true,
            ),
            (
                "/system.slice/containerd.service/kubepods-burstable-pod{UID_}.slice:cri-containerd:{ID}",
                true,
                true,
            ),
            ("/machine.slice/libpod-{ID}.scope/container", true, false),
            ("/machine.slice/libpod-conmon-{ID}.scope", false, false),
            ("/libpod_parent/libpod-{ID}", true, false),
            ("/ecs/task/{ID}", true, false),
            ("/../../docker/{ID}", true, false),
            ("/user.slice/podcast-{UID}", false, false),
            ("/", false, false),
        ];
        for (path, has_container, has_pod) in cases {
            let (container_id, pod_uid, _) = place(path);
            assert_eq!(
                container_id,
                has_container.then(|| container.clone()).flatten(),
                "{path}"
            );
            assert_eq!(pod_uid, has_pod.then(|| pod.clone()).flatten(), "{path}");
        }
    }

    #[test]
    fn the_innermost_unit_and_container() {
        assert_eq!(
            place("/system.slice/nginx.service").2.as_deref(),
            Some("nginx.service")
        );
        assert_eq!(
            place("/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope")
                .2
                .as_deref(),
            Some("run-1.scope")
        );
        let inner = ID.replace('0', "f");
        assert_eq!(
            place(&format!("/docker/{{ID}}/docker/{inner}")).0,
            Some(inner)
        );
    }

    #[test]
    fn static_pods_have_a_hash_for_a_uid() {
        let hash = &ID[..32];
        assert_eq!(
            place(&format!("/kubepods/burstable/pod{hash}/{{ID}}")).1,
            Some(hash.to_owned())
        );
    }

    #[test]
    fn the_v2_line_is_taken_unless_v1_says_more() {
        assert_eq!(
            choose_path("0::/system.slice/a.service\n").as_deref(),
            Some("/system.slice/a.service")
        );
        assert_eq!(
            choose_path("4:memory:/docker/x\n1:name=systemd:/y\n0::/\n").as_deref(),
            Some("/y")
        );
        assert_eq!(
            choose_path("4:cpu,memory:/docker/x\n1:name=systemd:/\n0::/\n").as_deref(),
            Some("/docker/x")
        );
        assert_eq!(choose_path("0::/\n").as_deref(), Some("/"));
        assert_eq!(choose_path("0::/a:b\n").as_deref(), Some("/a:b"));
        assert_eq!(choose_path(""), None);
    }

    proptest::proptest! {
        #[test]
        fn any_path_is_read_without_a_panic(path in "\\PC*", text in "\\PC*") {
            let _ = Place::from_path(path);
            let _ = choose_path(&text);
        }

        #[test]
        fn hostile_components_are_read_without_a_panic(
            path in "(/|pod|-|:|_|\\.slice|\\.scope|é|[0-9a-f]{8,64}){0,12}",
        ) {
            let _ = Place::from_path(path);
        }
    }
}
