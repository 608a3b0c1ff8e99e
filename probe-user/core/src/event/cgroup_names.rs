//! Parses the names of cgroup directories: which container, pod or unit they belong to.
//!
//! Names are not verified: anyone who may create cgroups can choose their names.

use std::borrow::Cow;

/// Number of digits of the ids of Docker, containerd, CRI-O and Podman.
pub const CONTAINER_ID_DIGITS: usize = 64;
/// Maximum length of a container name of LXC or systemd-nspawn (HOST_NAME_MAX).
const MAX_MACHINE_NAME: usize = 64;

/// The container whose cgroup is the component at `index`: an id, or a name if containers have no other id.
pub fn container<'a>(components: &[&'a str], index: usize) -> Option<Cow<'a, str>> {
    let component = *components.get(index)?;
    let parent = index.checked_sub(1).map(|index| components[index]);
    let child = components.get(index + 1).copied();
    id(component, parent)
        .or_else(|| lxc_name(component, parent))
        .map(Cow::Borrowed)
        .or_else(|| machine_name(component, child).map(Cow::Owned))
}

/// `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID`, `libpod-payload-ID`, `...:cri-containerd:ID`
/// or the bare id, of 64 hexadecimal digits.
fn id<'a>(component: &'a str, parent: Option<&str>) -> Option<&'a str> {
    // Not `ID.service`, which runs Podman's health checks, nor a mount of a container's layers.
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let (runtime, id) = match name.rfind(['-', ':']) {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => ("", name),
    };
    // The container's monitor runs beside it, not inside.
    let is_monitor = runtime.ends_with("conmon");
    // Podman keeps its pods there.
    let is_pod = runtime.is_empty() && parent == Some("libpod_parent");
    (id.len() == CONTAINER_ID_DIGITS && is_hex(id) && !is_monitor && !is_pod).then_some(id)
}

/// `lxc.payload.NAME`, and before LXC 4 `lxc/NAME`.
fn lxc_name<'a>(component: &'a str, parent: Option<&str>) -> Option<&'a str> {
    let name = match component.strip_prefix("lxc.payload.") {
        Some(name) => name,
        None if parent == Some("lxc") => component,
        None => return None,
    };
    is_machine_name(name).then_some(name)
}

/// `machine-NAME.scope` and `systemd-nspawn@NAME.service`, except for their own process in `supervisor`.
fn machine_name(component: &str, child: Option<&str>) -> Option<String> {
    let escaped = match component.strip_suffix(".scope") {
        Some(scope) => scope.strip_prefix("machine-")?,
        None => component
            .strip_prefix("systemd-nspawn@")?
            .strip_suffix(".service")?,
    };
    let name = unescape(escaped)?;
    // libvirt registers virtual machines in the same way. Inside is the emulator, a process of this host.
    let is_virtual = name.starts_with("qemu-");
    (is_machine_name(&name) && !is_virtual && child != Some("supervisor")).then_some(name)
}

fn is_machine_name(name: &str) -> bool {
    let is_of_it =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+');
    name.len() <= MAX_MACHINE_NAME
        && name.bytes().all(is_of_it)
        && name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric())
}

/// Reverts systemd's escaping in a unit's name: `-` was a slash, `\x2d` a dash.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        if char == '\\' {
            let digits = rest.strip_prefix("\\x")?.get(..2)?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[4..];
            continue;
        }
        match char {
            '-' => bytes.push(b'/'),
            _ => bytes.extend(char.encode_utf8(&mut [0; 4]).bytes()),
        }
        rest = &rest[char.len_utf8()..];
    }
    String::from_utf8(bytes).ok()
}

/// The pod of `podUID` and `kubepods-burstable-podUID.slice`: its UID with dashes or underscores, or the 32 digits of a
/// static pod. The result has dashes.
pub fn pod_uid(component: &str) -> Option<String> {
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
            _ => is_hex_digit(char),
        }),
        _ => false,
    };
    is_uid.then_some(uid)
}

/// The systemd unit, except slices, as systemd writes it, including escapes.
pub fn unit(component: &str) -> Option<&str> {
    const KINDS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];
    any_unit(component).filter(|unit| KINDS.iter().any(|kind| unit.ends_with(kind)))
}

/// The systemd unit, which may be a slice.
pub fn any_unit(component: &str) -> Option<&str> {
    const KINDS: [&str; 6] = [".service", ".scope", ".socket", ".mount", ".swap", ".slice"];
    // systemd prefixes names that the kernel uses itself with an underscore.
    let name = component.strip_prefix('_').unwrap_or(component);
    let stem = KINDS.iter().find_map(|kind| name.strip_suffix(kind))?;
    let is_of_it = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'.' | b'\\' | b'@')
    };
    (!stem.is_empty() && stem.bytes().all(is_of_it)).then_some(name)
}

fn is_hex(text: &str) -> bool {
    text.chars().all(is_hex_digit)
}

/// A digit as runtimes write it: lower case.
pub fn is_hex_digit(char: char) -> bool {
    matches!(char, '0'..='9' | 'a'..='f')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unescaped_as_systemd_escaped_them() {
        for (escaped, name) in [
            ("db1", Some("db1")),
            (r"my\x2ddb", Some("my-db")),
            ("a-b", Some("a/b")),
            (r"\xc3\xa9", Some("é")),
            ("é", Some("é")),
            (r"\xff", None),
            (r"\x2", None),
            (r"\xé9", None),
            (r"\n", None),
            (r"a\", None),
        ] {
            assert_eq!(unescape(escaped).as_deref(), name, "{escaped}");
        }
    }

    #[test]
    fn units_have_a_kind_and_no_odd_characters() {
        for (component, expected) in [
            ("nginx.service", Some("nginx.service")),
            ("getty@tty1.service", Some("getty@tty1.service")),
            (r"a\x2db@c\x2dd.service", Some(r"a\x2db@c\x2dd.service")),
            ("session-3.scope", Some("session-3.scope")),
            ("cups.socket", Some("cups.socket")),
            // Escaped, as the kernel has files of its own with such names.
            ("_cpu.service", Some("cpu.service")),
            ("__x.service", Some("_x.service")),
            (".service", None),
            ("a b.service", None),
            ("a\x1b[31m.service", None),
            ("é.service", None),
            ("user.slice", None),
            ("nginx.service.d", None),
        ] {
            assert_eq!(unit(component), expected, "{component}");
        }
        assert_eq!(any_unit("user-1000.slice"), Some("user-1000.slice"));
    }
}
