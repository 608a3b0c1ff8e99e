//! Several files, merged by time: the parts of one recording, and recordings of several hosts.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;

use twtrace_core::event::{Moment, Timestamp};
use twtrace_core::filter::Filter;
use twtrace_core::model::observation::{Observation, ObservationData};
use twtrace_core::model::tally::TracingStart;

use super::entry::{Entry, Start};
use super::error::ReadError;
use super::reader::{RecordingReader, refuse_twice};
use super::window::{Extent, Window, WindowError};

/// Entries are in order, except events that waited for a record that may replace them. Times go back by this much at
/// most, nanoseconds, and usually by much less.
const DISORDER_NS: u64 = 10_000_000_000;

/// Recordings that are read together.
pub struct Recordings {
    all: Vec<Recording>,
    errors: Vec<ReadError>,
    /// Length of all files, bytes, if it is known.
    length_bytes: Option<u64>,
}

/// One recording: what one twtrace wrote, in one or more parts.
struct Recording {
    start: Start,
    tracing_start: TracingStart,
    /// One of its files.
    path: PathBuf,
    /// When it begins, whichever part of it is requested, and the latest moment that was read.
    extent: Extent,
    /// Whether its first part, or one between, is missing.
    lacks_parts: bool,
    /// Whether one between is missing.
    lacks_between: bool,
    /// Whether it lacks some of what happened between its start and its end. Totals do not match then.
    is_excerpt: bool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    parts: VecDeque<RecordingReader>,
    /// Whether there is more that is later than what is requested.
    has_later: bool,
    head: Option<Entry>,
    /// Time of the first entry that was read, whether it is requested or not.
    first_read: Option<Timestamp>,
    /// Entries read ahead, which come before `head`.
    first: VecDeque<Entry>,
    read_bytes: u64,
}

impl Recordings {
    /// Opens files, in any order; `-` is standard input.
    ///
    /// # Errors
    /// If one of them can't be opened, or does not begin as a recording does.
    pub fn open(paths: &[PathBuf], window: Window) -> Result<Self, ReadError> {
        let readers = paths
            .iter()
            .map(|path| RecordingReader::open(path))
            .collect::<Result<Vec<_>, _>>()?;
        refuse_twice(&readers)?;
        let lengths = paths.iter().map(|path| {
            let about = fs::metadata(path).ok()?;
            about.is_file().then_some(about.len())
        });
        Ok(Self {
            length_bytes: lengths.sum(),
            ..Self::of(readers, window)
        })
    }

    /// The same for files that are already open.
    pub fn of(readers: Vec<RecordingReader>, window: Window) -> Self {
        let mut grouped: Vec<Vec<RecordingReader>> = Vec::new();
        for reader in readers {
            let is_same =
                |parts: &&mut Vec<RecordingReader>| parts[0].start().is_of(reader.start());
            match grouped.iter_mut().find(is_same) {
                Some(parts) => parts.push(reader),
                None => grouped.push(vec![reader]),
            }
        }
        let mut errors = Vec::new();
        let all = grouped
            .into_iter()
            .map(|parts| Recording::new(parts, window, &mut errors))
            .collect();
        Self {
            all,
            errors,
            length_bytes: None,
        }
    }

    /// How each recording began.
    pub fn tracing_starts(&self) -> impl ExactSizeIterator<Item = &TracingStart> {
        self.all.iter().map(|recording| &recording.tracing_start)
    }

    /// The filter of each recording.
    ///
    /// # Errors
    /// If one has a filter that this version does not know: what that hid would be shown.
    pub fn filters(&self) -> Result<Vec<Filter>, ReadError> {
        let filter = |recording: &Recording| {
            let found = recording.start.filter();
            found.map_err(|why| ReadError::Filter {
                path: recording.path.clone(),
                why,
            })
        };
        self.all.iter().map(filter).collect()
    }

    /// For each recording without data in the requested time, why it has none; the others are as they were. Empty after
    /// read errors: of damaged recordings that is not known. To be called before [`Self::next`].
    pub fn empty_windows(&mut self) -> Vec<WindowError> {
        if self.errors.is_empty() {
            let all = self.all.iter_mut();
            all.filter_map(Recording::empty_window).collect()
        } else {
            Vec::new()
        }
    }

    /// The first line of each recording.
    pub fn starts(&self) -> impl Iterator<Item = &Start> {
        self.all.iter().map(|recording| &recording.start)
    }

    /// Whether parts of some recording are missing.
    pub fn lack_parts(&self) -> bool {
        self.all.iter().any(|recording| recording.lacks_parts)
    }

    /// Whether totals and audit of some recording are left out, because they cover more than what is read.
    pub fn has_excerpts(&self) -> bool {
        self.all.iter().any(|recording| recording.is_excerpt)
    }

    /// The next entry, with the number of its recording; `None` when all recordings have ended or can't be read
    /// further.
    pub fn next(&mut self) -> Option<(usize, Entry)> {
        let heads = self.all.iter().enumerate();
        let (index, _) = heads
            .filter_map(|(index, recording)| Some((index, recording.at()?)))
            .min_by_key(|(_, at)| at.ts)?;
        let entry = self.all[index].take(&mut self.errors)?;
        Some((index, entry))
    }

    /// When the next entry was reported; `None` at the end.
    pub fn peek(&self) -> Option<Moment> {
        let moments = self.all.iter().filter_map(Recording::at);
        moments.min_by_key(|at| at.ts)
    }

    /// Where the requested part of each recording ends, if the recording goes on after it. To be called once [`Self::next`]
    /// has returned `None`.
    pub fn ends_of_windows(&self) -> impl Iterator<Item = Option<Moment>> {
        self.all.iter().map(Recording::end_of_window)
    }

    /// Whether each of them is read only in part.
    pub fn excerpts(&self) -> impl Iterator<Item = bool> {
        self.all.iter().map(|recording| recording.is_excerpt)
    }

    /// The fraction that has been read; `None` if it is not known.
    pub fn progress(&self) -> Option<f64> {
        let length = self.length_bytes.filter(|length| *length > 0)?;
        let read: u64 = self.all.iter().map(Recording::read_bytes).sum();
        Some(read as f64 / length as f64)
    }

    /// What could not be read, once [`Self::next`] has returned `None`.
    pub fn into_errors(self) -> Vec<ReadError> {
        self.errors
    }
}

impl Recording {
    /// `parts` has at least one element.
    fn new(mut parts: Vec<RecordingReader>, window: Window, errors: &mut Vec<ReadError>) -> Self {
        parts.sort_by_key(|part| part.start().part);
        let numbers = parts.iter().map(|part| part.start().part);
        let is_whole = (1..).zip(numbers).all(|(expected, part)| expected == part);
        let mut pairs = parts.windows(2);
        let lacks_between = pairs.any(|pair| pair[1].start().part != pair[0].start().part + 1);
        let start: Start = parts[0].start().clone();
        let mut recording = Self {
            tracing_start: start.tracing_start(),
            path: parts[0].path().to_owned(),
            extent: Extent {
                began: start.ts,
                ended: start.ts,
                is_cut: false,
            },
            lacks_parts: !is_whole,
            lacks_between,
            is_excerpt: !is_whole || !window.is_open(),
            since: window.since.map(|bound| bound.resolve(start.ts)),
            until: window.until.map(|bound| bound.resolve(start.ts)),
            start,
            parts: parts.into(),
            has_later: false,
            head: None,
            first_read: None,
            first: VecDeque::new(),
            read_bytes: 0,
        };
        recording.begin(errors);
        if recording.start.part > 1
            && let Some(first) = recording.at()
        {
            recording.tracing_start.at = first;
        }
        if recording.start.part > 1
            && let Some(began) = recording.first_read
        {
            recording.extent.began = began;
        }
        if let Some(since) = recording.since
            && since > recording.tracing_start.at.ts
        {
            let later_ns = since.0 - recording.tracing_start.at.ts.0;
            recording.tracing_start.at = Moment {
                ts: since,
                mono_ns: recording.tracing_start.at.mono_ns.saturating_add(later_ns),
            };
        }
        recording
    }

    /// Advances to the first entry to return. Of the samples before it, the latest of each kind comes first: rates
    /// start there.
    fn begin(&mut self, errors: &mut Vec<ReadError>) {
        let (mut sockets, mut namespaces) = (None, None);
        loop {
            self.advance(errors);
            let Some(since) = self.since else {
                break;
            };
            match &self.head {
                Some(entry) if entry.at().ts < since => {}
                _ => break,
            }
            if let Some(Entry::Observation(observation)) = self.head.take() {
                match observation.data {
                    ObservationData::Sockets(_) => sockets = Some(observation),
                    ObservationData::Namespaces(_) => namespaces = Some(observation),
                    _ => {}
                }
            }
        }
        let samples = [sockets, namespaces].into_iter().flatten();
        self.first = samples.map(Entry::Observation).collect();
    }

    fn empty_window(&mut self) -> Option<WindowError> {
        if self.head.is_some() || self.since.or(self.until).is_none() {
            return None;
        }
        let (path, since, until) = (self.path.clone(), self.since, self.until);
        // What is later is not read for a message: it may be long, or a pipe that does not end.
        let extent = Extent {
            is_cut: self.has_later,
            ..self.extent
        };
        if let (Some(since), Some(until)) = (since, until)
            && until <= since
        {
            return Some(WindowError::Reversed {
                path,
                since,
                until,
                extent,
            });
        }
        let is_outside = until.is_some_and(|until| until <= extent.began)
            || since.is_some_and(|since| since > extent.ended);
        // It may be the time of a part that is missing.
        let may_be_missing = self.lacks_between
            || self.lacks_parts && since.is_none_or(|since| since < extent.began);
        Some(if is_outside || may_be_missing {
            WindowError::Outside {
                path,
                since,
                until,
                extent,
            }
        } else {
            WindowError::Quiet {
                path,
                since,
                until,
                extent,
            }
        })
    }

    fn end_of_window(&self) -> Option<Moment> {
        let until = self.until.filter(|until| self.extent.ended >= *until)?;
        let start = self.tracing_start.at;
        let after_ns = until.0.checked_sub(start.ts.0)?;
        Some(Moment {
            ts: until,
            mono_ns: start.mono_ns.saturating_add(after_ns),
        })
    }

    /// When the next entry was reported.
    fn at(&self) -> Option<Moment> {
        self.first.front().or(self.head.as_ref()).map(Entry::at)
    }

    fn take(&mut self, errors: &mut Vec<ReadError>) -> Option<Entry> {
        if let Some(first) = self.first.pop_front() {
            return Some(first);
        }
        let head = self.head.take();
        self.advance(errors);
        head
    }

    /// Reads up to the next entry to return.
    fn advance(&mut self, errors: &mut Vec<ReadError>) {
        self.head = loop {
            let Some(part) = self.parts.front_mut() else {
                break None;
            };
            let next = part.next();
            if let Ok(Some(entry)) = &next {
                let at = entry.at().ts;
                self.extent.ended = self.extent.ended.max(at);
                self.first_read.get_or_insert(at);
            }
            match next {
                Ok(Some(entry)) if self.is_wanted(&entry) => break Some(entry),
                Ok(Some(entry)) => {
                    let at = entry.at().ts;
                    let is_past = |until: Timestamp| at.0 >= until.0.saturating_add(DISORDER_NS);
                    if self.until.is_some_and(is_past) {
                        self.parts.clear();
                        self.has_later = true;
                    }
                }
                Ok(None) => {
                    let ended = self.parts.pop_front();
                    self.read_bytes += ended.map_or(0, |part| part.read_bytes());
                }
                Err(error) => {
                    errors.push(error);
                    // Entries after a gap would be counted as if there were none.
                    self.parts.clear();
                }
            }
        };
    }

    fn is_wanted(&self, entry: &Entry) -> bool {
        let is_late = self.until.is_some_and(|until| entry.at().ts >= until);
        let is_early = self.since.is_some_and(|since| entry.at().ts < since);
        match entry {
            Entry::Start(_) => false,
            Entry::Event(_) | Entry::Lost(_) => !is_late && !is_early,
            Entry::Observation(observation) => {
                let Observation { data, .. } = &**observation;
                // These count from the start of tracing.
                let is_of_all = matches!(
                    data,
                    ObservationData::Totals(_)
                        | ObservationData::Audit(_)
                        | ObservationData::Stacks(_)
                );
                !(is_late || self.is_excerpt && is_of_all)
            }
        }
    }

    fn read_bytes(&self) -> u64 {
        self.read_bytes + self.parts.front().map_or(0, RecordingReader::read_bytes)
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
