//! What is measured under a load: a tracer, with its options.

use super::tracer::{Setup, TracerKind};

/// A tracer and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub who: TracerKind,
    /// What differs from the plain tracer, for its title; empty if nothing does.
    pub variant: &'static str,
    /// Options of twtrace besides the common ones.
    pub options: &'static [&'static str],
}

impl Subject {
    /// A tracer without special options.
    pub fn plain(who: TracerKind) -> Self {
        Self {
            who,
            variant: "",
            options: &[],
        }
    }

    /// Name in tables.
    pub fn title(&self) -> String {
        match self.variant {
            "" => self.who.title().to_owned(),
            variant => format!("{}, {variant}", self.who.title()),
        }
    }

    /// What it is started with.
    pub fn setup(&self, common: &Setup) -> Setup {
        let mut setup = common.clone();
        let options = self.options.iter().map(|option| (*option).to_owned());
        setup.options.extend(options);
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
        })
    });
    [Subject::plain(TracerKind::Nobody)]
        .into_iter()
        .chain(ours)
        .chain(peers.iter().copied().map(Subject::plain))
        .collect()
}
