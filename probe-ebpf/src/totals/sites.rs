//! Counters of the places in processes' code.

use twtrace_wire::{EventKind, LOST_SITE, Probe, ResetDirection, SiteCount, StackWhat};

use crate::{
    constants::config,
    maps::{SITE_COUNTS, atomic::add, lost::count_lost},
    records::Fact,
};

/// `BPF_NOEXIST`: two CPUs may create the same entry.
const NO_EXIST: u64 = 1;

/// Counts an outcome (`what`) under the place in the code that led to it.
#[inline(always)]
pub fn count(site: u64, what: StackWhat) {
    add_to_count(site, what, 1);
}

#[inline(always)]
fn add_to_count(site: u64, what: StackWhat, amount: u64) {
    if config!(stacks) == 0 {
        return;
    }
    if site == LOST_SITE {
        count_lost(Probe::StackMap);
    }
    let key = SiteCount::new(site, what);
    let counter = match SITE_COUNTS.get_ptr_mut(&key) {
        Some(counter) => counter,
        None => {
            let _ = SITE_COUNTS.insert(&key, &0, NO_EXIST);
            match SITE_COUNTS.get_ptr_mut(&key) {
                Some(counter) => counter,
                None => {
                    if site != LOST_SITE {
                        count_lost(Probe::StackMap);
                    }
                    return;
                }
            }
        }
    };
    // SAFETY: a map value.
    unsafe { add(counter, amount) }
}

/// Counts a fact about a connection under the place of its close(), if it is of a kind that is counted by place.
#[inline(always)]
pub fn count_fact(fact: &Fact, site: u64, amount: u64) {
    if config!(stacks) == 0 {
        return;
    }
    let what = match fact.kind {
        EventKind::TimeWait => StackWhat::TimeWait,
        EventKind::TimeWaitOverflow => StackWhat::TimeWaitOverflow,
        EventKind::Reset if fact.from == ResetDirection::Sent as u8 => StackWhat::ResetSent,
        _ => return,
    };
    add_to_count(site, what, amount);
}
