//! Loading and attaching: what this kernel allows, in tiers, and what was chosen.
//!
//! `plan` is the tier table, `attach` tries it, `facts`, `btf` and `tracefs` find out what the programs
//! must know of this kernel (`trial` and `symbols` by asking it with small programs), and `counters` reads what they count. `existing`, `descendants` and `bound` are what they
//! are told and asked while they run. `direct_reads` lets them read by loads, where the kernel does.

mod attach;
mod bound;
mod bpf_call;
mod btf;
mod counters;
mod descendants;
mod direct_reads;
mod error;
mod existing;
mod facts;
mod loader;
mod prefetch;
mod program;
mod stacks;
mod symbols;
mod totals;
mod tracefs;
mod trial;

pub use bound::PortsOfBind;
pub use error::ProbeError;
pub use stacks::{FoundSite, StackOptions};

use std::{cell::OnceCell, collections::HashMap, path::PathBuf, sync::OnceLock};

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError, RingBuf},
};
use aya_log::EbpfLogger;
use twtrace_core::hooks::plan::{Behaviour, PLANS, Plan};
use twtrace_core::hooks::{Choice, Hook, Question, Tier, Tiers};
use twtrace_wire::{
    ABSENT, BIRTHS_BY_TIMER, BIRTHS_HOOKED, BIRTHS_INFERRED, Config, FOLLOWING, Offsets,
};

use crate::{clock, privilege};

use self::{
    attach::{Kernel, Outcome},
    btf::KernelBtf,
    facts::Preemption,
};

/// The eBPF object. The program provides it, so that a change of it compiles nothing of this library.
static OBJECT: OnceLock<&'static [u8]> = OnceLock::new();

/// Sets the eBPF object, once, before anything is attached; an empty one stands for a build without.
pub fn provide_object(object: &'static [u8]) {
    // A second one can't come: the program has one entry.
    let _ = OBJECT.set(object);
}

fn object() -> &'static [u8] {
    OBJECT.get().copied().unwrap_or_default()
}

/// Size of a map that the chosen tiers do not use.
const UNUSED_ENTRIES: u32 = 64;

/// Closing sockets that may have found their slot taken.
const CLOSING_ENTRIES: u32 = 65_536;

/// TIME_WAITs that may be killed or reopened in a second on the timer tier before some go untold.
const CANCELLED_ENTRIES: u32 = 8192;

/// Processes of a command that can be followed, for each that can be counted: most make no connection.
const DESCENDANTS_PER_PROCESS: u32 = 8;

/// How the probes are to be loaded.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// Hooks that must not be used, even where the kernel has them.
    pub without: Vec<Hook>,
    /// BTF file to use in place of `/sys/kernel/btf/vmlinux`.
    pub btf: Option<PathBuf>,
    /// Sockets whose story can be kept at a time.
    pub max_sockets: u32,
    /// Processes that can be counted.
    pub max_processes: u32,
    /// Size of the ring buffer in bytes: a power of two, at least one page.
    pub ring_bytes: u32,
    /// Port searches at least this long get an event of their own, nanoseconds; 0 for all.
    pub slow_port_ns: u64,
    /// Whether connects that met a TIME_WAIT they could not take, or looked through a range of ports of their
    /// socket's own, get an event of their own, too.
    pub tell_special: bool,
    /// Where user stacks are to be kept and counted.
    pub stacks: Option<StackOptions>,
    /// Sockets that the kernel side can be told of by [`Attached::tell_existing`]; `max_sockets` at most.
    pub existing_sockets: u64,
    /// Whether new processes are looked at, for [`Attached::follow_own_children`].
    pub follows_command: bool,
}

type Logger = EbpfLogger<&'static dyn log::Log>;

/// Attached programs. Dropping it detaches all of them.
pub struct Attached {
    ebpf: Ebpf,
    /// Kept open: closing its map would break programs that log.
    logger: Option<Logger>,
    tiers: Tiers,
    reset_reasons: HashMap<u32, String>,
    counts_at_expiry: bool,
    /// Whether this kernel can tell when an epoch of counting is over.
    waits_for_programs: bool,
    /// Runs that the kernel had skipped before all programs were attached.
    misses_before: HashMap<String, u64>,
}

/// Loads and attaches the best tier of each question that this kernel allows. From then on the programs keep what they need
/// to know of sockets; they count and report from [`Attached::begin_counting`] on.
///
/// # Errors
/// One error that names what failed and what to do, where even the last tier of a question that twtrace
/// can't do without is refused.
pub fn attach(options: &ProbeOptions) -> Result<Attached, ProbeError> {
    if object().is_empty() {
        return Err(ProbeError::NoObject);
    }
    let missing = privilege::missing_to_attach().map_err(ProbeError::Capabilities)?;
    if !missing.is_empty() {
        return Err(ProbeError::Privileges { missing });
    }
    facts::raise_memlock_limit();
    let path = options
        .btf
        .clone()
        .unwrap_or_else(|| PathBuf::from(btf::KERNEL_BTF));
    let names = facts::names();
    let types = KernelBtf::from_file(&path, names.iter().map(AsRef::as_ref))?;
    let offsets = facts::offsets(&types)?;
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

/// Loads the object, made for the tiers that trials say will do, and attaches tier by tier; loads it once more where
/// one of them is refused all the same, and what is left to try needs other programs to behave otherwise.
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
        let config = configure(options, kernel, &behaviours)?;
        let (mut ebpf, logger) = load(options, offsets, &config, kernel.cast)?;
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

fn configure(
    options: &ProbeOptions,
    kernel: &Kernel<'_>,
    behaviours: &[Behaviour],
) -> Result<Config, ProbeError> {
    let by_timer = behaviours.contains(&Behaviour::BirthsByTimer);
    let births = if by_timer {
        BIRTHS_BY_TIMER
    } else if behaviours.contains(&Behaviour::BirthsInferred) {
        BIRTHS_INFERRED
    } else {
        BIRTHS_HOOKED
    };
    let by_syscall = behaviours.contains(&Behaviour::PortsBySyscall);
    Ok(Config {
        tw_timer_handler: if by_timer {
            kernel.tw_timer_handler()
        } else {
            0
        },
        tick_ns: facts::tick_ns(),
        slow_port_ns: options.slow_port_ns,
        wake_bytes: u64::from(options.ring_bytes) / 4,
        sk_kern_sock_bit: kernel
            .types
            .member_bit_offset("sock", "sk_kern_sock")
            .unwrap_or(ABSENT),
        sk_shutdown_bit: kernel
            .types
            .member_bit_offset("sock", "sk_shutdown")
            .unwrap_or(ABSENT),
        stack_slow_port_ns: options
            .stacks
            .map_or(u64::MAX, |stacks| stacks.slow_port_ns),
        births,
        ends_by_timer: u32::from(by_timer),
        ports_by_syscall: u32::from(by_syscall),
        tell_special: u32::from(options.tell_special),
        stacks: u32::from(options.stacks.is_some()),
        user_registers: stacks::user_registers(kernel.types),
        registers_offset: stacks::REGISTERS_OFFSET,
        cgroup_controller: facts::cgroup_controller(kernel.types),
        direct_reads: u32::from(kernel.cast.is_some()),
        closing_mask: closing_slots(options, births) - 1,
        story_slot_bits: match kernel.cast {
            Some(_) if options.max_sockets >= SLOTS_FROM => {
                options.max_sockets.next_power_of_two().ilog2()
            }
            _ => 0,
        },
        in_execve_bit: kernel
            .types
            .member_bit_offset("task_struct", "in_execve")
            .unwrap_or(ABSENT),
    })
}

/// Fewer sockets than this are followed to the very number that was asked for.
const SLOTS_FROM: u32 = 4096;

/// How many closing sockets have a slot: most of a table's chains are short where it has as many slots as entries.
fn closing_slots(options: &ProbeOptions, births: u32) -> u32 {
    if births == BIRTHS_BY_TIMER {
        options.max_sockets.clamp(1, 1 << 24).next_power_of_two()
    } else {
        1
    }
}

fn load(
    options: &ProbeOptions,
    offsets: &Offsets,
    config: &Config,
    cast: Option<u32>,
) -> Result<(Ebpf, Option<Logger>), ProbeError> {
    // Only the timer tier looks sockets up by tuple.
    let (closing, cancelled) = if config.births == BIRTHS_BY_TIMER {
        (options.max_sockets.min(CLOSING_ENTRIES), CANCELLED_ENTRIES)
    } else {
        (UNUSED_ENTRIES, UNUSED_ENTRIES)
    };
    // With as many slots as sockets, a bit more than a third of so many find theirs taken.
    let stories = match config.story_slot_bits {
        0 => options.max_sockets,
        _ => options.max_sockets / 2,
    };
    let descendants = match options.follows_command {
        true => options
            .max_processes
            .saturating_mul(DESCENDANTS_PER_PROCESS),
        false => 1,
    };
    let existing = u32::try_from(options.existing_sockets).unwrap_or(u32::MAX);
    let stacks = options.stacks.map_or(1, |stacks| stacks.max_stacks);
    let mut ebpf = loader::without_kernel_btf()
        .map_err(ProbeError::FileLimit)?
        .override_global("OFFSETS", offsets, true)
        .override_global("CONFIG", config, true)
        .map_max_entries("EVENTS", options.ring_bytes)
        .map_max_entries("STORY_SLOTS", 1 << config.story_slot_bits)
        .map_max_entries("STORIES", stories)
        .map_max_entries("MINIS", options.max_sockets)
        .map_max_entries("EXISTING", existing.clamp(1, options.max_sockets))
        .map_max_entries("CLOSING", closing)
        .map_max_entries("CLOSING_SLOTS", config.closing_mask + 1)
        .map_max_entries("CANCELLED", cancelled)
        // One that is counted may have acted before many others did.
        .map_max_entries("NAMES", options.max_processes.saturating_mul(2))
        .map_max_entries("PROCESSES", options.max_processes)
        .map_max_entries("PORTS", options.max_processes)
        .map_max_entries("DESCENDANTS", descendants)
        .map_max_entries("STACKS", stacks)
        .map_max_entries("STACKS_MORE", stacks)
        .map_max_entries("SITES", stacks)
        // Few are counted for more than one thing.
        .map_max_entries("SITE_COUNTS", stacks * 2)
        .load(&direct_reads::object(object(), cast))
        .map_err(|error| ProbeError::Object(one_line(&error)))?;
    let logger = match EbpfLogger::init(&mut ebpf) {
        Ok(logger) => Some(logger),
        Err(error) => {
            log::debug!("the kernel side's log can't be read: {error}");
            None
        }
    };
    Ok((ebpf, logger))
}

/// An error and its causes, without repeating those whose text is in the one before.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl Attached {
    /// Adds what can't be known of who acts, for another reason than the hooks.
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

    /// What was chosen for each question, and why the better ones were not.
    pub fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// Has all programs count and report from now on. Returns since when (CLOCK_MONOTONIC, nanoseconds): no event is
    /// earlier.
    ///
    /// # Errors
    /// When the kernel refuses the clock or the map.
    pub fn begin_counting(&mut self) -> Result<u64, ProbeError> {
        let now_ns = clock::monotonic_ns().map_err(ProbeError::Clock)?;
        self.set_started(now_ns)?;
        Ok(now_ns)
    }

    fn set_started(&mut self, started: u64) -> Result<(), ProbeError> {
        const MAP: &str = "STARTED";
        let fails = |error: MapError| counters::map_error(MAP, &error);
        let map = self.ebpf.map_mut(MAP);
        let map = map.ok_or_else(|| counters::missing(MAP))?;
        let mut map: Array<&mut MapData, u64> = map.try_into().map_err(fails)?;
        map.set(0, started, 0).map_err(fails)
    }

    /// The ring buffer; to be called once.
    ///
    /// # Errors
    /// When it was taken already.
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

    /// Passes the kernel side's warnings on to the log. To be called now and then.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// The kernel's own word for a reset's reason (`enum sk_rst_reason`, 6.10 on), such as `TCP_STATE`.
    pub fn reset_reason_name(&self, code: u8) -> Option<&str> {
        self.reset_reasons.get(&u32::from(code)).map(String::as_str)
    }

    /// Whether this kernel counts TcpExt TW and TWKilled when a mini-socket expires (5.10) and not when
    /// it is made (6.1 and later): by BTF, `inet_timewait_sock` has a member `tw_kill` in the former.
    pub fn counts_time_wait_at_expiry(&self) -> bool {
        self.counts_at_expiry
    }
}
