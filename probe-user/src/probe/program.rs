//! One program of the object: loads it, attaches it, and explains why the kernel refuses it.

use std::{error::Error, io};

use aya::{
    Btf,
    programs::{Program, ProgramError},
};
use twtrace_core::hooks::plan::Attach;

/// Loads a program, unless it is loaded: a program that is attached in several places is loaded once. Programs for
/// functions need `functions`.
///
/// # Errors
/// The kernel's error; or the program's type does not match its place.
pub fn load(
    program: &mut Program,
    attach: &Attach,
    functions: Option<&Btf>,
) -> Result<(), ProgramError> {
    let loaded = match (program, attach, functions) {
        (Program::RawTracePoint(program), Attach::RawTracepoint(_), _) => program.load(),
        (Program::TracePoint(program), Attach::Tracepoint(..), _) => program.load(),
        (Program::FEntry(program), Attach::Fentry(function), Some(btf)) => {
            program.load(function, btf)
        }
        (Program::FExit(program), Attach::Fexit(function), Some(btf)) => {
            program.load(function, btf)
        }
        (Program::KProbe(program), Attach::Kprobe(_), _) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    };
    match loaded {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        other => other,
    }
}

/// Attaches a loaded program.
///
/// # Errors
/// The kernel's error; or the program's type does not match its place.
pub fn attach(program: &mut Program, attach: &Attach) -> Result<(), ProgramError> {
    match (program, attach) {
        (Program::RawTracePoint(program), Attach::RawTracepoint(tracepoint)) => {
            program.attach(tracepoint).map(|_| ())
        }
        (Program::TracePoint(program), Attach::Tracepoint(category, tracepoint, _)) => {
            program.attach(category, tracepoint).map(|_| ())
        }
        (Program::FEntry(program), Attach::Fentry(_)) => program.attach().map(|_| ()),
        (Program::FExit(program), Attach::Fexit(_)) => program.attach().map(|_| ()),
        (Program::KProbe(program), Attach::Kprobe(function)) => {
            program.attach(function, 0).map(|_| ())
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Detaches and unloads a program; does nothing if it is not loaded.
pub fn unload(program: &mut Program) {
    let _ = match program {
        Program::RawTracePoint(program) => program.unload(),
        Program::TracePoint(program) => program.unload(),
        Program::FEntry(program) => program.unload(),
        Program::FExit(program) => program.unload(),
        Program::KProbe(program) => program.unload(),
        _ => Ok(()),
    };
}

/// One line: the innermost cause, or `no_such_hook` if the kernel lacks what was named. The verifier's log is written
/// to the debug log.
pub fn explain(error: &ProgramError, no_such_hook: &str) -> String {
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
        return no_such_hook.to_owned();
    }
    innermost.to_string()
}
