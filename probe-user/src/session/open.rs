//! The start-up scan: connections that were open before the probes were attached.
//!
//! Attach first, then scan: what was opened or closed in between is known from its events, and they take precedence.
//! The kernel side gets every socket by its cookie, and searches there when a socket that it does not know acts.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::Result;
use twtrace_core::model::budget::ports::PortRange;
use twtrace_wire::{Existing, ExistingKey, Process, ProcessKey, ProcessNow};

use super::Session;
use crate::clock;
use crate::enrich::kernel_counters::{sockstat_alive, sockstat_allocated};
use crate::enrich::{pid_namespace, procfs};
use crate::scan::namespace_helper::NamespaceHelper;
use crate::scan::open::{self, OpenSocket};
use crate::scan::owners::{Owners, SocketHolder};
use crate::scan::setting;
use crate::scan::snapshot::{self, ScannedSockets, namespaces};
use crate::scan::sock_diag::Query;

/// Room for sockets that are opened between the first count and the scan.
const SLACK: u64 = 1024;

/// How many sockets the scan will find, roughly. Mini-sockets of namespaces without a process are not included.
pub fn expected_sockets() -> u64 {
    let sockstat = |net: &Path| fs::read_to_string(net.join("sockstat")).unwrap_or_default();
    let ways = namespaces().into_values();
    let minis: u64 = ways
        .filter_map(|paths| proc_net(&paths))
        .filter_map(|net| sockstat_alive(&sockstat(&net)))
        .sum();
    // This value is for the whole host.
    let full = sockstat_allocated(&sockstat(Path::new("/proc/self/net"))).unwrap_or(0);
    let sockets = full.saturating_add(minis);
    sockets.saturating_add(sockets / 4).saturating_add(SLACK)
}

/// `/proc/PID/net` of a process in the namespace.
fn proc_net(paths: &[PathBuf]) -> Option<PathBuf> {
    let of_process = paths.iter().find(|path| path.starts_with("/proc"))?;
    Some(of_process.parent()?.parent()?.join("net"))
}

impl Session {
    /// Scans what is open in every namespace that can be reached, or in those in `only` if it is not empty. What
    /// can't be found out is reported as unknown.
    ///
    /// # Errors
    /// If the sockets can't be passed to the kernel side.
    pub fn adopt_open(&mut self, helper: Option<&Rc<NamespaceHelper>>, only: &[u32]) -> Result<()> {
        self.learn_starts();
        self.learn_pids();
        if let Some(inferred_ends) = &mut self.inferred_ends {
            inferred_ends.scan_through(helper.cloned());
        }
        let helper = helper.map(Rc::as_ref);
        let found = snapshot::take(helper, Query::all(), only);
        for (netns, why) in &found.unscanned {
            log::debug!("what was open in netns {netns} is not known: {why}");
        }
        let ranges = port_ranges(helper, &found);
        let sockets = open::sockets(&found.namespaces, |netns| ranges.get(&netns).copied());
        let owners = Owners::find(&open::inodes(&sockets));
        let processes = self.identify(&sockets, &owners);
        let entries = sockets.iter().map(|socket| {
            let opener = open::opener(socket, &owners)
                .and_then(|holder| processes.get(&(holder.pid, holder.start_ticks)).copied());
            entry(socket, opener)
        });
        let without_room = self.attached.tell_existing(entries)?;
        if without_room > 0 {
            log::warn!(
                "{without_room} of {} sockets that were open before tracing find no room: \
                 their side and opener will be unknown (see --max-sockets)",
                sockets.len()
            );
        }
        Ok(())
    }

    /// Learns the ids under which /proc shows processes, if they differ from those in events.
    pub fn learn_pids(&mut self) {
        pid_namespace::learn(|pid| self.key_of_pid(pid));
    }

    /// Learns which clock /proc uses for the start of processes.
    pub(super) fn learn_starts(&mut self) {
        let Some(pid) = procfs::own_pid() else {
            return;
        };
        if let (Some(key), Some(ticks)) = (self.key_of_pid(pid), procfs::start_ticks(pid)) {
            let tick_ns = procfs::tick_ns();
            clock::learn_how_starts_are_shown(key.start_boot_ns, ticks * tick_ns, tick_ns);
        }
    }

    /// The key that events have for the process that /proc shows under this id; `None` if it has ended, or the kernel
    /// does not report it.
    pub fn key_of_pid(&self, pid: u32) -> Option<ProcessKey> {
        self.process_now(pid).map(|now| now.key)
    }

    /// The same, with its program and its cgroup.
    pub fn process_now(&self, pid: u32) -> Option<ProcessNow> {
        let directory = File::open(format!("/proc/{pid}")).ok()?;
        self.attached.process_now(directory.as_raw_fd())
    }

    /// Turns holders into processes as events name them.
    fn identify(
        &mut self,
        sockets: &[OpenSocket],
        owners: &Owners,
    ) -> HashMap<(u32, u64), Process> {
        let mut processes = HashMap::new();
        for socket in sockets {
            let Some(holder) = open::opener(socket, owners) else {
                continue;
            };
            let key = (holder.pid, holder.start_ticks);
            if processes.contains_key(&key) {
                continue;
            }
            match self.identify_one(&holder) {
                Some(process) => {
                    processes.insert(key, process);
                }
                None => log::debug!("pid {} exited while its details were read", holder.pid),
            }
        }
        processes
    }

    /// `None` if the process has ended, was replaced by another one, or is in exec().
    fn identify_one(&self, holder: &SocketHolder) -> Option<Process> {
        let now = self.process_now(holder.pid)?;
        let is_it = procfs::shown_ticks(now.key.start_boot_ns) == holder.start_ticks;
        (is_it && now.in_exec == 0).then(|| Process {
            key: now.key,
            execs: now.execs,
            uid: procfs::real_uid(holder.pid).unwrap_or_default(),
            cgroup_id: now.cgroup_id,
            comm: holder.comm.padded(),
            thread_comm: Default::default(),
        })
    }
}

fn port_ranges(
    helper: Option<&NamespaceHelper>,
    found: &ScannedSockets,
) -> HashMap<u32, PortRange> {
    let ways = namespaces();
    let ranges = found.namespaces.iter().filter_map(|namespace| {
        let paths = ways.get(&namespace.netns)?;
        let sysctls = setting::read(helper, namespace.netns, paths).ok()?;
        Some((namespace.netns, sysctls.range))
    });
    ranges.collect()
}

fn entry(socket: &OpenSocket, opener: Option<Process>) -> (ExistingKey, Existing) {
    let key = ExistingKey {
        cookie: socket.cookie,
        netns: socket.netns,
        reserved: 0,
    };
    let existing = Existing {
        opener: opener.unwrap_or(Process::NONE),
        side: socket.side as u8,
        reserved: [0; 7],
    };
    (key, existing)
}
