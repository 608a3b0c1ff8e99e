//! The command line of the runner.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::{
    expect::environment::{Question, Tier},
    stage::Ip,
};

/// Plays TCP traffic whose truth is known and compares what twtrace says of it
#[derive(Parser)]
pub struct Options {
    /// The twtrace to be tested
    #[arg(long, value_name = "PATH", required_unless_present_any = ["list", "traffic_only", "stage", "program", "storm_namespace"])]
    pub twtrace: Option<PathBuf>,
    /// Hooks that twtrace may use
    #[arg(long, value_enum, default_value_t = TierLimit::Best)]
    pub tier: TierLimit,
    /// Only scenarios whose name matches (`*` and `?`; repeatable)
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<String>,
    /// Print the names of the scenarios that would be played, and stop
    #[arg(long)]
    pub list: bool,
    /// With --list: as in an emulated guest
    #[arg(long, requires = "list")]
    pub emulated: bool,
    /// With --list: as on this release of the kernel
    #[arg(long, requires = "list", value_name = "RELEASE")]
    pub kernel: Option<String>,
    /// How many are played at a time, of those that have a twtrace of their own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Keep what twtrace said, by scenario, in this directory
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Play without twtrace: compares the truth with the kernel's counters alone
    #[arg(long, hide = true)]
    pub traffic_only: bool,
    /// Play this scenario as a stage of another runner
    #[arg(long, hide = true, value_name = "NAME")]
    pub stage: Option<String>,
    /// As a stage, end the scenario with a fence
    #[arg(long, hide = true, requires = "stage")]
    pub fenced: bool,
    /// Play random lives of connections instead of scenarios
    #[arg(long)]
    pub storm: bool,
    /// With --storm: the first round's seed (default: a random one)
    #[arg(long, value_name = "N", requires = "storm")]
    pub seed: Option<u64>,
    /// With --storm: go on for so long
    #[arg(long, value_name = "SECONDS", requires = "storm", default_value_t = 0)]
    pub seconds: u64,
    /// With --storm: lives of each of its namespaces in a round
    #[arg(long, value_name = "N", requires = "storm", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..30_000))]
    pub lives: u32,
    /// Be a namespace of a storm
    #[arg(long, hide = true, value_name = "JSON")]
    pub storm_namespace: Option<String>,
    /// Be a program that makes connections
    #[arg(long, hide = true, num_args = 3, value_names = ["WAY", "ADDRESS", "COUNT"])]
    pub program: Vec<String>,
    /// IP version of the stage
    #[arg(long, hide = true, value_enum, default_value_t = StageIp::V4)]
    pub ip: StageIp,
}

/// Which hooks twtrace may use: represents kernels that have no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TierLimit {
    /// All hooks.
    Best,
    /// No fentry and fexit, and no timer tracepoints, which would be preferred to kprobes.
    NoFentry,
    /// No fentry and no kprobes.
    Tracepoints,
    /// No raw tracepoints and nothing better: classic ones.
    Classic,
    /// Also no timer tracepoints: births are inferred from states.
    Inferred,
}

/// [`Ip`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StageIp {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl From<StageIp> for Ip {
    fn from(ip: StageIp) -> Self {
        match ip {
            StageIp::V4 => Self::V4,
            StageIp::V6 => Self::V6,
        }
    }
}

impl TierLimit {
    /// The options of twtrace for it.
    pub fn options(self) -> Vec<String> {
        let hooks: &[&str] = match self {
            Self::Best => &[],
            Self::NoFentry => &["fentry", "timers"],
            Self::Tracepoints => &["fentry", "kprobe"],
            Self::Classic => &["raw-tracepoint", "fentry", "kprobe"],
            Self::Inferred => &["fentry", "kprobe", "timers"],
        };
        hooks
            .iter()
            .flat_map(|hook| ["--without".to_owned(), (*hook).to_owned()])
            .collect()
    }

    /// Whether this tier may provide a capability.
    pub fn allows(self, question: Question, tier: Tier) -> bool {
        let barred: &[Tier] = match self {
            Self::Best => &[],
            Self::NoFentry => &[Tier::Fentry, Tier::Timer],
            Self::Tracepoints => &[Tier::Fentry, Tier::Kprobe],
            Self::Classic => &[Tier::RawTracepoint, Tier::Fentry, Tier::Kprobe],
            Self::Inferred => &[Tier::Fentry, Tier::Kprobe, Tier::Timer],
        };
        let must_be_answered = matches!(
            question,
            Question::State | Question::TimeWait | Question::Reset | Question::Port
        );
        let unanswered = must_be_answered && tier == Tier::None;
        !barred.contains(&tier) && !unanswered
    }
}

/// Whether a name matches one of the patterns; all names match if there is no pattern.
pub fn selected(patterns: &[String], name: &str) -> bool {
    patterns.is_empty()
        || patterns
            .iter()
            .any(|pattern| matches_glob(pattern.as_bytes(), name.as_bytes()))
}

fn matches_glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches_glob(rest, name)
                || name
                    .split_first()
                    .is_some_and(|(_, shorter)| matches_glob(pattern, shorter))
        }
        (Some((b'?', rest)), Some((_, shorter))) => matches_glob(rest, shorter),
        (Some((wanted, rest)), Some((found, shorter))) if wanted == found => {
            matches_glob(rest, shorter)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_selected_by_glob() {
        let patterns = |pattern: &str| vec![pattern.to_owned()];
        assert!(selected(&[], "x/v4"));
        assert!(selected(&patterns("ports/*"), "ports/listen/v4"));
        assert!(selected(&patterns("*/v?"), "x/v6"));
        assert!(!selected(&patterns("*/v?"), "x"));
        assert!(!selected(&patterns("port"), "ports"));
    }

    #[test]
    fn a_tier_that_is_switched_off_is_not_allowed() {
        assert!(TierLimit::Best.allows(Question::TimeWait, Tier::Fentry));
        assert!(!TierLimit::NoFentry.allows(Question::TimeWait, Tier::Fentry));
        assert!(!TierLimit::Inferred.allows(Question::TimeWaitEnd, Tier::Timer));
        assert!(TierLimit::Inferred.allows(Question::TimeWaitEnd, Tier::Inferred));
        assert!(!TierLimit::Best.allows(Question::TimeWait, Tier::None));
    }
}
