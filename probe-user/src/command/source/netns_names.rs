//! Names of network namespaces in recordings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use twtrace_core::event::text::escape;
use twtrace_core::model::observation::ObservationData;

use super::names::listed;
use crate::record::entry::Entry;
use crate::record::merge::Recordings;
use crate::record::window::Window;

/// Names that are kept.
const MAX_NAMES: usize = 4_096;
/// Namespaces of one name.
const MAX_NUMBERS: usize = 1_024;

/// Inode numbers by name as tables show it, read when the first name is asked for.
#[derive(Debug, Default)]
pub struct NetnsNames(Option<BTreeMap<String, BTreeSet<u32>>>);

impl NetnsNames {
    /// The namespaces of this name in a recording.
    ///
    /// # Errors
    /// If there is none, if there are several recordings, whose numbers have nothing to do with each other, or if the
    /// recording can't be read twice.
    pub fn find(&mut self, name: &str, paths: &[PathBuf]) -> Result<Vec<u32>> {
        let names = match &mut self.0 {
            Some(names) => names,
            unread => unread.insert(read(paths, name)?),
        };
        if let Some(numbers) = names.get(name) {
            return Ok(numbers.iter().copied().collect());
        }
        bail!(
            "--netns {}: no network namespace has this name in it; there are {}",
            escape(name),
            listed(names.keys().cloned())
        )
    }
}

/// Names may be given late: everything is read.
fn read(paths: &[PathBuf], name: &str) -> Result<BTreeMap<String, BTreeSet<u32>>> {
    if let Some(path) = paths.iter().find(|path| !path.is_file()) {
        let what = if *path == Path::new("-") {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        bail!(
            "--netns {}: {what} can't be read twice, to find the name first: write the namespace's inode number",
            escape(name)
        );
    }
    let mut recordings = Recordings::open(paths, Window::default())?;
    if recordings.tracing_starts().len() > 1 {
        bail!(
            "--netns {}: of several recordings each numbers its namespaces by itself: read them one by one",
            escape(name)
        );
    }
    let mut names: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    while let Some((_, entry)) = recordings.next() {
        if let Entry::Observation(observation) = entry
            && let ObservationData::Names(found) = observation.data
        {
            for named in found {
                let short = named.short();
                if short != name && names.len() >= MAX_NAMES && !names.contains_key(&short) {
                    continue;
                }
                let numbers = names.entry(short).or_default();
                if numbers.len() < MAX_NUMBERS {
                    numbers.insert(named.netns);
                }
            }
        }
    }
    Ok(names)
}
