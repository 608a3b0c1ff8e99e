//! Tests of which processes may be named.

use super::{
    ledger::LedgerEntry,
    plan::{End, LastAct, LifePlan, ServerKind, StepAction},
    truth::*,
};

fn entry(end: End, action: StepAction, pid: i32, before_ns: u64, after_ns: u64) -> LedgerEntry {
    LedgerEntry {
        life: 300,
        connection: 0,
        end,
        action,
        pid,
        before_ns,
        after_ns,
        errno: 0,
    }
}

fn truth(entries: &[LedgerEntry]) -> Truth<'_> {
    Truth {
        life: 300,
        plan: LifePlan {
            server: ServerKind::Separate,
            is_v6: false,
            again: None,
            forges: false,
        },
        entries,
        closed_listeners: &[],
    }
}

fn pids(allowed: Allowed) -> Vec<i32> {
    allowed.pids.into_iter().collect()
}

#[test]
fn who_acted_first_is_answerable() {
    let entries = [
        entry(End::Client, StepAction::Connect, 1, 10, 20),
        entry(End::Client, StepAction::ShutdownWrite, 1, 30, 40),
        entry(End::Client, StepAction::Close, 2, 50, 60),
    ];
    let of_it = truth(&entries);
    assert_eq!(pids(of_it.allowed(End::Client, 25)), [1]);
    assert_eq!(pids(of_it.allowed(End::Client, 70)), [1]);
    assert!(of_it.allowed(End::Client, 5).pids.is_empty());
    assert!(of_it.allowed(End::Server, 25).nobody);
}

#[test]
fn a_reset_is_of_who_disconnects_and_late_data_of_who_closed() {
    let entries = [
        entry(End::Client, StepAction::Connect, 1, 10, 20),
        entry(End::Client, StepAction::ShutdownWrite, 1, 30, 40),
        entry(End::Client, StepAction::Abort, 2, 50, 60),
    ];
    let of_two = truth(&entries);
    assert_eq!(pids(of_two.allowed_to_disconnect(End::Client, 55)), [2]);
    let late = of_two.allowed_to_be_late(End::Client, 55);
    assert!(late.nobody);
    assert_eq!(pids(late), [2]);
    let of_one = [
        entries[0],
        LedgerEntry {
            pid: 1,
            ..entries[2]
        },
    ];
    let of_one = truth(&of_one);
    assert_eq!(pids(of_one.allowed_to_disconnect(End::Client, 55)), [1]);
    assert!(!of_one.allowed_to_be_late(End::Client, 55).nobody);
    assert!(of_one.allowed_to_be_late(End::Client, 45).pids.is_empty());
}

#[test]
fn of_descriptors_the_last_one_counts() {
    let entries = [
        entry(End::Server, StepAction::Accept, 1, 10, 20),
        entry(End::Server, StepAction::Hand(LastAct::Close), 1, 30, 40),
        entry(End::Server, StepAction::Close, 2, 50, 60),
        entry(End::Server, StepAction::Close, 3, 55, u64::MAX),
    ];
    let of_it = truth(&entries);
    // The opener, as long as the connection may not have ended.
    assert_eq!(pids(of_it.allowed(End::Server, 45)), [1]);
    assert_eq!(pids(of_it.allowed(End::Server, 80)), [1, 2, 3]);
    assert_eq!(pids(truth(&entries[..3]).allowed(End::Server, 80)), [2]);
    assert!(!of_it.allowed(End::Server, 45).nobody);
}
