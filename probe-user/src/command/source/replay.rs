//! Reads recordings instead of tracing the host: their content is reported and counted as if it were live.

use anyhow::{Error, Result};
use twtrace_core::filter::Filter;
use twtrace_core::model::tally::Tally;

use super::names::Names;
use super::netns_names::NetnsNames;
use super::summary::{Gathered, Summary};
use crate::cli::{FilterArgs, FromArgs};
use crate::command::notice;
use crate::output::progress::Progress;
use crate::record::entry::Entry;
use crate::record::merge::Recordings;
use crate::record::window::WindowError;

/// Recordings, and the filter that applies to them.
pub struct Replay {
    pub recordings: Recordings,
    /// Which events pass.
    pub filter: Filter,
    /// Names that occur, to be compared with the filter's; `None` if it has none.
    pub names: Option<Names>,
}

impl Replay {
    /// Opens the files.
    ///
    /// # Errors
    /// If one of them can't be opened, or the filter asks for what no recording has.
    pub fn open(from: &FromArgs, filter: &FilterArgs) -> Result<Self> {
        let names = Names::for_filter(filter);
        let mut named = NetnsNames::default();
        let filter = filter.resolve_for_recording(|name| named.find(name, &from.from))?;
        let mut recordings = Recordings::open(&from.from, from.window())?;
        let empty = recordings.empty_windows();
        let is_quiet = |window: &WindowError| matches!(window, WindowError::Quiet { .. });
        // If one of them was recorded at that time, the answer is that nothing happened.
        if empty.len() == recordings.tracing_starts().len()
            && !empty.iter().any(is_quiet)
            && let Some(first) = empty.first()
        {
            return Err(first.clone().into());
        }
        for without in empty {
            notice(&without.to_string());
        }
        Ok(Self {
            recordings,
            filter,
            names,
        })
    }

    /// An empty tally for each recording: it counts what passes the recording's own filter and the current one.
    ///
    /// # Errors
    /// If the filter of a recording is not known.
    pub fn tallies(&self) -> Result<Vec<Tally>> {
        let recorded = self.recordings.filters()?.into_iter();
        let tallies = self.recordings.tracing_starts().zip(recorded);
        Ok(tallies
            .zip(self.recordings.excerpts())
            .map(|((tracing_start, recorded), is_excerpt)| {
                let filter = self.filter.clone().within(Some(recorded));
                let tally = Tally::new(tracing_start.clone(), filter);
                if is_excerpt {
                    tally.of_excerpt()
                } else {
                    tally
                }
            })
            .collect())
    }

    /// Counts everything.
    pub fn count(self) -> Result<Gathered> {
        let mut tallies = self.tallies()?;
        let (mut recordings, mut names) = (self.recordings, self.names);
        if recordings.has_excerpts() {
            notice(
                "only a part of what was recorded is read: figures are counted from its events, without an audit; port \
                 pools and the number of TIME_WAITs that exist are those of its samples",
            );
        }
        let mut progress = Progress::new(false);
        while let Some((index, entry)) = recordings.next() {
            if let Some(names) = &mut names {
                note(names, &entry);
            }
            if let Some(tally) = tallies.get_mut(index) {
                apply(tally, entry);
            }
            progress.tick(|| recordings.progress());
        }
        drop(progress);
        for (tally, end) in tallies.iter_mut().zip(recordings.ends_of_windows()) {
            if let Some(end) = end {
                tally.reached(end);
            }
        }
        let tallies = tallies.into_iter();
        let mut outcome = outcome(recordings);
        // What follows damage may have the namespace.
        if let (Some(names), Ok(())) = (&names, &outcome) {
            outcome = names.check_netns(&self.filter.netns).map_err(Error::from);
        }
        Ok(Gathered {
            summaries: tallies
                .map(|tally| Summary::Counted(Box::new(tally)))
                .collect(),
            names,
            command_exit_code: None,
            outcome,
        })
    }
}

/// Notes the names that an entry has.
pub fn note(names: &mut Names, entry: &Entry) {
    match entry {
        Entry::Start(_) | Entry::Lost(_) => {}
        Entry::Event(event) => names.event(event),
        Entry::Observation(observation) => names.observation(observation),
    }
}

/// Passes an entry to a tally.
pub fn apply(tally: &mut Tally, entry: Entry) {
    match entry {
        Entry::Start(_) => {}
        Entry::Event(event) => tally.recorded_event(&event),
        Entry::Lost(lost) => tally.lost(&lost),
        Entry::Observation(observation) => tally.observe(*observation),
    }
}

/// The first read error; the others are printed at once.
pub fn outcome(recordings: Recordings) -> Result<()> {
    let mut errors = recordings.into_errors().into_iter();
    let Some(first) = errors.next() else {
        return Ok(());
    };
    for further in errors {
        notice(&format!("{:#}", Error::from(further)));
    }
    Err(first.into())
}
