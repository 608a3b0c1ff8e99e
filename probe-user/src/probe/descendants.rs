//! Follows a command: which processes are the command and its descendants.

use aya::maps::{HashMap, MapData, MapError};
use twtrace_wire::ProcessKey;

use super::program_counters::{map_error, missing};
use super::{Attached, ProbeError, Question, Tier};

const MAP: &str = "DESCENDANTS";
const PROGRAM: &str = "follow_children";

impl Attached {
    /// While `follows` is set, marks processes that this process forks, and all of their descendants, as followed.
    /// Processes that are already followed stay so. The probes must have been attached with `follows_command`.
    ///
    /// # Errors
    /// If no hook sees new processes, or this kernel can't run the program that sets this (before 5.10).
    pub fn follow_own_children(&mut self, follows: bool) -> Result<(), ProbeError> {
        let choice = self
            .tiers
            .iter()
            .find(|choice| choice.question == Question::Descendants);
        match choice {
            Some(choice) if choice.tier != Tier::None => {}
            Some(choice) => {
                let refusals = choice.refused.iter();
                let refusals = refusals.map(|(tier, why)| format!("{}: {why}", tier.name()));
                let refusals = refusals.collect::<Vec<_>>().join("; ");
                return Err(ProbeError::NoDescendants(refusals));
            }
            None => return Err(ProbeError::NoDescendants("not attached".to_owned())),
        }
        self.run(PROGRAM, i32::from(follows))
    }

    /// Whether a process that has acted is followed. The answer never changes: a process is marked before it first
    /// runs.
    pub fn is_descendant(&self, process: &ProcessKey) -> Result<bool, ProbeError> {
        match self.descendant_map()?.get(process, 0) {
            Ok(_) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(map_error(MAP, &error)),
        }
    }

    /// All processes that are or were followed.
    pub fn descendants(&self) -> Result<Vec<ProcessKey>, ProbeError> {
        self.descendant_map()?
            .keys()
            .collect::<Result<_, _>>()
            .map_err(|error| map_error(MAP, &error))
    }

    fn descendant_map(&self) -> Result<HashMap<&MapData, ProcessKey, u8>, ProbeError> {
        let map = self.ebpf.map(MAP).ok_or_else(|| missing(MAP))?;
        map.try_into()
            .map_err(|error: MapError| map_error(MAP, &error))
    }
}
