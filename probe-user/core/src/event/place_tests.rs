use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OUTER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const UID: &str = "3f1b2c4d-0a1b-4c2d-8e3f-001122334455";
/// Of a pod that a file on the node defines.
const HASH: &str = "0123456789abcdef0123456789abcdef";

fn place(path: &str) -> Place {
    let path = path
        .replace("{ID}", ID)
        .replace("{OUTER}", OUTER)
        .replace("{UID}", UID)
        .replace("{UID_}", &UID.replace('-', "_"))
        .replace("{HASH}", HASH);
    let place = Place::from_path(path.clone());
    assert_eq!(place.path, path);
    place
}

/// Path, container, pod, unit: the constants above stand in all of them.
type Case = (
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    Option<&'static str>,
);

fn all_are(cases: &[Case]) {
    for (path, container, pod, unit) in cases {
        let found = place(path);
        let unit = unit.map(|unit| unit.replace("{ID}", ID));
        assert_eq!(found.container_id.as_deref(), *container, "{path}");
        assert_eq!(found.pod_uid.as_deref(), *pod, "{path}");
        assert_eq!(found.unit, unit, "{path}");
    }
}

#[test]
fn docker() {
    all_are(&[
        // Driver cgroupfs, then systemd.
        ("/docker/{ID}", Some(ID), None, None),
        (
            "/system.slice/docker-{ID}.scope",
            Some(ID),
            None,
            Some("docker-{ID}.scope"),
        ),
        // systemd in the container.
        (
            "/system.slice/docker-{ID}.scope/system.slice/nginx.service",
            Some(ID),
            None,
            Some("nginx.service"),
        ),
        (
            "/docker/{ID}/init.scope",
            Some(ID),
            None,
            Some("init.scope"),
        ),
        // --cgroup-parent
        ("/builds/7/{ID}", Some(ID), None, None),
        // Docker in Docker.
        ("/docker/{OUTER}/docker/{ID}", Some(ID), None, None),
        (
            "/system.slice/docker-{OUTER}.scope/docker/{ID}",
            Some(ID),
            None,
            Some("docker-fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210.scope"),
        ),
        // Rootless.
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope",
            Some(ID),
            None,
            Some("docker-{ID}.scope"),
        ),
        // The daemon and its shims.
        (
            "/system.slice/docker.service",
            None,
            None,
            Some("docker.service"),
        ),
        // A path for systemd that went to a driver that makes directories.
        ("/system.slice:docker:{ID}", Some(ID), None, None),
    ]);
}

#[test]
fn containerd() {
    all_are(&[
        ("/default/{ID}", Some(ID), None, None),
        ("/k8s.io/{ID}", Some(ID), None, None),
        (
            "/system.slice/nerdctl-{ID}.scope",
            Some(ID),
            None,
            Some("nerdctl-{ID}.scope"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-{ID}.scope",
            Some(ID),
            None,
            Some("nerdctl-{ID}.scope"),
        ),
        (
            "/system.slice/containerd.service",
            None,
            None,
            Some("containerd.service"),
        ),
    ]);
}

#[test]
fn kubernetes() {
    all_are(&[
        // containerd, systemd driver; the three classes of service.
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/cri-containerd-{ID}.scope",
            Some(ID),
            Some(UID),
            Some("cri-containerd-{ID}.scope"),
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
            Some(ID),
            Some(UID),
            Some("cri-containerd-{ID}.scope"),
        ),
        (
            "/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope",
            Some(ID),
            Some(UID),
            Some("cri-containerd-{ID}.scope"),
        ),
        // Driver cgroupfs.
        (
            "/kubepods/burstable/pod{UID}/{ID}",
            Some(ID),
            Some(UID),
            None,
        ),
        ("/kubepods/pod{UID}/{ID}", Some(ID), Some(UID), None),
        ("/kubepods/burstable/pod{UID}", None, Some(UID), None),
        // CRI-O, its monitor, and driver cgroupfs.
        (
            "/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope",
            Some(ID),
            Some(UID),
            Some("crio-{ID}.scope"),
        ),
        (
            "/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope/container",
            Some(ID),
            Some(UID),
            Some("crio-{ID}.scope"),
        ),
        (
            "/kubepods.slice/kubepods-pod{UID_}.slice/crio-conmon-{ID}.scope",
            None,
            Some(UID),
            Some("crio-conmon-{ID}.scope"),
        ),
        (
            "/kubepods/burstable/pod{UID}/crio-{ID}",
            Some(ID),
            Some(UID),
            None,
        ),
        (
            "/kubepods/burstable/pod{UID}/crio-conmon-{ID}",
            None,
            Some(UID),
            None,
        ),
        // Docker by way of cri-dockerd.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/docker-{ID}.scope",
            Some(ID),
            Some(UID),
            Some("docker-{ID}.scope"),
        ),
        // The kubelet has the systemd driver, containerd has not.
        (
            "/system.slice/containerd.service/kubepods-burstable-pod{UID_}.slice:cri-containerd:{ID}",
            Some(ID),
            Some(UID),
            Some("containerd.service"),
        ),
        (
            "/kubepods-burstable-pod{UID_}.slice:cri-containerd:{ID}",
            Some(ID),
            Some(UID),
            None,
        ),
        // k3s
        (
            "/system.slice/k3s.service/kubepods/burstable/pod{UID}/{ID}",
            Some(ID),
            Some(UID),
            Some("k3s.service"),
        ),
        // kind: a node that is a container.
        (
            "/docker/{OUTER}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
            Some(ID),
            Some(UID),
            Some("cri-containerd-{ID}.scope"),
        ),
        (
            "/system.slice/docker-{OUTER}.scope/kubelet/kubepods/besteffort/pod{UID}/{ID}",
            Some(ID),
            Some(UID),
            Some("docker-fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210.scope"),
        ),
        // Pods of files on the node.
        (
            "/kubepods/burstable/pod{HASH}/{ID}",
            Some(ID),
            Some(HASH),
            None,
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{HASH}.slice/crio-{ID}.scope",
            Some(ID),
            Some(HASH),
            Some("crio-{ID}.scope"),
        ),
        // ECS
        ("/ecs/{HASH}/{ID}", Some(ID), None, None),
        (
            "/ecstasks.slice/ecstasks-{HASH}.slice/docker-{ID}.scope",
            Some(ID),
            None,
            Some("docker-{ID}.scope"),
        ),
    ]);
}

#[test]
fn podman() {
    all_are(&[
        (
            "/machine.slice/libpod-{ID}.scope",
            Some(ID),
            None,
            Some("libpod-{ID}.scope"),
        ),
        (
            "/machine.slice/libpod-{ID}.scope/container",
            Some(ID),
            None,
            Some("libpod-{ID}.scope"),
        ),
        (
            "/machine.slice/libpod-conmon-{ID}.scope",
            None,
            None,
            Some("libpod-conmon-{ID}.scope"),
        ),
        (
            "/machine.slice/machine-libpod_pod_{OUTER}.slice/libpod-{ID}.scope",
            Some(ID),
            None,
            Some("libpod-{ID}.scope"),
        ),
        // Driver cgroupfs, also in a pod; conmon runs beside.
        ("/libpod_parent/libpod-{ID}", Some(ID), None, None),
        ("/libpod_parent/{OUTER}/libpod-{ID}", Some(ID), None, None),
        ("/libpod_parent/{OUTER}/conmon", None, None, None),
        ("/libpod_parent/conmon", None, None, None),
        // Quadlet, of the system and of a user.
        (
            "/system.slice/web.service/libpod-payload-{ID}",
            Some(ID),
            None,
            Some("web.service"),
        ),
        (
            "/system.slice/web.service/runtime",
            None,
            None,
            Some("web.service"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service/libpod-payload-{ID}",
            Some(ID),
            None,
            Some("web.service"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
            Some(ID),
            None,
            Some("libpod-{ID}.scope"),
        ),
        // `podman healthcheck run ID` itself runs on the host.
        (
            "/system.slice/{ID}.service",
            None,
            None,
            Some("{ID}.service"),
        ),
        (
            "/system.slice/{ID}-54d2a8f61e0c.service",
            None,
            None,
            Some("{ID}-54d2a8f61e0c.service"),
        ),
    ]);
}

#[test]
fn machines() {
    all_are(&[
        (
            "/machine.slice/systemd-nspawn@web1.service/payload/system.slice/nginx.service",
            Some("web1"),
            None,
            Some("nginx.service"),
        ),
        (
            "/machine.slice/systemd-nspawn@web1.service/supervisor",
            None,
            None,
            Some("systemd-nspawn@web1.service"),
        ),
        (
            "/machine.slice/machine-my\\x2dweb.scope/payload",
            Some("my-web"),
            None,
            Some("machine-my\\x2dweb.scope"),
        ),
        // A virtual machine's emulator is no container.
        (
            "/machine.slice/machine-qemu\\x2d1\\x2dubuntu.scope/libvirt/emulator",
            None,
            None,
            Some("machine-qemu\\x2d1\\x2dubuntu.scope"),
        ),
        ("/lxc.payload.web-1", Some("web-1"), None, None),
        (
            "/lxc.payload.web-1/system.slice/nginx.service",
            Some("web-1"),
            None,
            Some("nginx.service"),
        ),
        ("/lxc.monitor.web-1", None, None, None),
        ("/lxc/web-1", Some("web-1"), None, None),
        // Proxmox
        (
            "/lxc/101/ns/init.scope",
            Some("101"),
            None,
            Some("init.scope"),
        ),
        ("/lxc.monitor/101", None, None, None),
        ("/lxc", None, None, None),
        // Docker in LXC.
        ("/lxc.payload.web-1/docker/{ID}", Some(ID), None, None),
    ]);
}

#[test]
fn systemd() {
    all_are(&[
        (
            "/system.slice/nginx.service",
            None,
            None,
            Some("nginx.service"),
        ),
        (
            "/system.slice/system-getty.slice/getty@tty1.service",
            None,
            None,
            Some("getty@tty1.service"),
        ),
        (
            "/system.slice/system-my\\x2dapp.slice/my\\x2dapp@a\\x2db.service",
            None,
            None,
            Some("my\\x2dapp@a\\x2db.service"),
        ),
        ("/init.scope", None, None, Some("init.scope")),
        (
            "/user.slice/user-1000.slice/session-3.scope",
            None,
            None,
            Some("session-3.scope"),
        ),
        // The innermost one.
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service",
            None,
            None,
            Some("foo.service"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.example.App@12.service/sub",
            None,
            None,
            Some("app-org.example.App@12.service"),
        ),
        ("/user.slice", None, None, None),
        ("/", None, None, None),
        ("", None, None, None),
    ]);
}

#[test]
fn what_only_looks_like_an_id_is_none() {
    all_are(&[
        // A digit short, one too many, capitals, no digits.
        (
            "/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde",
            None,
            None,
            None,
        ),
        ("/docker/{ID}0", None, None, None),
        (
            "/docker/0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
            None,
            None,
            None,
        ),
        (
            "/docker/zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
            None,
            None,
            None,
        ),
        ("/docker/web", None, None, None),
        // Layers of a container.
        (
            "/system.slice/var-lib-docker-overlay2-{ID}-merged.mount",
            None,
            None,
            Some("var-lib-docker-overlay2-{ID}-merged.mount"),
        ),
        ("/user.slice/podcast-{UID}", None, None, None),
        ("/user.slice/pod", None, None, None),
        (
            "/user.slice/pod3f1b2c4d-0a1b-4c2d-8e3f_00112233445",
            None,
            None,
            None,
        ),
        ("/user.slice/tripod{UID}", None, None, None),
        ("/x.service\n/docker", None, None, None),
        ("/lxc.payload.", None, None, None),
        ("/lxc.payload.\x1b[31m", None, None, None),
        ("/lxc.payload.a b", None, None, None),
        ("/lxc.payload.\"}x", None, None, None),
        ("/lxc.payload.-a", None, None, None),
        (
            "/machine-a\\x0ab.scope",
            None,
            None,
            Some("machine-a\\x0ab.scope"),
        ),
        ("/machine-.scope", None, None, Some("machine-.scope")),
        ("/a\x1b[2J.service", None, None, None),
    ]);
}

#[test]
fn all_of_nested_ones_are_there_the_innermost_first() {
    let path = format!("/docker/{OUTER}/a.slice/b.service/lxc.payload.c/d.scope/docker-{ID}.scope");
    assert_eq!(containers(&path).collect::<Vec<_>>(), [ID, "c", OUTER]);
    let scope = format!("docker-{ID}.scope");
    assert_eq!(
        units(&path).collect::<Vec<_>>(),
        [&scope, "d.scope", "b.service", "a.slice"]
    );
}

proptest::proptest! {
    #[test]
    fn any_path_is_read_without_a_panic(path in "\\PC*") {
        let _ = Place::from_path(path);
    }

    #[test]
    fn hostile_components_are_read_without_a_panic(
        path in "(/|pod|-|:|_|\\\\|x2d|lxc|machine-|\\.payload\\.|\\.slice|\\.scope|é|[0-9a-f]{8,64}){0,12}",
    ) {
        let place = Place::from_path(path);
        // What goes into labels and file names of others has no odd characters.
        for name in [place.container_id, place.pod_uid].into_iter().flatten() {
            proptest::prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte)));
        }
    }
}
