//! The report on what was tallied.

use std::time::Duration;

use twtrace_wire::EventKind;

use super::Tally;
use crate::event::Process;
use crate::model::audit::{self, AuditRow};
use crate::model::budget::ledger::{Budgets, Ledger};
use crate::model::close_wait;
use crate::model::exactness::{Losses, forgotten};
use crate::model::memory::Memory;
use crate::model::pairs::PairRow;
use crate::model::report::{LostRow, MissRow, ProcessRow, Report, TimeWaitsAlive};
use crate::model::stacks::StackRow;

impl Tally {
    /// The report up to the latest time.
    pub fn report(&self) -> Report {
        self.report_with(
            self.ledger.budgets(&self.filter, self.latest.mono_ns),
            self.pairs.rows(),
        )
    }

    /// The same if nothing else is needed afterwards: the sources of rows are freed before further rows are built.
    pub fn into_report(mut self) -> Report {
        let pairs = std::mem::take(&mut self.pairs).rows();
        let budgets = self.ledger.budgets(&self.filter, self.latest.mono_ns);
        self.ledger = Ledger::default();
        self.report_with(budgets, pairs)
    }

    fn report_with(&self, budgets: Budgets, pairs: Vec<PairRow>) -> Report {
        let processes = self.model.process_rows(self.totals.as_ref());
        let lost: Vec<LostRow> = self
            .lost
            .iter()
            .map(|(probe, count)| LostRow {
                probe: *probe,
                count: *count,
            })
            .collect();
        let end = self.latest;
        let misses = self.misses_of_interval();
        let (exact, inexact) = Losses {
            tiers: &self.tracing_start.tiers,
            lost: &lost,
            misses: misses.as_deref(),
            by_totals: self.totals.is_some() && self.filter.is_by_process(),
            forgotten: forgotten(&processes),
        }
        .exactness();
        let audit_rows: Vec<AuditRow> = self
            .audit
            .iter()
            .filter(|row| self.filter.shows_netns(row.netns))
            .cloned()
            .collect();
        Report {
            start: self.tracing_start.at.ts,
            end: end.ts,
            duration_ns: end.mono_ns.saturating_sub(self.tracing_start.at.mono_ns),
            host: self.tracing_start.host.name.clone(),
            kernel: self.tracing_start.host.kernel.clone(),
            tiers: self.tracing_start.tiers.clone(),
            exact,
            inexact,
            destinations: self.model.destination_rows(),
            pairs,
            pairs_left_out: self.pairs.left_out(),
            time_waits_alive: self.time_waits_alive(),
            budgets: budgets.rows,
            other_budgets: budgets.others,
            budgets_unknown: budgets.unknown,
            close_wait: close_wait::rows(
                &self.close_wait.connections,
                self.earlier_close_wait(),
                &self.filter,
                |holder| self.known(&processes, holder),
            ),
            fixed_ports: self.fixed_ports.rows(),
            fixed_ports_left_out: self.fixed_ports.left_out(),
            missing_addresses: self.missing_addresses.rows(),
            missing_addresses_left_out: self.missing_addresses.left_out(),
            unscanned: self.close_wait.unscanned.clone(),
            netns_names: self.names.values().cloned().collect(),
            stacks: self.stacks(),
            memory: self.memory(&processes),
            audit_off: audit::count_off(&audit_rows),
            audit: audit_rows,
            recursion_misses: self.misses(),
            has_totals: self.totals.is_some(),
            history: None,
            processes,
            lost,
        }
    }

    fn earlier_close_wait(&self) -> Option<close_wait::Earlier<'_>> {
        let (before, before_at) = self.close_wait_before.as_ref()?;
        let apart_ns = self
            .close_wait_at?
            .mono_ns
            .saturating_sub(before_at.mono_ns);
        Some(close_wait::Earlier {
            connections: &before.connections,
            before: Duration::from_nanos(apart_ns),
        })
    }

    fn time_waits_alive(&self) -> TimeWaitsAlive {
        let alive = self
            .namespaces
            .as_ref()
            .map_or_else(TimeWaitsAlive::default, |(before, after)| {
                TimeWaitsAlive::of(before, after, &self.filter)
            });
        if !self.is_excerpt {
            return alive;
        }
        // No sample was taken when the part begins.
        TimeWaitsAlive {
            at_start: None,
            at_end: alive.at_end.filter(|_| !self.is_sampled_before),
        }
    }

    fn memory(&self, processes: &[ProcessRow]) -> Memory {
        let memory = Memory::of(self.caches.clone());
        let both = [EventKind::TimeWait, EventKind::TimeWaitEnd];
        if both.into_iter().all(|kind| self.filter.shows_kind(kind)) {
            memory.shared_by(processes)
        } else {
            memory
        }
    }

    /// Stacks that the filter shows.
    fn stacks(&self) -> Option<Vec<StackRow>> {
        let rows = self.stacks.as_ref()?.iter().filter(|row| {
            self.filter.shows_kind(row.kind()) && self.filter.shows_process(row.process.as_ref())
        });
        let named = rows.map(|row| StackRow {
            process: row.process.as_ref().map(|process| {
                let known = self.model.known(process.key);
                known.unwrap_or(process).clone()
            }),
            ..row.clone()
        });
        Some(named.collect())
    }

    pub(super) fn misses(&self) -> Option<Vec<MissRow>> {
        let misses = self.totals.as_ref()?.recursion_misses.as_ref()?;
        let rows = misses.iter().map(|(program, count)| MissRow {
            program: program.clone(),
            count: *count,
        });
        Some(rows.collect())
    }

    /// A holder of a socket, as reported by events. These have start times in nanoseconds, /proc in ticks.
    pub(super) fn known(&self, processes: &[ProcessRow], holder: &Process) -> Option<Process> {
        let is_holder = |process: &&Process| {
            let later_ns = process
                .key
                .start_boot_ns
                .checked_sub(holder.key.start_boot_ns);
            process.key.tgid == holder.key.tgid
                && later_ns.is_some_and(|later_ns| later_ns < self.close_wait.tick_ns)
        };
        let mut known = processes.iter().filter_map(|row| row.process.as_ref());
        if let Some(process) = known.find(is_holder) {
            return Some(Process {
                thread_comm: Default::default(),
                ..process.clone()
            });
        }
        // A member of the command's family without events.
        let tick_ns = self.close_wait.tick_ns;
        let family = self.filter.known_family()?;
        Some(Process {
            key: family.at_tick(holder.key.tgid, holder.key.start_boot_ns, tick_ns)?,
            ..holder.clone()
        })
    }
}
