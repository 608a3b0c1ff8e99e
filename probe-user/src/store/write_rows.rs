//! Writes the rows of an interval.

use rusqlite::{Connection, OptionalExtension};
use twtrace_core::event::answerable::unattributed;
use twtrace_core::event::text::escape;
use twtrace_core::event::words::Word;
use twtrace_core::event::{Event, EventFacts, Flow, Process};
use twtrace_core::model::report::PortRow;
use twtrace_core::model::sums::ProcessSums;
use twtrace_wire::{ProcessKey, Unattributed};

use super::columns::{Values, histogram_json, integer, netns_cell};
use crate::store::interval::Interval;

/// The rows of one interval.
pub struct RowWriter<'a> {
    /// The history, within the transaction of the interval.
    pub connection: &'a Connection,
    pub interval_id: i64,
}

impl RowWriter<'_> {
    pub fn all(&self, interval: &Interval) -> rusqlite::Result<()> {
        for (n, row) in (0_u64..).zip(&interval.processes) {
            self.process(n, row)?;
        }
        for (n, row) in (0_u64..).zip(&interval.destinations) {
            self.row(n)
                .optional(row.netns.map(|netns| netns_cell(netns, row.netns_nth)))
                .word(row.side)
                .put(row.destination.to_string())
                .number(row.time_wait)
                .number(row.fin_wait2)
                .number(row.overflow)
                .deaths(&row.deaths)
                .number(row.port_failures)
                .reuse(&row.reuse)
                .insert(self.connection, "destination_row")?;
        }
        for (n, row) in (0_u64..).zip(&interval.pairs) {
            let counts = &row.counts;
            self.row(n)
                .put(self.who(row.process.as_deref())?)
                .text(no_process(row.key))
                .number(netns_cell(row.netns, row.netns_nth))
                .word(row.side)
                .put(row.destination.to_string())
                .number(counts.time_wait)
                .number(counts.linger_zero())
                .number(counts.connect_failures)
                .number(counts.bind_failures)
                .reuse(&counts.reuse)
                .deaths(&counts.deaths)
                .insert(self.connection, "dealing_row")?;
        }
        for (n, row) in (0_u64..).zip(&interval.budgets) {
            self.row(n)
                .number(row.netns)
                .put(row.pool.word().to_owned())
                .text(row.source.map(|source| source.to_string()))
                .text(row.destination.map(|destination| destination.to_string()))
                .optional(row.capacity)
                .optional(row.free)
                .optional(row.live)
                .optional(row.time_wait)
                .number(row.failures)
                .put(row.outlook.word().to_owned())
                .optional(row.full_in_ns)
                .json(row)?
                .insert(self.connection, "budget_row")?;
        }
        for (n, row) in (0_u64..).zip(&interval.close_wait) {
            self.row(n)
                .put(self.who(row.process.as_ref())?)
                .text(row.unattributed.map(|why| why.word().to_owned()))
                .number(row.netns)
                .word(row.side)
                .put(row.destination.to_string())
                .number(row.count)
                .number(row.shared)
                .optional(row.oldest_ns)
                .optional(row.oldest_at_most_ns)
                .insert(self.connection, "close_wait_row")?;
        }
        for row in interval.audit.iter().filter(|row| !row.is_quiet()) {
            self.row(netns_cell(row.netns, row.netns_nth))
                .number(row.births_seen)
                .optional(row.births_kernel)
                .put(row.difference)
                .number(row.uncertainty)
                .put(row.audited)
                .json(row)?
                .insert(self.connection, "audit_row")?;
        }
        for named in &interval.netns_names {
            let after = serde_json::to_value(named.after).ok();
            self.row(named.netns)
                .put(escape(&named.name))
                .text(after.and_then(|after| after.as_str().map(str::to_owned)))
                .json(named)?
                .insert(self.connection, "netns_row")?;
        }
        for row in &interval.lost {
            Values::default()
                .put(self.interval_id)
                .put(row.probe.word().to_owned())
                .number(row.count)
                .insert(self.connection, "lost_row")?;
        }
        for (n, finding) in (0_u64..).zip(&interval.findings) {
            self.row(n)
                .put(finding.severity.word().to_owned())
                .put(finding.id.to_owned())
                .put(escape(&finding.title))
                .put(escape(&finding.evidence.join("; ")))
                .json(finding)?
                .insert(self.connection, "finding_row")?;
        }
        for (n, event) in (0_u64..).zip(&interval.events) {
            self.event(n, event)?;
        }
        Ok(())
    }

    /// Each row begins with its interval and its number.
    fn row(&self, n: impl Into<u64>) -> Values {
        Values::default().put(self.interval_id).number(n)
    }

    fn process(&self, n: u64, row: &ProcessSums) -> rusqlite::Result<()> {
        let ages = row.residence.histogram();
        let quantiles = row.residence.quantiles();
        self.row(n)
            .put(self.who(row.process.as_ref())?)
            .text(no_process(row.key))
            .counts(&row.counts)
            .reuse(&row.reuse)
            .number(ages.map_or(0, |ages| ages.count))
            .optional(quantiles.map(|it| it.p50_ns))
            .optional(quantiles.map(|it| it.p99_ns))
            .optional(quantiles.map(|it| it.max_ns))
            .text(ages.map(histogram_json))
            .insert(self.connection, "process_row")?;
        for port in &row.ports {
            let shown = PortRow::new(port.op, port.exact, &port.totals);
            self.row(n)
                .word(port.op)
                .put(port.exact)
                .number(port.totals.count)
                .number(port.totals.failures)
                .number(port.totals.untimed)
                .optional(shown.p50_ns)
                .optional(shown.p99_ns)
                .number(port.totals.max_ns)
                .put(histogram_json(&port.totals))
                .insert(self.connection, "port_row")?;
        }
        Ok(())
    }

    fn event(&self, n: u64, event: &Event) -> rusqlite::Result<()> {
        let address = |address: Option<std::net::SocketAddr>| address.map(|it| it.to_string());
        let values = self
            .row(n)
            .number(event.ts.0)
            .number(event.mono_ns)
            .word(event.event)
            .optional(event.netns.map(u64::from))
            .word(event.side)
            .text(address(event.local))
            .text(address(event.remote))
            .put(self.who(event.process.as_ref())?)
            .text(event.unattributed.map(|why| why.word().to_owned()));
        let none = |values: Values, count| (0..count).fold(values, |it, _| it.text(None));
        let values = match &event.facts {
            EventFacts::Reset(facts) => {
                let values = values
                    .word(facts.direction)
                    .word(facts.reason)
                    .text(facts.kernel_reason.as_ref().map(ToString::to_string));
                let state = facts.state.map(|state| state.word().to_owned());
                flow(none(values, 4).text(state), &facts.flow).optional(facts.after_close_ns)
            }
            EventFacts::Abort(facts) => {
                let values = values.text(None).word(facts.reason).text(None);
                let state = facts.state.map(|state| state.word().to_owned());
                none(flow(none(values, 4).text(state), &facts.flow), 1)
            }
            EventFacts::TimeWait(facts) => {
                let state = facts.from.map(|state| state.word().to_owned());
                none(flow(none(values, 7).text(state), &facts.flow), 1)
            }
            EventFacts::PortAlloc(facts) => none(
                none(values, 3)
                    .word(facts.op)
                    .number(facts.requested)
                    .put(facts.result.to_string())
                    .optional(facts.latency_ns),
                8,
            ),
            EventFacts::NoAddress(facts) => none(
                none(values, 3)
                    .word(facts.op)
                    .text(None)
                    .put(facts.result.to_string()),
                9,
            ),
            // These are only counted: `Notable` keeps none of them.
            _ => none(values, 15),
        };
        values.insert(self.connection, "event_row")
    }

    /// The id of a process. Inserts a row for it if it has none yet.
    fn who(&self, process: Option<&Process>) -> rusqlite::Result<Option<i64>> {
        let Some(process) = process else {
            return Ok(None);
        };
        // Which of its threads acted last is not part of its identity.
        let process = &Process {
            thread_comm: Default::default(),
            ..process.clone()
        };
        let json = serde_json::to_string(process)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let start = integer(process.key.start_boot_ns);
        let known: Option<(i64, i64)> = self
            .connection
            .prepare_cached(
                "SELECT id, last_interval_id FROM who WHERE pid = ? AND start_boot_ns = ? AND json = ?",
            )?
            .query_row((process.key.tgid, start, &json), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        if let Some((id, last)) = known {
            if last != self.interval_id {
                self.connection
                    .prepare_cached("UPDATE who SET last_interval_id = ? WHERE id = ?")?
                    .execute([self.interval_id, id])?;
            }
            return Ok(Some(id));
        }
        let details = process.details.as_deref();
        let place = details.and_then(|details| details.cgroup.as_ref());
        let shown = |text: Option<&String>| text.map(|text| escape(text));
        Values::default()
            .put(None::<i64>)
            .number(process.key.tgid)
            .put(start)
            .put(escape(&process.comm.text()))
            .optional(process.uid.map(u64::from))
            .text(shown(details.and_then(|details| details.exe.as_ref())))
            .text(shown(place.map(|place| &place.path)))
            .text(shown(place.and_then(|place| place.container_id.as_ref())))
            .text(shown(place.and_then(|place| place.pod_uid.as_ref())))
            .text(shown(place.and_then(|place| place.unit.as_ref())))
            .put(json)
            .put(self.interval_id)
            .insert(self.connection, "who")?;
        Ok(Some(self.connection.last_insert_rowid()))
    }
}

fn flow(values: Values, flow: &Flow) -> Values {
    values
        .optional(flow.connection_ns)
        .optional(flow.idle_ns)
        .optional(flow.peer_silent_ns)
        .optional(flow.send_idle_ns)
        .optional(flow.bytes_sent)
        .optional(flow.bytes_received)
}

/// Why there is no process; `None` if there is one.
fn no_process(key: ProcessKey) -> Option<String> {
    (key.tgid == 0).then(|| {
        let why = unattributed(key).unwrap_or(Unattributed::Unknown);
        why.word().to_owned()
    })
}
