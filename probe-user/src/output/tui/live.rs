//! The current state of all figures. A pause keeps a copy of it.

use std::collections::HashMap;

use twtrace_core::event::Event;
use twtrace_wire::ProcessKey;

use super::app::ReportSample;
use super::history::PointHistory;
use super::rates::{self, Rates, Totals};
use super::tail::Tail;
use super::towards::{DestinationKey, Towards};

/// The last sample, the rates derived from it, and the newest events.
#[derive(Clone, Debug, Default)]
pub struct LiveState {
    pub sample: Option<ReportSample>,
    /// Rates of processes; empty before the second sample.
    pub process_rates: HashMap<ProcessKey, Rates>,
    /// TIME_WAITs per second by destination; empty before the second sample.
    pub destination_rates: HashMap<DestinationKey, f64>,
    /// Rates of the host.
    pub history: PointHistory,
    /// The newest events.
    pub tail: Tail,
    /// Events of each process by destination.
    pub towards: Towards,
    process_totals: HashMap<ProcessKey, Totals>,
    destination_totals: HashMap<DestinationKey, u64>,
}

impl LiveState {
    /// Takes an event.
    pub fn event(&mut self, event: &Event, host: Option<&str>) {
        self.tail.push(event, host);
        self.towards.apply(event);
    }

    /// Takes a sample. If it is earlier than the last one, a replay went back: later data is dropped.
    pub fn sample(&mut self, sample: ReportSample) {
        if let Some(last) = &self.sample
            && sample.mono_ns < last.mono_ns
        {
            *self = Self::default();
        }
        let seconds = self
            .sample
            .as_ref()
            .map(|last| (sample.mono_ns - last.mono_ns) as f64 / 1e9)
            .filter(|seconds| *seconds > 0.0);
        let processes = rates::totals(&sample.report);
        let destinations: HashMap<DestinationKey, u64> = sample
            .report
            .destinations
            .iter()
            .map(|row| (DestinationKey::of(row), row.time_wait))
            .collect();
        if let Some(seconds) = seconds {
            let (rates, all) = rates::between(&self.process_totals, &processes, seconds);
            self.process_rates = rates;
            self.history.push(all);
            self.destination_rates = destinations
                .iter()
                .map(|(key, now)| {
                    let before = self.destination_totals.get(key).copied().unwrap_or(0);
                    (*key, now.saturating_sub(before) as f64 / seconds)
                })
                .collect();
        }
        self.towards.sample(seconds);
        self.process_totals = processes;
        self.destination_totals = destinations;
        self.sample = Some(sample);
    }
}
