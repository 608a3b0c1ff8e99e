//! Owners of series: processes by name and place, not by id, of which there would be ever new ones.

use twtrace_wire::Unattributed;

use crate::event::Process;
use crate::event::comm::is_unsafe;

/// Text is in its displayed form, so that two that look the same are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// Processes of one name in one place.
    Process {
        /// The group leader's comm.
        name: Box<str>,
        /// Id of the container.
        container_id: Option<Box<str>>,
        /// UID of the Kubernetes pod.
        pod_uid: Option<Box<str>>,
        /// The systemd unit, outside of containers: each of these has a unit of its own, with its id.
        unit: Option<Box<str>>,
    },
    /// There is no process, for this reason.
    Nobody(Unattributed),
}

impl Owner {
    /// The owner of a process.
    pub fn of(process: &Process) -> Self {
        let details = process.details.as_deref();
        let place = details.and_then(|details| details.cgroup.as_ref());
        let text = |text: &Option<String>| text.as_deref().map(printable);
        let container_id = place.and_then(|place| text(&place.container_id));
        Self::Process {
            name: printable(&process.comm.text()),
            pod_uid: place.and_then(|place| text(&place.pod_uid)),
            unit: place
                .filter(|_| container_id.is_none())
                .and_then(|place| text(&place.unit)),
            container_id,
        }
    }
}

/// Replaces what controls a terminal or is invisible by U+FFFD.
pub fn printable(text: &str) -> Box<str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into();
    }
    let chars = text.chars().map(|char| {
        if is_unsafe(char) {
            char::REPLACEMENT_CHARACTER
        } else {
            char
        }
    });
    chars.collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::place::Place;
    use crate::event::process::ProcessDetails;
    use crate::event::samples;

    #[test]
    fn processes_of_one_name_in_one_place_are_one() {
        let mut process = samples::process(1, "a\x1b[31m");
        let mut twin = samples::process(2, "a\u{7f}[31m");
        assert_eq!(Owner::of(&process), Owner::of(&twin));
        let of = |path: &str| {
            Some(Arc::new(ProcessDetails {
                cgroup: Some(Place::from_path(path.to_owned())),
                ..ProcessDetails::default()
            }))
        };
        process.details = of("/system.slice/a.service");
        twin.details = of("/system.slice/b.service");
        assert_ne!(Owner::of(&process), Owner::of(&twin));
        let id = "0123456789abcdef".repeat(4);
        twin.details = of(&format!("/system.slice/docker-{id}.scope"));
        let Owner::Process {
            name,
            container_id,
            unit,
            ..
        } = Owner::of(&twin)
        else {
            panic!("it is a process");
        };
        assert_eq!(&*name, "a\u{fffd}[31m");
        assert_eq!((container_id.as_deref(), unit), (Some(&*id), None));
    }
}
