//! Scans of the sockets that exist: who left them in CLOSE_WAIT, and what memory they take.

use std::collections::HashMap;

use twtrace_core::event::Process;
use twtrace_core::event::comm::Comm;
use twtrace_core::model::close_wait;
use twtrace_core::model::listener;
use twtrace_core::model::memory::CacheRow;
use twtrace_core::model::observation::CloseWait;
use twtrace_core::model::report::UnscannedRow;
use twtrace_core::model::socket::NetnsSockets;
use twtrace_core::model::unacknowledged;
use twtrace_wire::ProcessKey;

use super::Session;
use crate::enrich::{pid_namespace, procfs};
use crate::scan::namespace_helper::NamespaceHelper;
use crate::scan::owners::{Owners, SocketHolder};
use crate::scan::slab;
use crate::scan::snapshot;
use crate::scan::sock_diag::Query;

/// Connections in CLOSE_WAIT and accept queues, in all namespaces, or in those in `only` if it is not empty. `hidden` are namespaces
/// that may not be found. `unacknowledged` are sockets whose holders are to be found, too.
pub fn close_wait(
    helper: Option<&NamespaceHelper>,
    only: &[u32],
    hidden: &[u32],
    unacknowledged: &[NetnsSockets],
    session: &mut Session,
) -> CloseWait {
    let query = Query::of(close_wait::STATES).with_times();
    let snapshot = snapshot::take(helper, query, only);
    let mut inodes = close_wait::inodes(&snapshot.namespaces);
    inodes.extend(listener::inodes(&snapshot.namespaces));
    inodes.extend(unacknowledged::inodes(unacknowledged));
    let owners = Owners::find(&inodes);
    if owners.unreadable > 0 {
        log::debug!("descriptors of {} processes are hidden", owners.unreadable);
    }
    let mut known: HashMap<(u32, u64), Option<Process>> = HashMap::new();
    let mut complete = |holder: &SocketHolder| {
        known
            .entry((holder.pid, holder.start_ticks))
            .or_insert_with(|| {
                let mut process = process_of(holder, session)?;
                session.complete(&mut process);
                Some(process)
            })
            .clone()
    };
    let mut holders = |inode: u32| -> Vec<Process> {
        owners.of(inode).iter().filter_map(&mut complete).collect()
    };
    let connections = close_wait::connections(&snapshot.namespaces, &mut holders);
    let listeners = listener::samples(&snapshot.namespaces, &mut holders);
    let unacknowledged = unacknowledged::rows(unacknowledged, &mut holders);
    let seen: Vec<u32> = snapshot.namespaces.iter().map(|it| it.netns).collect();
    let mut unscanned = snapshot.unscanned;
    for &netns in hidden {
        let is_named = unscanned.iter().any(|(named, _)| *named == netns);
        if !seen.contains(&netns) && !is_named {
            unscanned.push((netns, twtrace_core::model::audit::HIDDEN.to_owned()));
        }
    }
    let unscanned = unscanned
        .into_iter()
        .map(|(netns, why)| UnscannedRow { netns, why });
    CloseWait {
        connections,
        listeners,
        unacknowledged,
        unscanned: unscanned.collect(),
        tick_ns: procfs::tick_ns(),
    }
}

/// Memory of the kernel's tables.
pub fn caches() -> Vec<CacheRow> {
    let rows = slab::read().into_iter().map(|(name, slab)| {
        let known = slab.as_ref().ok();
        CacheRow {
            name: name.into(),
            active_objects: known.map(|slab| slab.active_objects),
            object_bytes: known.map(|slab| slab.object_bytes),
            active_bytes: known.map(|slab| slab.active_objects.saturating_mul(slab.object_bytes)),
            held_bytes: known.map(|slab| slab.held_bytes),
            why: slab.as_ref().err().map(ToString::to_string),
        }
    });
    rows.collect()
}

/// `None` if its id in the initial pid namespace is not known.
pub fn process_of(holder: &SocketHolder, session: &mut Session) -> Option<Process> {
    let as_shown = || {
        pid_namespace::shows_all().then(|| ProcessKey {
            tgid: holder.pid,
            unattributed: 0,
            start_boot_ns: procfs::boot_ns_of_ticks(holder.start_ticks),
        })
    };
    let now = session
        .process_now(holder.pid)
        .filter(|now| procfs::shown_ticks(now.key.start_boot_ns) == holder.start_ticks);
    Some(Process {
        key: now.map(|now| now.key).or_else(as_shown)?,
        uid: None,
        cgroup_id: now.map_or(0, |now| now.cgroup_id),
        execs: now.map_or(0, |now| now.execs),
        comm: holder.comm,
        thread_comm: Comm::default(),
        details: None,
    })
}
