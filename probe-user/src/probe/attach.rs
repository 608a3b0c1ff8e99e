//! Tries the tiers, and keeps what loads and attaches.

use std::cell::OnceCell;

use aya::{Btf, Ebpf};
use twtrace_core::hooks::plan::{self, Attach, Behaviour, Candidate, Condition, Part, Plan};

use super::{
    Choice, Hook, ProbeError, Question, Tier, btf::KernelBtf, kernel_properties::Preemption,
    program, symbols, tracefs, trial,
};

/// The kernel that candidates are tried on.
pub struct Kernel<'a> {
    /// The kernel's BTF.
    pub types: &'a KernelBtf,
    /// What aya needs of it for fentry; built when it is first needed.
    pub functions: OnceCell<Option<Btf>>,
    /// Address of `tw_timer_handler`, or 0. Searched when it is first needed, because that takes a while.
    pub tw_timer_handler: OnceCell<u64>,
    /// Whether, and where, the kernel may preempt programs.
    pub preemption: Preemption,
    /// Hooks that are switched off.
    pub without: &'a [Hook],
    /// The number of `bpf_rdonly_cast`, if programs may read with it.
    pub cast: Option<u32>,
}

impl Kernel<'_> {
    /// The functions that programs may be attached to, in aya's form.
    pub fn functions(&self) -> Result<&Btf, String> {
        self.functions
            .get_or_init(|| self.types.for_aya(&plan::functions()))
            .as_ref()
            .ok_or_else(|| "aya does not take the kernel's functions".to_owned())
    }

    /// Address of the mini-sockets' timer function, or 0 if kallsyms does not show it.
    pub fn tw_timer_handler(&self) -> u64 {
        *self
            .tw_timer_handler
            .get_or_init(|| symbols::address("tw_timer_handler").unwrap_or(0))
    }
}

/// The result for one question.
pub enum Outcome {
    /// Its programs are attached.
    Attached(Choice),
    /// The remaining tier needs the object to be loaded with this behaviour.
    Reload(Behaviour),
}

/// Attaches the best tier that works.
///
/// # Errors
/// If none does, not even [`Tier::None`].
pub fn choose(
    ebpf: &mut Ebpf,
    kernel: &Kernel<'_>,
    plan: &Plan,
    loaded_with: &[Behaviour],
    chosen: &[Choice],
) -> Result<Outcome, ProbeError> {
    let mut refused = Vec::new();
    for candidate in plan.candidates {
        let behaviour = candidate.behaviour;
        if behaviour != Behaviour::Same
            && !loaded_with.contains(&behaviour)
            && check(kernel, candidate, chosen).is_ok()
        {
            return Ok(Outcome::Reload(behaviour));
        }
        match attempt(ebpf, kernel, candidate, chosen) {
            Ok(()) => {
                let (again, missing) = give_second_chance(ebpf, kernel, candidate);
                return Ok(Outcome::Attached(Choice {
                    question: plan.question,
                    tier: candidate.tier,
                    hooks: hooks(candidate.parts.iter().chain(again)),
                    lost: lost(candidate.lost, &missing),
                    refused,
                }));
            }
            Err(Some(why)) => refused.push((candidate.tier, why)),
            Err(None) => {}
        }
    }
    Err(ProbeError::Refused {
        question: plan.question,
        refusals: refused
            .iter()
            .map(|(tier, why)| format!("{} ({why})", tier.name()))
            .collect::<Vec<_>>()
            .join("; "),
    })
}

/// Attaches the second chances of a candidate whose programs may be preempted. Returns those that are attached, and
/// why the others are not.
fn give_second_chance(
    ebpf: &mut Ebpf,
    kernel: &Kernel<'_>,
    candidate: &Candidate,
) -> (Vec<&'static Part>, Vec<String>) {
    let preempted = match candidate.tier {
        Tier::RawTracepoint | Tier::Timer => kernel.preemption.tracepoints,
        Tier::Fentry => kernel.preemption.functions,
        _ => false,
    };
    let (mut attached, mut missing) = (Vec::new(), Vec::new());
    let chances = candidate.second_chance.iter().filter(|_| preempted);
    for part in chances.map(|chance| &chance.part) {
        let result = if kernel.without.contains(&hook(&part.1)) {
            Err("switched off".to_owned())
        } else {
            attach_part(ebpf, kernel, part)
        };
        match result {
            Ok(()) => attached.push(part),
            Err(error) => missing.push(format!("{}: {error}", place(&part.1))),
        }
    }
    (attached, missing)
}

/// What a tier can't know, and what it may miss if some of its second chances are not attached.
fn lost(tier: Option<&str>, missing: &[String]) -> Option<String> {
    let preempted = (!missing.is_empty()).then(|| {
        format!(
            "this kernel may preempt a program and skips it for others during that time, and what would make good \
             for it is not attached ({})",
            missing.join("; ")
        )
    });
    match (tier, preempted) {
        (Some(tier), Some(preempted)) => Some(format!("{tier}; {preempted}")),
        (tier, preempted) => preempted.or_else(|| tier.map(str::to_owned)),
    }
}

fn hooks<'a>(parts: impl Iterator<Item = &'a Part>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, attach) in parts {
        let name = place(attach);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn hook(attach: &Attach) -> Hook {
    match attach {
        Attach::RawTracepoint(_) => Hook::RawTracepoint,
        Attach::Fentry(_) | Attach::Fexit(_) => Hook::Fentry,
        Attach::Kprobe(_) => Hook::Kprobe,
        Attach::Tracepoint(..) => Hook::Tracepoint,
    }
}

fn place(attach: &Attach) -> String {
    match attach {
        Attach::RawTracepoint(name)
        | Attach::Fentry(name)
        | Attach::Fexit(name)
        | Attach::Kprobe(name) => (*name).to_owned(),
        Attach::Tracepoint(category, name, _) => format!("{category}:{name}"),
    }
}

/// The candidates that will probably be chosen: tries each without the object, as far as that is possible. If one is
/// refused when its programs are loaded, [`choose`] finds another.
pub fn foresee(kernel: &Kernel<'_>, plans: &[&'static Plan]) -> Vec<&'static Candidate> {
    let mut chosen: Vec<Choice> = Vec::new();
    let mut candidates = Vec::new();
    for plan in plans {
        let expected = plan.candidates.iter().find(|candidate| {
            check(kernel, candidate, &chosen).is_ok()
                && candidate
                    .parts
                    .iter()
                    .all(|(_, attach)| is_expected(kernel, attach))
        });
        let Some(candidate) = expected else { continue };
        candidates.push(candidate);
        chosen.push(Choice {
            question: plan.question,
            tier: candidate.tier,
            hooks: Vec::new(),
            lost: None,
            refused: Vec::new(),
        });
    }
    candidates
}

fn is_expected(kernel: &Kernel<'_>, attach: &Attach) -> bool {
    match attach {
        Attach::Fentry(_) | Attach::Fexit(_) => worth_loading(kernel, attach).is_ok(),
        Attach::RawTracepoint(name) => kernel.types.tracepoint_arguments(name).is_some(),
        Attach::Tracepoint(category, name, fields) => check_fields(category, name, fields).is_ok(),
        Attach::Kprobe(_) => tracefs::has_kprobes(),
    }
}

/// Loads and attaches all parts, or none. The error is the reason, or `None` if the candidate is a variant of another
/// one for other kernels.
fn attempt(
    ebpf: &mut Ebpf,
    kernel: &Kernel<'_>,
    candidate: &Candidate,
    chosen: &[Choice],
) -> Result<(), Option<String>> {
    check(kernel, candidate, chosen)?;
    for part in candidate.parts {
        if let Err(error) = attach_part(ebpf, kernel, part) {
            for (name, _) in candidate.parts {
                if let Some(program) = ebpf.program_mut(name) {
                    program::unload(program);
                }
            }
            return Err(Some(format!("{}: {error}", place(&part.1))));
        }
    }
    Ok(())
}

fn check(
    kernel: &Kernel<'_>,
    candidate: &Candidate,
    chosen: &[Choice],
) -> Result<(), Option<String>> {
    match candidate.condition {
        Condition::Always => {}
        Condition::SendResetArguments(expected) => {
            if kernel.types.tracepoint_arguments("tcp_send_reset") != Some(expected) {
                return Err(None);
            }
        }
        Condition::Arguments(function, expected) => {
            if kernel.types.function_arguments(function) != Some(expected) {
                return Err(None);
            }
        }
        Condition::Without(function) => {
            if kernel.types.function_arguments(function).is_some() {
                return Err(None);
            }
        }
        Condition::BirthsByTimer => {
            let by_timer = chosen
                .iter()
                .any(|choice| choice.question == Question::TimeWait && choice.tier == Tier::Timer);
            if !by_timer {
                return Err(None);
            }
        }
        Condition::PortsBySyscall => {
            let by_syscall = chosen
                .iter()
                .any(|choice| choice.question == Question::Port && choice.tier == Tier::Syscall);
            if !by_syscall {
                return Err(None);
            }
        }
        Condition::TimerHandlerKnown => {
            if !switched_off(kernel, candidate) && kernel.tw_timer_handler() == 0 {
                return Err(Some(
                    "/proc/kallsyms does not show tw_timer_handler (kernel.kptr_restrict, or CAP_SYSLOG \
                     is missing)"
                        .to_owned(),
                ));
            }
        }
        Condition::ResetsReportedAnyway => {
            let same = chosen
                .iter()
                .any(|choice| choice.question == Question::Reset && choice.tier == candidate.tier);
            if !same || kernel.types.tracepoint_arguments("tcp_send_reset") != Some(3) {
                return Err(None);
            }
        }
    }
    if switched_off(kernel, candidate) {
        return Err(Some("switched off".to_owned()));
    }
    Ok(())
}

fn switched_off(kernel: &Kernel<'_>, candidate: &Candidate) -> bool {
    candidate
        .hook
        .is_some_and(|hook| kernel.without.contains(&hook))
}

fn attach_part(ebpf: &mut Ebpf, kernel: &Kernel<'_>, part: &Part) -> Result<(), String> {
    let (name, attach) = part;
    worth_loading(kernel, attach)?;
    if let Attach::Tracepoint(category, tracepoint, fields) = attach {
        check_fields(category, tracepoint, fields)?;
    }
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| format!("the object has no program {name}"))?;
    let functions = match attach.function() {
        Some(_) => Some(kernel.functions()?),
        None => None,
    };
    program::load(program, attach, functions)
        .and_then(|()| program::attach(program, attach))
        .map_err(|error| program::explain(&error, NO_SUCH_HOOK))
}

/// Whether the kernel accepts a program of two instructions there; whether it accepts ours is known when that is
/// loaded. (If the kernel refuses a program, aya loads it ten more times to get the verifier's log.)
///
/// # Errors
/// The kernel's reason.
pub fn worth_loading(kernel: &Kernel<'_>, attach: &Attach) -> Result<(), String> {
    let is_there = match attach {
        Attach::Fentry(function) | Attach::Fexit(function) => {
            match kernel.types.function_id(function) {
                Some(id) => {
                    let at_return = matches!(attach, Attach::Fexit(_));
                    return trial::function(id, at_return).map_err(|error| error.to_string());
                }
                None => false,
            }
        }
        Attach::Kprobe(_) => tracefs::has_kprobes(),
        Attach::RawTracepoint(_) | Attach::Tracepoint(..) => true,
    };
    is_there
        .then_some(())
        .ok_or_else(|| NO_SUCH_HOOK.to_owned())
}

const NO_SUCH_HOOK: &str = "this kernel has no such hook";

fn check_fields(category: &str, name: &str, fields: &[(&str, u32)]) -> Result<(), String> {
    for (field, expected) in fields {
        let found = tracefs::tracepoint_field(category, name, field)
            .map_err(|error| format!("no tracepoint {category}:{name}: {error}"))?;
        if found != Some(*expected) {
            return Err(format!(
                "{category}:{name} has {field} at {found:?}, not at {expected}"
            ));
        }
    }
    Ok(())
}
