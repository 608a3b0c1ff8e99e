//! stub
use crate::event::{Event, Lost};
use crate::filter::Filter;
use crate::model::observation::{KernelTotals, Observation};
use crate::model::tally::Opening;
#[derive(Debug)]
pub struct SeriesLimits {
    pub max_processes: usize,
    pub max_destinations: usize,
}
#[derive(Debug)]
pub struct Series;
impl Series {
    pub fn new(_: &Opening, _: SeriesLimits) -> Self {
        Self
    }
    pub fn set_filter(&mut self, _: Filter) {}
    pub fn any_event(&mut self, _: &Event) {}
    pub fn event(&mut self, _: &Event) {}
    pub fn lost(&mut self, _: &Lost) {}
    pub fn observe(&mut self, _: &Observation) {}
    pub fn add_totals(&mut self, _: &KernelTotals) {}
    pub fn turn(&mut self) {}
}
