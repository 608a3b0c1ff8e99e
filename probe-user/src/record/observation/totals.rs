//! What the kernel side counted, as a recording stores it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use twtrace_core::event::answerable::unattributed;
use twtrace_core::event::answerable::without_process;
use twtrace_core::event::counts_by::CountsBy;
use twtrace_core::event::{Process, words};
use twtrace_core::model::observation::KernelTotals;
use twtrace_wire::{
    AbortReason, EndCause, PortKey, PortOp, PortTotals, ProcessKey, ProcessTotals, ResetReason,
    ReuseRefusal, Side, Unattributed, bucket_lower_bound_ns, bucket_of_ns,
};

use super::{Parts, chunks};

const ROWS_A_LINE: usize = 1_000;

#[derive(Serialize, Deserialize)]
pub struct Part {
    processes: Vec<ProcessRow>,
    ports: Vec<PortRow>,
    /// Runs of twtrace's programs that the kernel skipped, by program; null if it does not count them.
    recursion_misses: Option<Vec<(String, u64)>>,
}

/// The process that the figures belong to.
#[derive(Clone, Serialize, Deserialize)]
struct Attribution {
    process: Option<Process>,
    #[serde(with = "words::optional")]
    unattributed: Option<Unattributed>,
}

#[derive(Clone, Serialize, Deserialize)]
struct ProcessRow {
    #[serde(flatten)]
    who: Attribution,
    time_wait: CountsBy<Side, { Side::COUNT }>,
    fin_wait2: CountsBy<Side, { Side::COUNT }>,
    overflow: CountsBy<Side, { Side::COUNT }>,
    reset_sent: CountsBy<ResetReason, { ResetReason::COUNT }>,
    reset_received: CountsBy<ResetReason, { ResetReason::COUNT }>,
    abort: CountsBy<AbortReason, { AbortReason::COUNT }>,
    ended: CountsBy<EndCause, { EndCause::COUNT }>,
    reused: u64,
    hindered: u64,
    refused: CountsBy<ReuseRefusal, { ReuseRefusal::COUNT }>,
}

#[derive(Clone, Serialize, Deserialize)]
struct PortRow {
    #[serde(flatten)]
    who: Attribution,
    #[serde(with = "words")]
    op: PortOp,
    exact: bool,
    count: u64,
    failures: u64,
    untimed: u64,
    max_ns: u64,
    /// Searches by the lower bound of their latency bucket, nanoseconds.
    latency_ns: BTreeMap<u64, u32>,
}

impl Parts for KernelTotals {
    type Part = Part;

    fn cut(&self) -> Vec<Part> {
        let who = |key: &ProcessKey| Attribution {
            process: self.named.get(key).cloned(),
            unattributed: unattributed(*key),
        };
        let processes: Vec<ProcessRow> = self
            .processes
            .iter()
            .map(|(key, totals)| ProcessRow::new(who(key), totals))
            .collect();
        let ports: Vec<PortRow> = self
            .ports
            .iter()
            .filter_map(|(key, totals)| PortRow::new(who(&key.process), *key, totals))
            .collect();
        let mut ports = chunks(&ports, ROWS_A_LINE).into_iter();
        let mut processes = chunks(&processes, ROWS_A_LINE).into_iter();
        let mut parts = Vec::new();
        loop {
            match (processes.next(), ports.next()) {
                (None, None) => return parts,
                (processes, ports) => parts.push(Part {
                    processes: processes.unwrap_or_default(),
                    ports: ports.unwrap_or_default(),
                    recursion_misses: self.recursion_misses.clone(),
                }),
            }
        }
    }

    fn add(&mut self, part: Part) {
        self.recursion_misses = part.recursion_misses;
        for row in part.processes {
            let key = name(&mut self.named, &row.who);
            self.processes.push((key, row.totals()));
        }
        for row in part.ports {
            let key = PortKey {
                process: name(&mut self.named, &row.who),
                op: row.op as u32,
                exact: u32::from(row.exact),
            };
            self.ports.push((key, row.totals()));
        }
    }
}

fn name(named: &mut HashMap<ProcessKey, Process>, who: &Attribution) -> ProcessKey {
    match &who.process {
        Some(process) => {
            named.insert(process.key, process.clone());
            process.key
        }
        None => without_process(who.unattributed.unwrap_or(Unattributed::Unknown)),
    }
}

impl ProcessRow {
    fn new(who: Attribution, totals: &ProcessTotals) -> Self {
        Self {
            who,
            time_wait: CountsBy::new(totals.time_wait),
            fin_wait2: CountsBy::new(totals.fin_wait2),
            overflow: CountsBy::new(totals.overflow),
            reset_sent: CountsBy::new(totals.reset_sent),
            reset_received: CountsBy::new(totals.reset_received),
            abort: CountsBy::new(totals.abort),
            ended: CountsBy::new(totals.ended),
            reused: totals.reused,
            hindered: totals.hindered,
            refused: CountsBy::new(totals.refused),
        }
    }

    fn totals(&self) -> ProcessTotals {
        ProcessTotals {
            time_wait: self.time_wait.numbers(),
            fin_wait2: self.fin_wait2.numbers(),
            overflow: self.overflow.numbers(),
            reset_sent: self.reset_sent.numbers(),
            reset_received: self.reset_received.numbers(),
            abort: self.abort.numbers(),
            ended: self.ended.numbers(),
            reused: self.reused,
            hindered: self.hindered,
            refused: self.refused.numbers(),
        }
    }
}

impl PortRow {
    /// `None` if the operation is not known.
    fn new(who: Attribution, key: PortKey, totals: &PortTotals) -> Option<Self> {
        let counted = totals.buckets.iter().enumerate();
        Some(Self {
            who,
            op: u8::try_from(key.op).ok().and_then(PortOp::from_code)?,
            exact: key.exact != 0,
            count: totals.count,
            failures: totals.failures,
            untimed: totals.untimed,
            max_ns: totals.max_ns,
            latency_ns: counted
                .filter(|(_, count)| **count > 0)
                .map(|(bucket, count)| (bucket_lower_bound_ns(bucket), *count))
                .collect(),
        })
    }

    fn totals(&self) -> PortTotals {
        let mut totals = PortTotals {
            count: self.count,
            failures: self.failures,
            untimed: self.untimed,
            max_ns: self.max_ns,
            ..PortTotals::default()
        };
        for (latency_ns, count) in &self.latency_ns {
            let bucket = &mut totals.buckets[bucket_of_ns(*latency_ns)];
            *bucket = bucket.saturating_add(*count);
        }
        totals
    }
}
