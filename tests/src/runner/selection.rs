//! Selects what is played: on which tier, on which kernel, and in which order.

use anyhow::{Result, ensure};

use super::options::{self, Options, TierLimit};
use crate::{
    scenarios::{self, ObservedBy, Scenario, TierReach, Usage},
    stage::Ip,
    sys::process,
};

/// One run of a scenario.
#[derive(Clone)]
pub struct ScenarioRun {
    /// Its name, with the IP version if there are two.
    pub name: String,
    pub ip: Ip,
    pub scenario: Scenario,
}

/// Where scenarios are played.
#[derive(Clone, Debug)]
pub struct PlayHost {
    pub tier: TierLimit,
    /// An emulated guest, 10 to 20 times slower.
    pub emulated: bool,
    /// Release of its kernel.
    pub kernel: String,
}

impl PlayHost {
    /// This machine, or the machine that the options of --list describe.
    pub fn of(options: &Options) -> Self {
        Self {
            tier: options.tier,
            emulated: options.emulated || process::emulated(),
            kernel: options.kernel.clone().unwrap_or_else(release),
        }
    }
}

fn release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    release.unwrap_or_default().trim().to_owned()
}

/// What is played in one run of the runner.
pub struct Selection {
    pub runs: Vec<ScenarioRun>,
    /// Scenarios that can't be compared on this tier.
    pub inexact: Vec<ScenarioRun>,
    pub usages: Vec<&'static Usage>,
    /// How many are left out because others test the same elsewhere.
    pub left_out: usize,
}

impl Selection {
    /// What the options request, of what is useful here; with --only, all that it names.
    ///
    /// # Errors
    /// If a pattern of --only matches nothing.
    pub fn of(options: &Options) -> Result<Self> {
        let place = PlayHost::of(options);
        let is_asked_for = !options.only.is_empty();
        let runs: Vec<ScenarioRun> = all_runs().collect();
        let usages: Vec<(&Usage, TierReach)> = scenarios::usages().collect();
        let mut names = runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>();
        names.extend(usages.iter().map(|(usage, _)| usage.name));
        each_names_something(&options.only, &names)?;

        let selected = |name: &str| options::selected(&options.only, name);
        let runs: Vec<ScenarioRun> = runs.into_iter().filter(|run| selected(&run.name)).collect();
        let usages: Vec<_> = usages
            .into_iter()
            .filter(|(usage, _)| selected(usage.name))
            .collect();
        let all = runs.len() + usages.len();
        let (inexact, runs): (Vec<ScenarioRun>, Vec<ScenarioRun>) = runs
            .into_iter()
            .filter(|run| is_asked_for || is_worth_it(run, &place))
            .partition(|run| place.tier == TierLimit::Classic && run.scenario.is_crowded());
        let usages: Vec<&Usage> = usages
            .into_iter()
            .filter(|(usage, reach)| is_asked_for || reaches(usage.name, *reach, &place))
            .map(|(usage, _)| usage)
            .collect();
        let left_out = all - runs.len() - inexact.len() - usages.len();
        Ok(Self {
            runs,
            inexact,
            usages,
            left_out,
        })
    }

    /// Names of what is played.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let runs = self.runs.iter().map(|run| run.name.as_str());
        runs.chain(self.usages.iter().map(|usage| usage.name))
    }
}

fn all_runs() -> impl Iterator<Item = ScenarioRun> {
    scenarios::all().into_iter().flat_map(|scenario| {
        let runs = scenario.runs().into_iter();
        runs.map(move |(name, ip)| ScenarioRun { name, ip, scenario })
    })
}

/// Without this check, a misspelt pattern would be ignored, and the run would pass.
fn each_names_something(patterns: &[String], names: &[&str]) -> Result<()> {
    for pattern in patterns {
        let one = std::slice::from_ref(pattern);
        ensure!(
            names.iter().any(|name| options::selected(one, name)),
            "no scenario is named {pattern} (--list prints the names)"
        );
    }
    Ok(())
}

/// Checks of usage that are also played in emulated machines, beside those of every tier: what may differ on another
/// kernel. Each starts a twtrace of its own.
const USAGES_IN_GUESTS: &[&str] = &[
    "command/only_its_own",
    "command/child_of_thread",
    "command/too_many_descendants",
    "containers/v1_alone",
    "stacks/frame_pointers",
    "stacks/tables_only",
    "usage/late_acknowledging_data_in_report",
    "usage/pid_namespace",
    "usage/command_in_pid_namespace",
    "usage/time_namespace",
    "usage/namespace_of_a_thread",
    "exec/each_program_has_its_own_name",
    "exec/busy_when_tracing_began",
    "exec/accepted_by_the_one_before",
];

/// Checks of port pools, leaks, experiments and doctor that depend on what a kernel has: one for each thing that is
/// read from it (`docs/tests.md`).
const TABLES_IN_GUESTS: &[&str] = &[
    "budget/full",
    "budget/own_range",
    "budget/bind_before_connect",
    "budget/ports_of_bind",
    "experiment/slab_memory",
    "doctor/healthy",
    "doctor/close_wait",
    "doctor/fin_timeout",
    "doctor/tw_buckets",
    "doctor/listen_queue",
    "doctor/bind_before_connect",
    "doctor/binder",
    "doctor/reuse_refused_without_timestamps",
    "doctor/reuse_peer_without_timestamps",
    "doctor/nat_ports_exhausted",
];

/// The guest that, beside this machine, plays scenarios of one minute on the tier whose ends come from timers: its
/// kernel differs most from this one.
const TIMERS_FOR_A_MINUTE: &str = "5.10.";

/// Checks of usage that do not depend on the kernel: only this machine plays them.
const ON_NO_KERNEL: &[&str] = &[
    "storm/seeds_that_failed",
    "usage/no_btf",
    "usage/wrong_arguments",
    "usage/unknown_pid",
    "usage/completions",
    "usage/closed_pipe",
    // Guests start without tracefs: the first twtrace in each has to mount it.
    "usage/tracefs_not_mounted",
    "usage/tracefs_out_of_reach",
    // The hooks of a guest's trace are compared with those that this verb prints (`trace_has_its_hooks`);
    // `usage/hook_missing` reads the same output.
    "usage/probes",
];

/// Checks that do not depend on hooks, or only on those of states: a guest's best tier plays them.
const ON_ANY_TIER: &[&str] = &[
    "usage/not_root",
    "usage/hook_missing",
    "usage/nearly_too_many_sockets",
    "usage/sockets_come_and_go",
    "usage/time_waits_share_slots",
    // No hook changes what the kernel counts, or how namespaces are distinguished.
    "usage/number_of_another_namespace",
    "usage/refusals_in_audit",
    "usage/exact_beyond_max_sockets",
];

/// The oldest and the newest kernel. Kernels between them play less on their second and third tier: the hooks are those
/// of their own best tier, or of both of these.
const OUTERMOST_KERNELS: &[&str] = &["5.10.", "7."];

/// Checks of usage that kernels between the outermost play on their second and third tier.
const BETWEEN_KERNELS: &[&str] = &["usage/no_probe_left", "storm/new_seeds"];

/// What kernels between the outermost also leave out on their best tier: it depends on tasks, forks, pid and time
/// namespaces, maps, or on userspace. The outermost kernels play it, and this machine, whose kernel is another one.
const NOT_BETWEEN: &[&str] = &[
    "budget/bind_before_connect",
    "command/child_of_thread",
    "command/only_its_own",
    "command/too_many_descendants",
    "doctor/binder",
    "exec/accepted_by_the_one_before",
    "exec/each_program_has_its_own_name",
    "stacks/frame_pointers",
    "usage/command_in_pid_namespace",
    "usage/exact_beyond_max_sockets",
    "usage/hook_missing",
    "usage/namespace_of_a_thread",
    "usage/nearly_too_many_sockets",
    "usage/pid_namespace",
    "usage/sockets_come_and_go",
    "usage/time_namespace",
    "usage/time_waits_share_slots",
];

/// Whether a guest has a kernel between the outermost.
fn has_kernel_between(place: &PlayHost) -> bool {
    let is_outermost = OUTERMOST_KERNELS
        .iter()
        .any(|release| place.kernel.starts_with(release));
    place.emulated && !is_outermost
}

/// Whether less is played in a guest.
fn is_between(place: &PlayHost) -> bool {
    has_kernel_between(place) && place.tier != TierLimit::Best
}

fn reaches(name: &str, reach: TierReach, place: &PlayHost) -> bool {
    let is_best = place.tier == TierLimit::Best;
    if has_kernel_between(place) && NOT_BETWEEN.contains(&name) {
        return false;
    }
    match reach {
        TierReach::EveryTier if place.emulated && ON_NO_KERNEL.contains(&name) => false,
        TierReach::EveryTier if place.emulated && ON_ANY_TIER.contains(&name) => is_best,
        TierReach::EveryTier if is_between(place) => BETWEEN_KERNELS.contains(&name),
        TierReach::EveryTier => true,
        _ if place.emulated => is_best && USAGES_IN_GUESTS.contains(&name),
        TierReach::Tracepoints => is_best || place.tier == TierLimit::Classic,
        TierReach::BestTier => is_best,
    }
}

fn is_worth_it(run: &ScenarioRun, place: &PlayHost) -> bool {
    let is_best = place.tier == TierLimit::Best;
    if run.scenario.lasts_a_minute() {
        return is_worth_a_minute(place);
    }
    if run.scenario.is_of_userspace() {
        if !place.emulated {
            // The events of the classic tier are those of the best one, with other hooks for states.
            return place.tier != TierLimit::Classic;
        }
        let name = run.scenario.name;
        let is_left_out = has_kernel_between(place) && NOT_BETWEEN.contains(&name);
        return is_best && run.ip == Ip::V4 && TABLES_IN_GUESTS.contains(&name) && !is_left_out;
    }
    if !place.emulated {
        return true;
    }
    let has_own_report = matches!(run.scenario.observer, ObservedBy::Report(_));
    let is_again = run.scenario.runs().len() > 1 && run.ip == Ip::V6;
    if is_between(place) {
        return !has_own_report && !is_again;
    }
    let has_both_crowds = is_best && !has_kernel_between(place);
    !is_again || !(has_own_report || run.scenario.is_crowded() && !has_both_crowds)
}

/// Once for each mechanism: timers by tracepoints and presumed ends on this machine, fentry and kprobes in guests.
fn is_worth_a_minute(place: &PlayHost) -> bool {
    match place.tier {
        TierLimit::Best => true,
        TierLimit::NoFentry => place.emulated && !is_between(place),
        TierLimit::Tracepoints => place.emulated && place.kernel.starts_with(TIMERS_FOR_A_MINUTE),
        TierLimit::Classic => false,
        TierLimit::Inferred => !place.emulated,
    }
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
