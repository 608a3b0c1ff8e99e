//! What is measured under a load: a tracer, with its options.

use std::path::{Path, PathBuf};

use super::tracer::{Setup, TracerKind};

/// A tracer and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub who: TracerKind,
    /// What differs from the plain tracer, for its title; empty if nothing does.
    pub variant: &'static str,
    /// Options of twtrace besides the common ones.
    pub options: &'static [&'static str],
    /// Another build of twtrace, if it is measured in place of the usual one.
    pub other_build: Option<PathBuf>,
}

impl Subject {
    /// A tracer without special options.
    pub fn plain(who: TracerKind) -> Self {
        Self {
            who,
            variant: "",
            options: &[],
            other_build: None,
        }
    }

    /// The same of another build.
    pub fn of_build(&self, program: &Path) -> Self {
        Self {
            other_build: Some(program.to_owned()),
            ..self.clone()
        }
    }

    /// Whether the other is the same tracer with the same options, of any build.
    pub fn differs_by_build_only(&self, other: &Self) -> bool {
        (self.who, self.options) == (other.who, other.options)
    }

    /// Name in tables.
    pub fn title(&self) -> String {
        let mut title = self.who.title().to_owned();
        if !self.variant.is_empty() {
            title += &format!(", {}", self.variant);
        }
        if self.other_build.is_some() {
            title += ", the other build";
        }
        title
    }

    /// What it is started with.
    pub fn setup(&self, common: &Setup) -> Setup {
        let mut setup = common.clone();
        let options = self.options.iter().map(|option| (*option).to_owned());
        setup.options.extend(options);
        if let Some(program) = &self.other_build {
            setup.twtrace.clone_from(program);
        }
        setup
    }
}

/// The tiers that a kernel may have: what is tried first on each kernel, and the fallbacks if others are refused.
pub const TIERS: [(&str, &[&str]); 4] = [
    ("fentry", &[]),
    ("kprobes and timers", &["--without", "fentry"]),
    ("kprobes", &["--without", "fentry,timers"]),
    ("tracepoints", &["--without", "fentry,kprobe"]),
];

/// No tracer, each tier beside empty programs on its hooks, and these peers.
pub fn tiers(peers: &[TracerKind]) -> Vec<Subject> {
    let ours = TIERS.iter().flat_map(|(variant, options)| {
        [TracerKind::Empty, TracerKind::Report].map(|who| Subject {
            who,
            variant,
            options,
            other_build: None,
        })
    });
    [Subject::plain(TracerKind::Nobody)]
        .into_iter()
        .chain(ours)
        .chain(peers.iter().copied().map(Subject::plain))
        .collect()
}

/// `twtrace report` on each tier, each followed by the same of another build.
pub fn tiers_of_builds(program: &Path) -> Vec<Subject> {
    let reports = tiers(&[])
        .into_iter()
        .filter(|subject| subject.who == TracerKind::Report);
    with_other_build(reports, program)
}

/// Each `twtrace report` is followed by the same of another build, so that both run side by side.
pub fn with_other_build(
    subjects: impl IntoIterator<Item = Subject>,
    program: &Path,
) -> Vec<Subject> {
    let mut all = Vec::new();
    for subject in subjects {
        let other = (subject.who == TracerKind::Report).then(|| subject.of_build(program));
        all.push(subject);
        all.extend(other);
    }
    all
}
