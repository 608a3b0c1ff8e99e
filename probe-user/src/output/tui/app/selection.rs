//! The selected row of each pane.

use super::super::layout::Pane;
use super::super::view::ProcessLine;
use super::App;

impl App {
    /// Number of rows of a pane.
    pub(super) fn length(&self, pane: Pane) -> usize {
        match pane {
            Pane::Processes => self.view.processes.len(),
            Pane::Destinations => self.view.destinations.len(),
            Pane::Events => self.events().len(),
            Pane::Findings => {
                let sample = self.shown().sample.as_ref();
                sample.map_or(0, |sample| sample.findings.len())
            }
            Pane::Timeline | Pane::Detail => 0,
        }
    }

    /// Index of the selected row of a pane.
    pub(in crate::output::tui) fn index(&self, pane: Pane) -> usize {
        let last = self.length(pane).saturating_sub(1);
        match pane {
            Pane::Processes => self
                .process_at
                .and_then(|at| {
                    let lines = &self.view.processes;
                    lines.iter().position(|line| line.item() == at)
                })
                .unwrap_or(0),
            Pane::Destinations => self
                .destination_at
                .and_then(|at| {
                    let lines = &self.view.destinations;
                    lines.iter().position(|line| line.target == at)
                })
                .unwrap_or(0),
            // If the selected event is no longer kept, the oldest is selected.
            Pane::Events => match self.event_at {
                Some(number) => self
                    .events()
                    .partition_point(|numbered| numbered.number < number)
                    .min(last),
                None => last,
            },
            Pane::Findings => self.finding_at.min(last),
            Pane::Timeline | Pane::Detail => 0,
        }
    }

    pub(super) fn step(&mut self, by: isize) {
        if self.focus == Pane::Detail {
            let offset = &mut self.offsets[Pane::Detail as usize];
            *offset = offset.saturating_add_signed(by);
            return;
        }
        self.select(self.index(self.focus).saturating_add_signed(by));
    }

    pub(super) fn select(&mut self, index: usize) {
        let index = index.min(self.length(self.focus).saturating_sub(1));
        match self.focus {
            Pane::Processes => {
                let lines = &self.view.processes;
                self.process_at = lines.get(index).map(ProcessLine::item);
            }
            Pane::Destinations => {
                self.destination_at = self.view.destinations.get(index).map(|line| line.target);
            }
            Pane::Events => {
                let events = self.events();
                let is_newest = index + 1 >= events.len();
                self.event_at = if is_newest {
                    None
                } else {
                    events.get(index).map(|numbered| numbered.number)
                };
            }
            Pane::Findings => self.finding_at = index,
            Pane::Timeline | Pane::Detail => {}
        }
    }
}
