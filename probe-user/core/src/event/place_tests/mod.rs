mod runtimes;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OUTER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const UID: &str = "3f1b2c4d-0a1b-4c2d-8e3f-001122334455";
/// Id of a pod that a file on the node defines.
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

/// Path, container, pod, unit: they contain the constants above.
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
        // Values used in labels and file names contain no unusual characters.
        for name in [place.container_id, place.pod_uid].into_iter().flatten() {
            proptest::prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte)));
        }
    }
}
