//! The parts of a run: units that are distributed among shards and run in parallel.

use super::scenarios::TierLimit;
use crate::guest::kernels::{KernelSeries, SERIES};

/// Tiers that are tested on the machine's own kernel.
const MACHINE_TIERS: [TierLimit; 3] = [TierLimit::Best, TierLimit::Classic, TierLimit::Inferred];

/// Tiers that are tested on stock kernels, in one boot.
pub const GUEST_TIERS: [TierLimit; 3] =
    [TierLimit::Best, TierLimit::NoFentry, TierLimit::Tracepoints];

/// The phase whose tests are counted.
pub const UNIT_TESTS: &str = "unit and property tests";

/// Phases that run one after the other on the same machine.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// Format, lints, unit and property tests.
    Checks,
    /// The scenarios on the machine's own kernel, in one tier.
    Machine(TierLimit),
    /// The scenarios in a guest with a kernel of that series, in all of its tiers.
    Kernel(&'static KernelSeries),
    /// The packages for users.
    Packages,
}

impl Unit {
    /// Its name in headings, and in the names of its phases.
    pub fn name(&self) -> String {
        match self {
            Self::Checks => "checks".to_owned(),
            Self::Machine(tier) => format!("this machine {}", tier.name()),
            Self::Kernel(series) => format!("kernel {}", series.name),
            Self::Packages => "packages".to_owned(),
        }
    }

    /// Its phases whose passes are counted.
    #[cfg(test)]
    pub fn counted_phases(&self) -> Vec<String> {
        match self {
            Self::Checks => vec![UNIT_TESTS.to_owned()],
            _ => self.tiers().iter().map(|tier| self.tier(*tier)).collect(),
        }
    }

    /// The tiers in which it plays scenarios, each in a phase of its own.
    pub fn tiers(&self) -> &[TierLimit] {
        match self {
            Self::Machine(tier) => std::slice::from_ref(tier),
            Self::Kernel(_) => &GUEST_TIERS,
            Self::Checks | Self::Packages => &[],
        }
    }

    /// The name of one tier's phase.
    pub fn tier(&self, tier: TierLimit) -> String {
        match self {
            Self::Kernel(_) => format!("{} {}", self.name(), tier.name()),
            _ => self.name(),
        }
    }

    /// Prefix of its lines of output, which appear among those of other units.
    pub fn tag(&self) -> String {
        match self {
            Self::Checks => "unit tests".to_owned(),
            Self::Machine(tier) => format!("machine {}", tier.name()),
            Self::Kernel(series) => series.name.to_owned(),
            Self::Packages => "packages".to_owned(),
        }
    }

    /// Its duration in minutes, roughly, beside others on two CPUs: balances shards, and decides what starts first.
    pub fn weight(&self) -> u32 {
        match self {
            Self::Checks => 2,
            Self::Machine(TierLimit::Best) => 4,
            Self::Machine(_) => 2,
            // The outermost kernels play all their tiers, and more of their best one.
            Self::Kernel(series) if is_outermost(series) => 12,
            Self::Kernel(_) => 6,
            Self::Packages => 10,
        }
    }

    /// Whether it runs scenarios.
    pub fn has_scenarios(&self) -> bool {
        matches!(self, Self::Machine(_) | Self::Kernel(_))
    }
}

/// Whether it is the oldest or the newest.
fn is_outermost(series: &KernelSeries) -> bool {
    let ends = [SERIES.first(), SERIES.last()];
    ends.into_iter()
        .flatten()
        .any(|end| end.name == series.name)
}

/// What the options of a run select.
#[derive(Debug)]
pub struct TestSelection {
    /// Format, lints and unit tests.
    pub checks: bool,
    /// The tiers on the machine itself.
    pub machine: MachineTiers,
    /// Kernels of guests.
    pub kernels: Vec<&'static KernelSeries>,
    pub packages: bool,
}

/// Which tiers the machine itself plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineTiers {
    None,
    Best,
    All,
}

impl TestSelection {
    /// The units, in the order in which they start.
    pub fn units(self) -> Vec<Unit> {
        let tiers = match self.machine {
            MachineTiers::None => &[],
            MachineTiers::Best => &MACHINE_TIERS[..1],
            MachineTiers::All => &MACHINE_TIERS[..],
        };
        let mut units = Vec::new();
        if self.checks {
            units.push(Unit::Checks);
        }
        units.extend(tiers.iter().copied().map(Unit::Machine));
        units.extend(self.kernels.into_iter().map(Unit::Kernel));
        if self.packages {
            units.push(Unit::Packages);
        }
        units
    }
}

/// All units of a full run.
#[cfg(test)]
pub fn everything() -> Vec<Unit> {
    let selection = TestSelection {
        checks: true,
        machine: MachineTiers::All,
        kernels: SERIES.iter().collect(),
        packages: true,
    };
    selection.units()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_run_has_every_tier_and_every_kernel() {
        let names: Vec<String> = everything().iter().map(Unit::name).collect();
        let expected = [
            "checks",
            "this machine best",
            "this machine classic",
            "this machine inferred",
            "kernel 5.10",
            "kernel 6.1",
            "kernel 6.12",
            "kernel 7.3",
            "packages",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn each_tier_is_a_phase_of_its_own() {
        let units = everything();
        let phases: Vec<_> = units.iter().flat_map(Unit::counted_phases).collect();
        let machine = [
            "this machine best",
            "this machine classic",
            "this machine inferred",
        ];
        let guests = ["5.10", "6.1", "6.12", "7.3"]
            .into_iter()
            .flat_map(|kernel| {
                ["best", "no-fentry", "tracepoints"].map(|tier| format!("kernel {kernel} {tier}"))
            });
        let expected: Vec<_> = [UNIT_TESTS]
            .into_iter()
            .chain(machine)
            .map(str::to_owned)
            .chain(guests)
            .collect();
        assert_eq!(phases, expected);
    }

    #[test]
    fn what_is_left_out_is_not_there() {
        let quick = TestSelection {
            checks: true,
            machine: MachineTiers::Best,
            kernels: Vec::new(),
            packages: false,
        };
        let names: Vec<String> = quick.units().iter().map(Unit::name).collect();
        assert_eq!(names, ["checks", "this machine best"]);
    }
}
