//! A process in events.

use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use twtrace_wire::{Process as WireProcess, ProcessKey, ProcessNames};

use super::comm::Comm;
use super::place::Place;
use super::timestamp::Timestamp;

/// Details of a process from /proc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessDetails {
    /// Its name when it was looked up; empty if it no longer existed.
    pub comm: Comm,
    /// When it started.
    pub start_time: Option<Timestamp>,
    /// Path of its executable, as the kernel shows it.
    pub exe: Option<String>,
    /// Where it runs.
    pub cgroup: Option<Place>,
}

/// A process at the time when it acted on the socket.
#[derive(Clone, Debug)]
pub struct Process {
    /// Identity, unique while the host is up. `tgid` is never 0.
    pub key: ProcessKey,
    /// Real user id, in the initial user namespace, if known.
    pub uid: Option<u32>,
    /// Id of its cgroup, as in the record, or 0.
    pub cgroup_id: u64,
    /// Number of exec() calls of it and its ancestors, which identifies its program, as in the record.
    pub execs: u32,
    /// The group leader's name; empty if it is not known.
    pub comm: Comm,
    /// The acting thread's name; empty if it is the leader or not known.
    pub thread_comm: Comm,
    /// Details from /proc; `None` before the lookup.
    pub details: Option<Arc<ProcessDetails>>,
}

impl Process {
    /// From a record; `None` if it has no process.
    pub fn from_wire(wire: &WireProcess) -> Option<Self> {
        (wire.key.tgid != 0).then(|| Self {
            key: wire.key,
            uid: Some(wire.uid),
            cgroup_id: wire.cgroup_id,
            execs: wire.execs,
            comm: Comm::new(wire.comm),
            thread_comm: Comm::new(wire.thread_comm),
            details: None,
        })
    }

    /// A process that is known only from the kernel's totals: its events were lost, or it had only fast port
    /// allocations.
    pub fn from_names(key: ProcessKey, names: Option<&ProcessNames>) -> Option<Self> {
        let mut process = Self::from_wire(&WireProcess {
            key,
            ..WireProcess::default()
        })?;
        process.uid = names.map(|names| names.uid);
        if let Some(names) = names {
            process.cgroup_id = names.cgroup_id;
            process.execs = names.execs;
            process.comm = Comm::new(names.comm);
        }
        Some(process)
    }

    /// Where it runs, if that is known.
    pub fn place(&self) -> Option<&Place> {
        self.details.as_ref()?.cgroup.as_ref()
    }

    /// Whether both are the same process.
    pub fn is(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// Whether both are the same process, with the same known properties.
    pub fn is_as(&self, other: &Self) -> bool {
        let details = match (&self.details, &other.details) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        let names = |process: &Self| (process.comm, process.thread_comm);
        details
            && self.is(other)
            && names(self) == names(other)
            && (self.uid, self.cgroup_id, self.execs) == (other.uid, other.cgroup_id, other.execs)
    }
}

/// The object `process` of the JSON contract.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "Process")]
#[derive(Serialize)]
struct ProcessJson<'a> {
    pid: u32,
    comm: Comm,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Comm::is_empty")]
    thread_comm: Comm,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
}

impl schemars::JsonSchema for Process {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Process".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<ProcessJson>()
    }
}

impl Serialize for Process {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let details = self.details.as_deref();
        let place = self.place();
        ProcessJson {
            pid: self.key.tgid,
            comm: self.comm,
            start_time: details.and_then(|details| details.start_time),
            thread_comm: self.thread_comm,
            uid: self.uid,
            exe: details.and_then(|details| details.exe.as_deref()),
            cgroup: place.map(|place| place.path.as_str()),
            container_id: place.and_then(|place| place.container_id.as_deref()),
            pod_uid: place.and_then(|place| place.pod_uid.as_deref()),
            unit: place.and_then(|place| place.unit.as_deref()),
        }
        .serialize(serializer)
    }
}

/// The same, for reading.
#[derive(Deserialize)]
struct ReadProcess {
    pid: u32,
    comm: String,
    start_time: Option<Timestamp>,
    #[serde(default)]
    thread_comm: String,
    uid: Option<u32>,
    exe: Option<String>,
    cgroup: Option<String>,
    container_id: Option<String>,
    pod_uid: Option<String>,
    unit: Option<String>,
}

/// Maximum length of a cached text of a process, bytes: PATH_MAX, and room for what the kernel appends.
const MAX_TEXT: usize = 4_096 + 256;

/// No host has longer text; an untrusted file may.
fn cut(mut text: String) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.shrink_to_fit();
    text
}

/// Its start is then a time of the wall clock, which also distinguishes processes.
impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = ReadProcess::deserialize(deserializer)?;
        if read.pid == 0 {
            return Err(D::Error::custom("a process has pid 0"));
        }
        let comm = Comm::from_text(&read.comm);
        Ok(Self {
            key: ProcessKey {
                tgid: read.pid,
                unattributed: 0,
                start_boot_ns: read.start_time.map_or(0, |start| start.0),
            },
            uid: read.uid,
            cgroup_id: 0,
            execs: 0,
            comm,
            thread_comm: Comm::from_text(&read.thread_comm),
            details: Some(Arc::new(ProcessDetails {
                comm,
                start_time: read.start_time,
                exe: read.exe.map(cut),
                cgroup: read.cgroup.map(|path| Place {
                    path: cut(path),
                    container_id: read.container_id.map(cut),
                    pod_uid: read.pod_uid.map(cut),
                    unit: read.unit.map(cut),
                }),
            })),
        })
    }
}
