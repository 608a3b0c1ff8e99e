//! The scenarios: one file per family.

mod attempts;
mod audited;
mod before;
mod buckets;
mod budgets;
mod close;
mod command;
mod containers;
mod crowd;
mod data_after_close;
mod disconnect;
mod doctor;
mod doctor_address;
mod doctor_bind;
mod doctor_causes;
mod doctor_nat;
mod doctor_ports;
mod doctor_resets;
mod doctor_taken;
mod doctor_unanswered;
mod ends;
mod exactness;
mod exec;
mod experiments;
mod explain;
mod fix_script;
mod handover;
mod hostile_elf;
mod html;
mod idle;
mod leak;
mod mapper;
mod mistakes;
mod namespaces;
mod overload;
mod own_namespace;
mod pages;
mod peers;
mod port_calls;
mod ports;
mod privileges;
mod programs;
mod protocols;
mod purge;
mod reconnect;
mod recordings;
mod reset;
mod reuse;
mod schema;
mod serve;
mod stacks;
mod stacks_hostile;
mod start;
mod storm;
mod terminal;
mod top;
mod totals;
mod usage;
mod watch;
mod what_if;

use anyhow::Result;

use crate::{
    runner::Context,
    stage::{Ip, Stage},
};

/// IP versions a scenario is played with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Once with IPv4 and once with IPv6.
    Both,
    /// Once; the scenario defines which.
    Single,
}

/// What watches a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObservedBy {
    /// The one `twtrace trace` that runs for all of them.
    Trace,
    /// The same, with no other scenario in parallel: it needs the whole machine.
    TraceAlone,
    /// The same, started after the scenario has prepared something ([`Stage::begin_tracing`]).
    TraceFromTheMiddle,
    /// A `twtrace report` of its own.
    Report(ReportRun),
    /// A `twtrace doctor` of its own, which checks only the scenario's namespace.
    Doctor(DoctorRun),
}

/// A `twtrace report` around one scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportRun {
    pub options: &'static [&'static str],
    /// Events must be lost, and shown as lost.
    pub loses: bool,
    /// It ends by itself, before the scenario does: only its port pools are compared.
    pub ends_before: bool,
}

/// A `twtrace doctor` around one scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoctorRun {
    /// `--fail-on`
    pub fail_on: &'static str,
    pub code: i32,
    /// What it must find; empty: it must find nothing at all.
    pub finds: &'static [ExpectedFinding],
    /// What it must not find.
    pub spares: &'static [&'static str],
    /// The ids of all that it finds, in this order; empty: not compared.
    pub ids: &'static [&'static str],
    /// It starts after the scenario has prepared something ([`Stage::begin_tracing`]).
    pub is_from_the_middle: bool,
    /// Its output is text, not JSON, and must contain this; findings are then not compared.
    pub prints: Option<&'static str>,
}

/// An expected finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedFinding {
    pub id: &'static str,
    pub severity: &'static str,
    /// Role of an actor that it must name; empty for none.
    pub names: &'static str,
    /// Role of an actor that it must not name; empty for none.
    pub spares: &'static str,
    /// What its evidence must contain; empty for nothing.
    pub says: &'static str,
    /// Without these hooks it must not be found.
    pub needs: Needs,
}

/// Hooks that a finding depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any hooks.
    Nothing,
    /// Port allocations themselves are seen (fentry, kprobes), not only the system call.
    Searches,
    /// TIME_WAITs that connects could not reuse are seen.
    RefusedReuse,
    /// Calls for an address that the host lacks are seen.
    NoAddress,
}

/// Traffic with known truth.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name, without the IP version.
    pub name: &'static str,
    pub versions: Versions,
    /// What watches it.
    pub observer: ObservedBy,
    /// Plays it.
    pub play: fn(&Stage) -> Result<()>,
}

/// A check of the command line or the program's own life.
#[derive(Clone, Copy)]
pub struct Usage {
    pub name: &'static str,
    /// Runs it; an error contains the differences, a [`crate::stage::Skip`] why it can't be run.
    pub run: fn(&Context) -> Result<()>,
}

/// Whether twtrace warns of sockets that others have opened: the storm, which is played at the same time, opens thousands
/// between the moment at which room is made for those that exist, and the moment at which they are listed.
pub fn is_of_neighbours(line: &str) -> bool {
    line.starts_with("twtrace: ") && line.contains("open before tracing find no room")
}

impl Scenario {
    /// Whether it opens many connections at full speed, each of which must be counted.
    pub fn is_crowded(&self) -> bool {
        crowd::SCENARIOS
            .iter()
            .any(|crowded| crowded.name == self.name)
    }

    /// Whether it waits until a TIME_WAIT expires.
    pub fn lasts_a_minute(&self) -> bool {
        self.name == ends::EXPIRED
    }

    /// Whether it tests userspace's processing of events and of what it reads from the kernel: the same on every tier.
    pub fn is_of_userspace(&self) -> bool {
        let reported = matches!(self.observer, ObservedBy::Report(_) | ObservedBy::Doctor(_));
        let tables = [
            budgets::SCENARIOS,
            leak::SCENARIOS,
            experiments::SCENARIOS,
            doctor::SCENARIOS,
            doctor_ports::SCENARIOS,
            doctor_bind::SCENARIOS,
            doctor_resets::SCENARIOS,
            doctor_causes::SCENARIOS,
            doctor_unanswered::SCENARIOS,
            doctor_nat::SCENARIOS,
            doctor_taken::SCENARIOS,
            doctor_address::SCENARIOS,
        ];
        reported
            && tables
                .iter()
                .any(|table| table.iter().any(|other| other.name == self.name))
    }

    const fn both(name: &'static str, play: fn(&Stage) -> Result<()>) -> Self {
        Self {
            name,
            versions: Versions::Both,
            observer: ObservedBy::Trace,
            play,
        }
    }

    const fn single(name: &'static str, play: fn(&Stage) -> Result<()>) -> Self {
        Self {
            name,
            versions: Versions::Single,
            observer: ObservedBy::Trace,
            play,
        }
    }

    const fn traced_from_the_middle(mut self) -> Self {
        self.observer = ObservedBy::TraceFromTheMiddle;
        self
    }

    const fn alone(mut self) -> Self {
        self.observer = ObservedBy::TraceAlone;
        self
    }

    const fn reported(mut self, run: ReportRun) -> Self {
        self.observer = ObservedBy::Report(run);
        self
    }

    const fn judged(mut self, run: DoctorRun) -> Self {
        self.observer = ObservedBy::Doctor(run);
        self
    }

    /// Its runs: full name and IP version.
    pub fn runs(&self) -> Vec<(String, Ip)> {
        match self.versions {
            Versions::Both => vec![
                (format!("{}/v4", self.name), Ip::V4),
                (format!("{}/v6", self.name), Ip::V6),
            ],
            Versions::Single => vec![(self.name.to_owned(), Ip::V4)],
        }
    }
}

/// All scenarios, in the order in which they run.
pub fn all() -> Vec<Scenario> {
    [
        before::SCENARIOS,
        ends::SCENARIOS,
        close::SCENARIOS,
        handover::SCENARIOS,
        containers::SCENARIOS,
        protocols::SCENARIOS,
        reset::SCENARIOS,
        disconnect::SCENARIOS,
        data_after_close::SCENARIOS,
        idle::SCENARIOS,
        peers::SCENARIOS,
        ports::SCENARIOS,
        port_calls::SCENARIOS,
        reconnect::SCENARIOS,
        reuse::SCENARIOS,
        buckets::SCENARIOS,
        budgets::SCENARIOS,
        leak::SCENARIOS,
        experiments::SCENARIOS,
        doctor::SCENARIOS,
        doctor_ports::SCENARIOS,
        doctor_bind::SCENARIOS,
        doctor_resets::SCENARIOS,
        doctor_causes::SCENARIOS,
        doctor_unanswered::SCENARIOS,
        doctor_nat::SCENARIOS,
        doctor_taken::SCENARIOS,
        doctor_address::SCENARIOS,
        crowd::SCENARIOS,
        programs::SCENARIOS,
    ]
    .concat()
}

/// Where a check of usage tests something that no other place does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierReach {
    /// On every tier.
    EveryTier,
    /// With raw tracepoints, and with classic ones.
    Tracepoints,
    /// It is about userspace: the best tier is enough.
    BestTier,
}

/// All checks of usage, in the order in which they run.
pub fn usages() -> impl Iterator<Item = (&'static Usage, TierReach)> {
    let groups = [
        (usage::USAGES, TierReach::EveryTier),
        (overload::USAGES, TierReach::EveryTier),
        (purge::USAGES, TierReach::EveryTier),
        (storm::USAGES, TierReach::EveryTier),
        (audited::USAGES, TierReach::EveryTier),
        (exactness::USAGES, TierReach::EveryTier),
        (start::USAGES, TierReach::EveryTier),
        (mistakes::USAGES, TierReach::BestTier),
        (fix_script::USAGES, TierReach::BestTier),
        (what_if::USAGES, TierReach::BestTier),
        (namespaces::USAGES, TierReach::BestTier),
        (totals::USAGES, TierReach::BestTier),
        (privileges::USAGES, TierReach::BestTier),
        (attempts::USAGES, TierReach::BestTier),
        (command::only::USAGES, TierReach::Tracepoints),
        (command::manners::USAGES, TierReach::BestTier),
        (stacks::USAGES, TierReach::Tracepoints),
        (stacks_hostile::USAGES, TierReach::BestTier),
        (containers::USAGES, TierReach::Tracepoints),
        (exec::USAGES, TierReach::Tracepoints),
        (recordings::USAGES, TierReach::BestTier),
        (schema::USAGES, TierReach::BestTier),
        (explain::USAGES, TierReach::BestTier),
        (pages::USAGES, TierReach::BestTier),
        (html::USAGES, TierReach::BestTier),
        (top::USAGES, TierReach::BestTier),
        (watch::USAGES, TierReach::BestTier),
        (serve::USAGES, TierReach::BestTier),
    ];
    groups
        .into_iter()
        .flat_map(|(usages, reach)| usages.iter().map(move |usage| (usage, reach)))
}
