//! What a source contains: a report, a timeline and a diagnosis for each host.

use anyhow::Result;
use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::doctor::facts::DoctorFacts;
use twtrace_core::doctor::what_if::supposed::Supposed;
use twtrace_core::doctor::what_if::what_if;
use twtrace_core::filter::Filter;
use twtrace_core::model::namespace::NamespaceSamples;
use twtrace_core::model::report::Report;
use twtrace_core::model::tally::Tally;
use twtrace_core::model::timeline::Timeline;

use super::names::Names;
use crate::cli::FilterArgs;
use crate::command::notice;
use crate::store::merge::Merged;

/// The figures of a source.
#[derive(Debug)]
pub struct Gathered {
    /// One for each host, in the order of the files.
    pub summaries: Vec<Summary>,
    /// Names that exist, to be compared with the filter's; `None` if it has none.
    pub names: Option<Names>,
    /// Exit code of the command, if one was run.
    pub command_exit_code: Option<u8>,
    /// What could not be read or kept. The summaries are shown regardless.
    pub outcome: Result<()>,
}

/// Prints a notice for each name of the filter that matched nothing.
pub fn print_unmatched(names: Option<&Names>, filter: &FilterArgs, hosts: &[Views]) {
    let reports: Vec<&Report> = hosts.iter().map(|host| &host.report).collect();
    for unmatched in names
        .map(|names| names.unmatched(filter, &reports))
        .unwrap_or_default()
    {
        notice(&unmatched);
    }
}

/// The figures of one host.
#[derive(Debug)]
pub enum Summary {
    /// Counted from events and observations.
    Counted(Box<Tally>),
    /// Combined intervals of a history.
    Stored {
        merged: Box<Merged>,
        /// Settings and counters of namespaces at the beginning and at the end.
        samples: (NamespaceSamples, NamespaceSamples),
    },
}

impl Views {
    /// Of what was counted so far.
    pub fn so_far(tally: &Tally) -> Self {
        let filter = tally.filter();
        let facts = DoctorFacts::new(tally.report(), tally.namespaces(), filter)
            .with_samples(tally.end_samples());
        Self {
            timeline: tally.timeline(),
            diagnosis: Diagnosis::new(&facts, filter),
            report: facts.report,
            filter: filter.clone(),
        }
    }
}

impl Summary {
    /// The report, the timeline and the diagnosis, in little memory.
    pub fn into_views(self) -> Views {
        self.into_views_supposing(None)
    }

    /// The same, with what port pools would hold under other settings.
    pub fn into_views_supposing(self, supposed: Option<&Supposed>) -> Views {
        let (timeline, facts, filter) = match self {
            Self::Counted(tally) => {
                let (timeline, filter) = (tally.timeline(), tally.filter().clone());
                let samples = tally.namespaces();
                let of_samples = tally.end_samples();
                let facts = DoctorFacts::new(tally.into_report(), samples, &filter)
                    .with_samples(of_samples);
                (timeline, facts, filter)
            }
            Self::Stored { merged, samples } => {
                let timeline = merged.timeline.clone();
                let (facts, filter) = merged.into_facts(samples);
                (timeline, facts, filter)
            }
        };
        Views {
            timeline,
            diagnosis: Diagnosis {
                what_if: supposed.map(|supposed| what_if(&facts, supposed)),
                ..Diagnosis::new(&facts, &filter)
            },
            report: facts.report,
            filter,
        }
    }
}

/// What a host's figures are shown as.
#[derive(Debug)]
pub struct Views {
    pub report: Report,
    /// What happened when.
    pub timeline: Timeline,
    /// The findings, by `report`.
    pub diagnosis: Diagnosis,
    /// The filter that everything passed.
    pub filter: Filter,
}
