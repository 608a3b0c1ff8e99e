//! Loads and attaches the programs in tiers, by what this kernel allows, and reports what was chosen.
//!
//! `plan` is the tier table, and `attach` tries it. `kernel_properties`, `btf` and `tracefs` find out what the programs must know
//! of this kernel; `trial` and `symbols` do so with small programs. `counters` reads what the programs count.
//! `existing`, `descendants` and `bound` pass data to them and query them while they run. `direct_reads` lets them
//! read by loads, if the kernel allows it.

mod attach;
mod bound;
mod bpf_call;
mod btf;
mod descendants;
mod direct_reads;
mod error;
mod existing;
mod kernel_properties;
mod loader;
mod object;
mod prefetch;
mod program;
mod program_counters;
mod stacks;
mod symbols;
mod totals;
mod tracefs;
mod trial;

pub use bound::PortsOfBind;
pub use error::ProbeError;
pub use object::provide_object;
pub use stacks::{FoundSite, StackOptions};

use std::{cell::OnceCell, collections::HashMap, path::PathBuf};

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError, RingBuf},
};
use twtrace_core::hooks::plan::{Behaviour, PLANS, Plan};
use twtrace_core::hooks::{Choice, Hook, Question, Tier, Tiers};
use twtrace_wire::{FOLLOWING, Offsets};

use crate::{clock, privilege};

use self::{
    attach::{Kernel, Outcome},
    btf::KernelBtf,
    kernel_properties::Preemption,
    object::Logger,
};

/// How to load the probes.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// Hooks that must not be used, even if the kernel has them.
    pub without: Vec<Hook>,
    /// BTF file to use instead of `/sys/kernel/btf/vmlinux`.
    pub btf: Option<PathBuf>,
    /// Maximum number of sockets whose connection state is kept at a time.
    pub max_sockets: u32,
    /// Maximum number of processes that are counted.
    pub max_processes: u32,
    /// Size of the ring buffer in bytes: a power of two, at least one page.
    pub ring_bytes: u32,
    /// Port searches that take at least this long get an event of their own, nanoseconds; 0 for all.
    pub slow_port_ns: u64,
    /// Whether two kinds of connects also get an event of their own: those that met a TIME_WAIT they could not take,
    /// and those that searched a range of ports of their socket's own.
    pub tell_special: bool,
    /// If set, user stacks are kept and counted.
    pub stacks: Option<StackOptions>,
    /// Maximum number of sockets that [`Attached::tell_existing`] passes to the kernel side; at most `max_sockets`.
    pub existing_sockets: u64,
    /// Whether a hook watches for new processes, for [`Attached::follow_own_children`].
    pub follows_command: bool,
}

/// Attached programs. Dropping this detaches all of them.
pub struct Attached {
    ebpf: Ebpf,
    /// Kept open: closing its map would break programs that log.
    logger: Option<Logger>,
    tiers: Tiers,
    reset_reasons: HashMap<u32, String>,
    counts_at_expiry: bool,
    /// Whether this kernel can report when an epoch of counting is over.
    waits_for_programs: bool,
    /// Runs that the kernel had skipped before all programs were attached.
    misses_before: HashMap<String, u64>,
}

/// Loads and attaches the best tier of each question that this kernel allows. From then on the programs keep what
/// they need to know of sockets. They count and report from [`Attached::begin_counting`] on.
///
/// # Errors
/// If even the last tier of a required question is refused. The error names what failed and what to do.
pub fn attach(options: &ProbeOptions) -> Result<Attached, ProbeError> {
    if object::is_missing() {
        return Err(ProbeError::NoObject);
    }
    let missing = privilege::missing_to_attach().map_err(ProbeError::Capabilities)?;
    if !missing.is_empty() {
        return Err(ProbeError::Privileges { missing });
    }
    kernel_properties::raise_memlock_limit();
    let path = options
        .btf
        .clone()
        .unwrap_or_else(|| PathBuf::from(btf::KERNEL_BTF));
    let names = kernel_properties::names();
    let types = KernelBtf::from_file(&path, names.iter().map(AsRef::as_ref))?;
    let offsets = kernel_properties::offsets(&types)?;
    let kernel = Kernel {
        types: &types,
        functions: OnceCell::new(),
        tw_timer_handler: OnceCell::new(),
        preemption: Preemption::of(&types),
        without: &options.without,
        cast: direct_reads::cast(&types),
    };
    let (ebpf, logger, mut tiers) = load_and_attach(options, &kernel, &offsets)?;
    tiers.sort_by_key(|choice| choice.question);
    let mut attached = Attached {
        ebpf,
        logger,
        tiers,
        reset_reasons: types
            .enum_values("sk_rst_reason")
            .into_iter()
            .map(|(code, name)| {
                let word = name.strip_prefix("SK_RST_REASON_").unwrap_or(&name);
                (code, word.to_owned())
            })
            .collect(),
        counts_at_expiry: types
            .member_bit_offset("inet_timewait_sock", "tw_kill")
            .is_some(),
        waits_for_programs: true,
        misses_before: HashMap::new(),
    };
    attached.load_answers();
    attached.misses_before = attached.misses()?.unwrap_or_default().into_iter().collect();
    attached.set_started(FOLLOWING)?;
    Ok(attached)
}

/// Loads the object with the constants of the tiers that the trials expect to work, and attaches tier by tier. Loads
/// it again if one of them is refused and the remaining tiers need other programs to behave differently.
fn load_and_attach(
    options: &ProbeOptions,
    kernel: &Kernel<'_>,
    offsets: &Offsets,
) -> Result<(Ebpf, Option<Logger>, Tiers), ProbeError> {
    let plans: Vec<&Plan> = PLANS
        .iter()
        .filter(|plan| options.follows_command || plan.question != Question::Descendants)
        .collect();
    let expected = attach::foresee(kernel, &plans);
    let mut behaviours: Vec<Behaviour> = expected
        .iter()
        .map(|candidate| candidate.behaviour)
        .filter(|behaviour| *behaviour != Behaviour::Same)
        .collect();
    loop {
        let config = object::configure(options, kernel, &behaviours);
        let (mut ebpf, logger) = object::load(options, offsets, &config, kernel.cast)?;
        prefetch::load(&mut ebpf, kernel, &expected);
        let mut tiers = Tiers::new();
        let mut wanted = behaviours.clone();
        for plan in &plans {
            match attach::choose(&mut ebpf, kernel, plan, &behaviours, &tiers)? {
                Outcome::Attached(choice) => tiers.push(choice),
                Outcome::Reload(behaviour) => wanted.push(behaviour),
            }
            // The plans that may ask for this come first.
            if plan.question == Question::Port && wanted != behaviours {
                break;
            }
        }
        if wanted == behaviours {
            return Ok((ebpf, logger, tiers));
        }
        behaviours = wanted;
    }
}

impl Attached {
    /// Adds what can't be known about the acting processes, for a reason other than the hooks.
    pub fn add_loss(&mut self, loss: &str) {
        for choice in &mut self.tiers {
            if choice.question == Question::State {
                choice.lost = Some(match choice.lost.take() {
                    Some(before) => format!("{before}; {loss}"),
                    None => loss.to_owned(),
                });
            }
        }
    }

    /// What was chosen for each question, and why better tiers were not.
    pub fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// Makes all programs count and report from now on. Returns the time from which they do (CLOCK_MONOTONIC,
    /// nanoseconds): no event is earlier.
    ///
    /// # Errors
    /// If the kernel refuses the clock or the map.
    pub fn begin_counting(&mut self) -> Result<u64, ProbeError> {
        let now_ns = clock::monotonic_ns().map_err(ProbeError::Clock)?;
        self.set_started(now_ns)?;
        Ok(now_ns)
    }

    fn set_started(&mut self, started: u64) -> Result<(), ProbeError> {
        const MAP: &str = "STARTED";
        let fails = |error: MapError| program_counters::map_error(MAP, &error);
        let map = self.ebpf.map_mut(MAP);
        let map = map.ok_or_else(|| program_counters::missing(MAP))?;
        let mut map: Array<&mut MapData, u64> = map.try_into().map_err(fails)?;
        map.set(0, started, 0).map_err(fails)
    }

    /// The ring buffer; may be taken once.
    ///
    /// # Errors
    /// If it was already taken.
    pub fn take_ring(&mut self) -> Result<RingBuf<MapData>, ProbeError> {
        let error = |error: String| ProbeError::Map {
            map: "EVENTS",
            error,
        };
        let map = self
            .ebpf
            .take_map("EVENTS")
            .ok_or_else(|| error("it was taken already".to_owned()))?;
        RingBuf::try_from(map).map_err(|why| error(why.to_string()))
    }

    /// Passes the kernel side's warnings to the log. To be called regularly.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// The kernel's name for the reason of a reset (`enum sk_rst_reason`, since 6.10), such as `TCP_STATE`.
    pub fn reset_reason_name(&self, code: u8) -> Option<&str> {
        self.reset_reasons.get(&u32::from(code)).map(String::as_str)
    }

    /// Whether this kernel counts TcpExt TW and TWKilled when a mini-socket expires (5.10), and not when it is
    /// created (6.1 and later). The former is known by a member `tw_kill` of `inet_timewait_sock` in BTF.
    pub fn counts_time_wait_at_expiry(&self) -> bool {
        self.counts_at_expiry
    }
}
