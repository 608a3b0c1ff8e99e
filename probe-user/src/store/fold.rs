//! Sums up the smallest rows where there are too many. Rows are in order, the most important first.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use twtrace_core::event::answerable::without_process;
use twtrace_core::model::budget::row::{self, BudgetRow, OtherBudgets};
use twtrace_core::model::close_wait::{CloseWaitRow, NoHolder};
use twtrace_core::model::counts::Counts;
use twtrace_core::model::destination::Destination;
use twtrace_core::model::destinations::{self, DestinationRow};
use twtrace_core::model::residence::Residence;
use twtrace_core::model::reuse::Reuse;
use twtrace_core::model::sums::ProcessSums;
use twtrace_wire::{ProcessKey, Side, Unattributed};

/// Sums up the rows beyond a number in one, under the word for what was lost; also returns how many they are.
pub fn processes(mut rows: Vec<ProcessSums>, max: usize) -> (Vec<ProcessSums>, u64) {
    if rows.len() <= max {
        return (rows, 0);
    }
    let further = rows.split_off(max);
    let folded = further.len() as u64;
    let key = without_process(Unattributed::Lost);
    let mut sum = match rows.iter().position(|row| row.key == key) {
        Some(place) => rows.swap_remove(place),
        None => ProcessSums {
            key,
            process: None,
            unattributed: Some(Unattributed::Lost),
            counts: Counts::default(),
            residence: Residence::default(),
            reuse: Reuse::default(),
            ports: Vec::new(),
        },
    };
    for row in further {
        sum.add(ProcessSums {
            process: None,
            ..row
        });
    }
    rows.push(sum);
    (rows, folded)
}

/// Sums up the rows beyond a number in one for each side.
pub fn destinations(mut rows: Vec<DestinationRow>, max: usize) -> Vec<DestinationRow> {
    if rows.len() <= max {
        return rows;
    }
    for row in rows.split_off(max) {
        let is_others = |known: &&mut DestinationRow| {
            known.destination == Destination::Others && known.side == row.side
        };
        match rows[max..].iter_mut().find(is_others) {
            Some(others) => others.add(&row),
            None => rows.push(DestinationRow {
                netns: None,
                netns_nth: 0,
                destination: Destination::Others,
                ..row
            }),
        }
    }
    rows
}

/// Sums up the rows beyond a number in one.
pub fn close_wait(mut rows: Vec<CloseWaitRow>, max: usize) -> Vec<CloseWaitRow> {
    if rows.len() <= max {
        return rows;
    }
    let further = rows.split_off(max);
    rows.push(CloseWaitRow {
        process: None,
        unattributed: Some(NoHolder::Unknown),
        netns: 0,
        side: Side::Unknown,
        remote: None,
        local: None,
        count: further.iter().map(|row| row.count).sum(),
        shared: further.iter().map(|row| row.shared).sum(),
        oldest_ns: further.iter().filter_map(|row| row.oldest_ns).max(),
        stayed: further.iter().map(|row| row.stayed).sum(),
        half_closed: further.iter().map(|row| row.half_closed).sum(),
        stayed_ns: further.iter().filter_map(|row| row.stayed_ns).max(),
        oldest_at_most_ns: further.iter().filter_map(|row| row.oldest_at_most_ns).max(),
        destination: Destination::Others,
    });
    rows
}

/// Rows of a merge that are kept, of each kind; up to twice as many wait to be folded.
const MAX_MERGED: usize = 65_536;

/// Takes out the rows that are not kept.
fn beyond<K, R>(rows: &mut Vec<(K, R)>) -> Vec<R> {
    let further = rows.split_off(MAX_MERGED).into_iter();
    further.map(|(_, row)| row).collect()
}

/// Where rows of a merge are too many, sums up those of the processes with the least figures, under `boot_id`. Returns how many
/// they were.
pub fn merged_processes(
    rows: &mut HashMap<(Arc<str>, ProcessKey), ProcessSums>,
    boot_id: &Arc<str>,
) -> u64 {
    if rows.len() <= 2 * MAX_MERGED {
        return 0;
    }
    let mut all: Vec<_> = std::mem::take(rows).into_iter().collect();
    all.sort_by_cached_key(|(_, row)| {
        let counts = &row.counts;
        let figures = (
            counts.time_wait.total() + counts.overflow.total(),
            counts.resets(),
            row.ports.iter().map(|port| port.totals.count).sum::<u64>(),
        );
        // Those without a process are few.
        std::cmp::Reverse((row.process.is_none(), figures))
    });
    let further = beyond(&mut all);
    rows.extend(all);
    let (sum, folded) = processes(further, 0);
    for row in sum {
        match rows.get_mut(&(boot_id.clone(), row.key)) {
            Some(known) => known.add(row),
            None => {
                rows.insert((boot_id.clone(), row.key), row);
            }
        }
    }
    folded
}

/// The same for destinations, whose sums have the key that `key` returns.
pub fn merged_destinations<K: Eq + Hash>(
    rows: &mut HashMap<K, DestinationRow>,
    key: impl Fn(&DestinationRow) -> K,
) {
    if rows.len() <= 2 * MAX_MERGED {
        return;
    }
    let mut all: Vec<DestinationRow> = std::mem::take(rows).into_values().collect();
    destinations::sort(&mut all);
    for row in destinations(all, MAX_MERGED) {
        match rows.get_mut(&key(&row)) {
            Some(known) => known.add(&row),
            None => {
                rows.insert(key(&row), row);
            }
        }
    }
}

/// The same for port pools. Returns the sum of those that were left out.
pub fn merged_budgets<K: Eq + Hash>(rows: &mut HashMap<K, BudgetRow>) -> OtherBudgets {
    if rows.len() <= 2 * MAX_MERGED {
        return OtherBudgets::default();
    }
    let mut all: Vec<(K, BudgetRow)> = std::mem::take(rows).into_iter().collect();
    all.sort_by(|(_, one), (_, other)| row::order(one, other));
    let further = beyond(&mut all);
    rows.extend(all);
    OtherBudgets::of(&further)
}

#[cfg(test)]
mod tests {
    use twtrace_core::event::samples;
    use twtrace_core::model::destination::Destination;

    use super::*;

    fn process(tgid: u32, time_waits: u64) -> ProcessSums {
        let process = samples::process(tgid, "curl");
        let mut counts = Counts::default();
        for _ in 0..time_waits {
            counts.time_wait.add(Side::Client);
        }
        ProcessSums {
            key: process.key,
            process: Some(process),
            unattributed: None,
            counts,
            residence: Residence::default(),
            reuse: Reuse::default(),
            ports: Vec::new(),
        }
    }

    #[test]
    fn no_figure_is_lost_where_processes_are_too_many() {
        let boot: Arc<str> = "boot".into();
        let mut rows = HashMap::new();
        let mut folded = 0;
        let many = 3 * MAX_MERGED as u32;
        for tgid in 1..=many {
            // The busiest one comes first.
            let row = process(tgid, if tgid == 1 { 9 } else { 1 });
            rows.insert((Arc::clone(&boot), row.key), row);
            folded += merged_processes(&mut rows, &boot);
            assert!(rows.len() <= 2 * MAX_MERGED + 1);
        }
        let total: u64 = rows.values().map(|row| row.counts.time_wait.total()).sum();
        assert_eq!(total, u64::from(many) + 8);
        let lost = &rows[&(Arc::clone(&boot), without_process(Unattributed::Lost))];
        assert_eq!(lost.counts.time_wait.total(), folded);
        assert!(rows.values().any(|row| row.counts.time_wait.total() == 9));
    }

    #[test]
    fn destinations_beyond_are_others() {
        let mut rows = HashMap::new();
        let key = |row: &DestinationRow| (row.netns, row.side, row.destination);
        let mut model = destinations::Destinations::default();
        model.apply(&samples::time_wait());
        let sample = model.rows().remove(0);
        for number in 0..=2 * MAX_MERGED as u32 {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + number);
            let row = DestinationRow {
                destination: Destination::Remote((address, 80).into()),
                ..sample.clone()
            };
            rows.insert(key(&row), row);
        }
        let before: u64 = rows.values().map(|row| row.time_wait).sum();
        merged_destinations(&mut rows, key);
        assert_eq!(rows.len(), MAX_MERGED + 1);
        assert_eq!(rows.values().map(|row| row.time_wait).sum::<u64>(), before);
    }
}
