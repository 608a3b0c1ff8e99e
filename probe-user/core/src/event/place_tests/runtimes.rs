//! Containers of Docker, containerd, Kubernetes and Podman.

use super::*;

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
        // A systemd path with a driver that creates directories.
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
