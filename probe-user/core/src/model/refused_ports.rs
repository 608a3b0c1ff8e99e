//! Calls for one fixed port that failed. The kernel side counts them among the allocations of ephemeral ports, which they
//! are not: here they are taken out again, by their events.

use std::borrow::Cow;
use std::collections::HashMap;

use twtrace_wire::{PortKey, PortTotals, ProcessKey, bucket_of_ns};

use crate::event::PortAlloc;

/// Such calls by process, operation and exactness.
#[derive(Clone, Debug, Default)]
pub struct RefusedPorts {
    by_key: HashMap<PortKey, PortTotals>,
}

impl RefusedPorts {
    /// Counts a call of [`PortAlloc::is_refused_port`].
    pub fn add(&mut self, process: ProcessKey, facts: &PortAlloc) {
        let totals = self.by_key.entry(port_key(process, facts)).or_default();
        add_call(totals, facts);
    }

    /// What the kernel side counted, without these calls. Calls whose events were lost stay in it.
    pub fn without<'a>(&self, key: &PortKey, totals: &'a PortTotals) -> Cow<'a, PortTotals> {
        match self.by_key.get(key) {
            None => Cow::Borrowed(totals),
            Some(refused) => {
                let mut allocations = *totals;
                allocations.subtract(refused);
                Cow::Owned(allocations)
            }
        }
    }
}

/// The counter of a call.
pub fn port_key(process: ProcessKey, facts: &PortAlloc) -> PortKey {
    PortKey {
        process,
        op: facts.op as u32,
        exact: u32::from(facts.exact),
    }
}

/// Counts a call as the kernel side does.
pub fn add_call(totals: &mut PortTotals, facts: &PortAlloc) {
    totals.count += 1;
    totals.failures += u64::from(facts.result != crate::event::PortResult::Ok);
    match facts.latency_ns {
        Some(latency_ns) => {
            totals.max_ns = totals.max_ns.max(latency_ns);
            totals.buckets[bucket_of_ns(latency_ns)] += 1;
        }
        None => totals.untimed += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventFacts, samples};

    #[test]
    fn only_the_calls_of_the_same_counter_are_taken_out() {
        let EventFacts::PortAlloc(facts) = samples::port_alloc().facts else {
            panic!("not an allocation");
        };
        let fixed = PortAlloc {
            requested: 80,
            ..facts.clone()
        };
        assert!(fixed.is_refused_port() && !fixed.is_failed_allocation());
        assert!(facts.is_failed_allocation() && !facts.is_refused_port());
        let process = ProcessKey::default();
        let mut counted = PortTotals::default();
        for facts in [&facts, &facts, &fixed] {
            add_call(&mut counted, facts);
        }
        let mut refused = RefusedPorts::default();
        refused.add(process, &fixed);
        let key = port_key(process, &facts);
        let left = refused.without(&key, &counted);
        assert_eq!((left.count, left.failures), (2, 2));
        let timed: u32 = left.buckets.iter().sum();
        assert_eq!(u64::from(timed) + left.untimed, 2);
        let other = PortKey { op: 200, ..key };
        assert_eq!(refused.without(&other, &counted).count, 3);
    }
}
