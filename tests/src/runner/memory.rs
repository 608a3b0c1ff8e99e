//! Compares the memory of TIME_WAIT in a report with /proc/slabinfo.

use serde_json::Value;

use crate::{
    stage::finding::{Played, SlabTruth},
    sys::slabinfo::{self, SlabCache},
};

/// The current size of the cache, for a scenario that is about one.
pub fn now(played: &Played) -> std::io::Result<Option<SlabCache>> {
    match &played.slab {
        Some(truth) => slabinfo::read(&truth.cache),
        None => Ok(None),
    }
}

/// Differences, given the kernel's figures just before and just after the report's own sample.
pub fn judge(
    played: &Played,
    before: Option<SlabCache>,
    after: Option<SlabCache>,
    report: &Value,
) -> Vec<String> {
    let (Some(truth), Some(before), Some(after)) = (&played.slab, before, after) else {
        return match &played.slab {
            Some(truth) => vec![format!("/proc/slabinfo has lost its {}", truth.cache)],
            None => Vec::new(),
        };
    };
    let caches = report["memory"]["caches"].as_array();
    let find = |name: &str| caches.into_iter().flatten().find(|row| row["name"] == name);
    let Some(row) = find(&truth.cache) else {
        return vec![format!("no cache {} in {}", truth.cache, report["memory"])];
    };
    let mut wrong = Vec::new();
    let active = row["active_objects"].as_u64();
    // In most cases no other process creates or closes sockets: then both figures are the same, and this one must be
    // too.
    let (low, high) = (
        before.active_objects.min(after.active_objects),
        before.active_objects.max(after.active_objects),
    );
    if !active.is_some_and(|active| (low..=high).contains(&active)) {
        wrong.push(format!(
            "{active:?} active objects, /proc/slabinfo has {low} to {high}"
        ));
    }
    wrong.extend(products(truth, after, active, row));
    wrong.extend(share(truth, after, &report["memory"]["processes"]));
    let both: Option<u64> = ["tw_sock_TCP", "tw_sock_TCPv6"]
        .iter()
        .map(|name| find(name)?["active_bytes"].as_u64())
        .sum();
    if both.is_none() || report["memory"]["time_wait_bytes"].as_u64() != both {
        wrong.push(format!(
            "time_wait_bytes is not {both:?}: {}",
            report["memory"]
        ));
    }
    wrong
}

fn products(truth: &SlabTruth, slab: SlabCache, active: Option<u64>, row: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if active < Some(truth.at_least) {
        wrong.push(format!("fewer than {} objects: {row}", truth.at_least));
    }
    if row["object_bytes"] != slab.object_bytes {
        wrong.push(format!("an object has {} bytes: {row}", slab.object_bytes));
    }
    if row["active_bytes"].as_u64() != active.map(|active| active * slab.object_bytes) {
        wrong.push(format!("active_bytes is not the product: {row}"));
    }
    wrong
}

/// All TIME_WAITs that are alive in the scenario's namespace belong to the process that created them.
fn share(truth: &SlabTruth, slab: SlabCache, processes: &Value) -> Option<String> {
    let row = processes
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["process"]["pid"] == truth.maker));
    let is_right = row.is_some_and(|row| {
        row["alive"] == truth.at_least && row["bytes"] == truth.at_least * slab.object_bytes
    });
    (!is_right).then(|| {
        format!(
            "process {} has {} alive of {} bytes: {processes}",
            truth.maker, truth.at_least, slab.object_bytes
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(active: u64, bytes: u64, sum: u64) -> usize {
        let played = Played {
            slab: Some(SlabTruth {
                cache: "tw_sock_TCP".to_owned(),
                at_least: 10,
                maker: 7,
            }),
            ..Played::default()
        };
        let slab = |active_objects| {
            Some(SlabCache {
                active_objects,
                objects: 32,
                object_bytes: 256,
            })
        };
        let processes = json!([{"process": {"pid": 7}, "alive": 10, "bytes": 2560}]);
        let report = json!({"memory": {"processes": processes, "time_wait_bytes": sum, "caches": [
            {"name": "tw_sock_TCP", "active_objects": active, "object_bytes": 256, "active_bytes": bytes},
            {"name": "tw_sock_TCPv6", "active_objects": 1, "object_bytes": 256, "active_bytes": 256},
        ]}});
        judge(&played, slab(16), slab(17), &report).len()
    }

    #[test]
    fn the_report_must_have_the_kernels_figures() {
        assert_eq!(wrong(16, 4096, 4352), 0);
        assert_eq!(wrong(17, 4352, 4608), 0);
        assert_eq!(wrong(18, 4608, 4864), 1);
        assert_eq!(wrong(16, 4095, 4351), 1);
        assert_eq!(wrong(16, 4096, 4096), 1);
        assert_eq!(wrong(9, 2304, 2560), 2);
    }
}
