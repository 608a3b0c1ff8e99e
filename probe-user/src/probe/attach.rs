//! Trying the tiers: what really loads and attaches is kept.

use std::{cell::OnceCell, error::Error, io, path::Path};

use aya::{
    Btf, Ebpf, Endianness,
    programs::{Program, ProgramError},
};

use super::{
    Choice, Hook, ProbeError, Question, Tier,
    btf::KernelBtf,
    facts::{self, Preemption},
    plan::{Attach, Behaviour, Candidate, Condition, Part, Plan},
    tracefs,
};

/// What the candidates are tried against.
pub struct Kernel<'a> {
    /// Our reading of the kernel's BTF.
    pub types: &'a KernelBtf,
    /// The same file, for aya's reading of it.
    pub btf_path: &'a Path,
    /// aya's, for fentry: read when it is first needed.
    pub btf: OnceCell<Option<Btf>>,
    /// Address of `tw_timer_handler`, or 0: looked for when it is first needed, which takes a while.
    pub tw_timer_handler: OnceCell<u64>,
    /// Whether, and where, the kernel may preempt programs.
    pub preemption: Preemption,
    /// Hooks that were switched off.
    pub without: &'a [Hook],
    /// The number of `bpf_rdonly_cast`, where programs may read with it.
    pub cast: Option<u32>,
}

impl Kernel<'_> {
    fn btf(&self) -> Option<&Btf> {
        self.btf
            .get_or_init(|| Btf::parse_file(self.btf_path, Endianness::default()).ok())
            .as_ref()
    }

    /// Address of the mini-sockets' timer function, or 0 where kallsyms does not show it.
    pub fn tw_timer_handler(&self) -> u64 {
        *self
            .tw_timer_handler
            .get_or_init(|| facts::symbol_address("tw_timer_handler").unwrap_or(0))
    }
}

/// What came of a question.
pub enum Outcome {
    /// Its programs are attached.
    Attached(Choice),
    /// The tier that is left to try needs the object to be loaded with this.
    Reload(Behaviour),
}

/// The best tier that works.
///
/// # Errors
/// When none does, not even [`Tier::None`].
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

/// Attaches the second chances of a candidate where its programs may be preempted. Returns those that are
/// attached, and why the others are not.
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
    for part in candidate.second_chance.iter().filter(|_| preempted) {
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

/// What a tier can't know, and what it may miss without all of its second chances.
fn lost(tier: Option<&str>, missing: &[String]) -> Option<String> {
    let preempted = (!missing.is_empty()).then(|| {
        format!(
            "this kernel may preempt a program and skips it for others meanwhile, and what would make good \
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

/// Loads and attaches all parts, or none. The error is the reason, or `None` where the candidate is
/// another one's variant for other kernels.
fn attempt(
    ebpf: &mut Ebpf,
    kernel: &Kernel<'_>,
    candidate: &Candidate,
    chosen: &[Choice],
) -> Result<(), Option<String>> {
    check(kernel, candidate, chosen)?;
    for part in candidate.parts {
        if let Err(error) = attach_part(ebpf, kernel, part) {
            for (program, _) in candidate.parts {
                unload(ebpf, program);
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
        Condition::BirthsByTimer => {
            let by_timer = chosen
                .iter()
                .any(|choice| choice.question == Question::TimeWait && choice.tier == Tier::Timer);
            if !by_timer {
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

fn unload(ebpf: &mut Ebpf, name: &str) {
    let Some(program) = ebpf.program_mut(name) else {
        return;
    };
    // A program that is not loaded has nothing to unload.
    let _ = match program {
        Program::RawTracePoint(program) => program.unload(),
        Program::TracePoint(program) => program.unload(),
        Program::FEntry(program) => program.unload(),
        Program::FExit(program) => program.unload(),
        Program::KProbe(program) => program.unload(),
        _ => Ok(()),
    };
}

fn attach_part(ebpf: &mut Ebpf, kernel: &Kernel<'_>, part: &Part) -> Result<(), String> {
    let (name, attach) = part;
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| format!("the object has no program {name}"))?;
    let result = match (program, attach) {
        (Program::RawTracePoint(program), Attach::RawTracepoint(tracepoint)) => {
            loaded(program.load()).and_then(|()| program.attach(tracepoint).map(|_| ()))
        }
        (Program::TracePoint(program), Attach::Tracepoint(category, tracepoint, fields)) => {
            check_fields(category, tracepoint, fields)?;
            loaded(program.load()).and_then(|()| program.attach(category, tracepoint).map(|_| ()))
        }
        (Program::FEntry(program), Attach::Fentry(function)) => {
            let btf = kernel.btf().ok_or("aya can't read the kernel's BTF")?;
            loaded(program.load(function, btf)).and_then(|()| program.attach().map(|_| ()))
        }
        (Program::FExit(program), Attach::Fexit(function)) => {
            let btf = kernel.btf().ok_or("aya can't read the kernel's BTF")?;
            loaded(program.load(function, btf)).and_then(|()| program.attach().map(|_| ()))
        }
        (Program::KProbe(program), Attach::Kprobe(function)) => {
            loaded(program.load()).and_then(|()| program.attach(function, 0).map(|_| ()))
        }
        _ => return Err(format!("the object's program {name} is of another type")),
    };
    result.map_err(|error| explain(&error))
}

/// A program that goes to several places is loaded once.
fn loaded(result: Result<(), ProgramError>) -> Result<(), ProgramError> {
    match result {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        other => other,
    }
}

/// One line: the innermost cause. The verifier's log goes to the debug log.
fn explain(error: &ProgramError) -> String {
    log::debug!("{error}");
    if let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    {
        let log = verifier_log.to_string();
        let last = log
            .lines()
            .rfind(|line| !line.trim().is_empty() && !line.starts_with("processed"));
        return match last {
            Some(line) => format!("{io_error}: {}", line.trim()),
            None => io_error.to_string(),
        };
    }
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if let Some(error) = innermost.downcast_ref::<io::Error>()
        && error.kind() == io::ErrorKind::NotFound
    {
        return "this kernel has no such hook".to_owned();
    }
    innermost.to_string()
}

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
