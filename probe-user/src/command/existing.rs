//! What a report says of the sockets that exist at its end.

use crate::enrich::{Enricher, procfs};
use crate::event::Process;
use crate::event::comm::Comm;
use crate::filter::{Family, Filter};
use crate::model::close_wait::{self, CloseWaitRow};
use crate::model::memory::{CacheRow, Memory};
use crate::model::report::{ProcessRow, UnscannedRow};
use crate::scan::gate::Gate;
use crate::scan::owners::{Holder, Owners};
use crate::scan::slab;
use crate::scan::snapshot;
use crate::scan::sock_diag::Query;
use twtrace_wire::ProcessKey;

/// Connections in CLOSE_WAIT, and namespaces of which that is not known. Processes that `processes` has are
/// shown as they are there.
pub fn close_wait(
    gate: Option<&Gate>,
    filter: &Filter,
    processes: &[ProcessRow],
    enricher: &mut Enricher,
) -> (Vec<CloseWaitRow>, Vec<UnscannedRow>) {
    let query = Query::of(close_wait::STATES).with_times();
    let snapshot = snapshot::take(gate, query, &filter.netns);
    let owners = Owners::find(&close_wait::inodes(&snapshot.namespaces));
    if owners.unreadable > 0 {
        log::debug!("descriptors of {} processes are hidden", owners.unreadable);
    }
    let known: Vec<&Process> = processes
        .iter()
        .filter_map(|row| row.process.as_ref())
        .collect();
    let holders = |inode| {
        let holders = owners.of(inode).iter();
        holders
            .map(|holder| process_of(holder, &known, filter.family.as_ref()))
            .collect()
    };
    let mut rows = close_wait::rows(&snapshot.namespaces, filter, holders);
    for row in &mut rows {
        if let Some(process) = &mut row.process
            && process.details.is_none()
        {
            enricher.complete(process);
        }
    }
    let unscanned = snapshot
        .unscanned
        .into_iter()
        .map(|(netns, why)| UnscannedRow { netns, why });
    (rows, unscanned.collect())
}

/// What the kernel's tables take.
pub fn memory() -> Memory {
    let rows = slab::read().into_iter().map(|(name, slab)| {
        let known = slab.as_ref().ok();
        CacheRow {
            name,
            active_objects: known.map(|slab| slab.active_objects),
            object_bytes: known.map(|slab| slab.object_bytes),
            active_bytes: known.map(|slab| slab.active_objects.saturating_mul(slab.object_bytes)),
            held_bytes: known.map(|slab| slab.held_bytes),
            why: slab.as_ref().err().map(ToString::to_string),
        }
    });
    Memory::of(rows.collect())
}

fn process_of(holder: &Holder, known: &[&Process], family: Option<&Family>) -> Process {
    let tick_ns = procfs::tick_ns();
    // Events have the start time to the nanosecond, /proc to the tick.
    let is_holder = |process: &&&Process| {
        process.key.tgid == holder.pid && process.key.start_boot_ns / tick_ns == holder.start_ticks
    };
    match known.iter().find(is_holder) {
        Some(process) => Process {
            thread_comm: Comm::default(),
            ..(**process).clone()
        },
        None => Process {
            key: family
                .and_then(|family| family.at_tick(holder.pid, holder.start_ticks, tick_ns))
                .unwrap_or(ProcessKey {
                    tgid: holder.pid,
                    unattributed: 0,
                    start_boot_ns: holder.start_ticks * tick_ns,
                }),
            uid: None,
            cgroup_id: 0,
            comm: holder.comm,
            thread_comm: Comm::default(),
            details: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn a_process_that_is_known_keeps_its_identity() {
        let tick_ns = procfs::tick_ns();
        let mut known = samples::process(7, "known");
        known.key.start_boot_ns = 5 * tick_ns + 123;
        let holder = |start_ticks| Holder {
            pid: 7,
            start_ticks,
            comm: Comm::from_bytes(b"now"),
        };
        let same = process_of(&holder(5), &[&known], None);
        assert!(same.is(&known) && same.comm == known.comm);
        let successor = process_of(&holder(6), &[&known], None);
        assert_eq!(successor.key.start_boot_ns, 6 * tick_ns);
        assert_eq!(successor.comm.text(), "now");
        let family = Family::default();
        family.add([known.key]);
        let silent = process_of(&holder(5), &[], Some(&family));
        assert!(silent.is(&known), "a member that no event told of");
    }
}
