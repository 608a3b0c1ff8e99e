//! What a cgroup's path says about container, pod and systemd unit.

/// Where a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The cgroup's path, from the root of the hierarchy.
    pub path: String,
    /// Id of the innermost container.
    pub container_id: Option<String>,
    /// UID of the Kubernetes pod, with dashes.
    pub pod_uid: Option<String>,
    /// Innermost systemd service or scope.
    pub unit: Option<String>,
}

impl Place {
    /// Reads what is known from a path, as these name cgroups: Docker, containerd, CRI-O and Podman with
    /// either cgroup driver, and the kubelet.
    pub fn from_path(path: String) -> Self {
        let last = |find: fn(&str) -> Option<String>| path.rsplit('/').find_map(find);
        Self {
            container_id: last(container_id),
            pod_uid: last(pod_uid),
            unit: last(unit),
            path,
        }
    }
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

/// `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`, `...:cri-containerd:ID`
/// or the bare ID, each of 64 hexadecimal digits.
fn container_id(component: &str) -> Option<String> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let (runtime, id) = match name.rfind(['-', ':']) {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => ("", name),
    };
    // The container's monitor runs beside it, not in it.
    let is_monitor = runtime.ends_with("conmon");
    (id.len() == 64 && is_hex(id) && !is_monitor).then(|| id.to_owned())
}

/// `podUID`, `kubepods-burstable-podUID.slice`; the UID with dashes or underscores, or the 32 digits of a
/// static pod.
fn pod_uid(component: &str) -> Option<String> {
    // Some runtimes append their own part: `kubepods-podUID.slice:cri-containerd:ID`.
    let slice = component.split(':').next()?;
    let name = slice.strip_suffix(".slice").unwrap_or(slice);
    let at = name.rfind("pod")?;
    if !(at == 0 || name[..at].ends_with('-')) {
        return None;
    }
    let uid = name[at + 3..].replace('_', "-");
    let is_uid = match uid.len() {
        32 => is_hex(&uid),
        36 => uid.char_indices().all(|(index, char)| match index {
            8 | 13 | 18 | 23 => char == '-',
            _ => char.is_ascii_hexdigit(),
        }),
        _ => false,
    };
    is_uid.then_some(uid)
}

fn unit(component: &str) -> Option<String> {
    (component.ends_with(".service") || component.ends_with(".scope")).then(|| component.to_owned())
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
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
