//! Rows by process and user stack.

use serde::{Deserialize, Serialize};
use twtrace_wire::{EventKind, StackWhat, Unattributed};

use crate::event::Process;
use crate::event::answerable::Answerable;
use crate::event::schema::WordOf;
use crate::event::words::{self, Word};

/// Counts of one user stack of one process.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize, Deserialize)]
pub struct StackRow {
    /// The process, or `None` if none is known.
    pub process: Option<Process>,
    /// Why there is none.
    #[serde(with = "words::optional")]
    #[schemars(with = "Option<WordOf<Unattributed>>")]
    pub unattributed: Option<Unattributed>,
    /// What is counted.
    #[serde(with = "words")]
    #[schemars(with = "WordOf<StackWhat>")]
    pub what: StackWhat,
    /// The count.
    pub count: u64,
    /// The stack, innermost first; empty if there is none.
    pub frames: Vec<Frame>,
    /// What is missing, and why.
    pub why: Option<Missing>,
}

/// One function of a stack.
#[derive(schemars::JsonSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// Demangled name, if known.
    pub symbol: Option<String>,
    /// Path of its ELF file in the process's own mount namespace, if it has one.
    pub module: Option<String>,
    /// Offset from the function's start if `symbol` is known, otherwise in the file.
    pub offset: Option<u64>,
    /// Source file, if debug information has it.
    pub file: Option<String>,
    /// Line in it.
    pub line: Option<u32>,
    /// Address in the process's memory: the instruction, or the one after the call.
    pub address: u64,
    /// How it was found.
    pub found_by: FoundBy,
}

/// How a frame was found.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// The instruction pointer itself, or the frame pointers' chain.
    FramePointer,
    /// The module's unwind tables.
    UnwindTable,
    /// The first word on the stack that is a return address: likely, not certain.
    Scan,
}

/// Missing parts of a stack.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The process was exiting; the kernel closed for it.
    Exit,
    /// A kernel thread did it for the process.
    KernelThread,
    /// The process had exited before its stack could be looked up: addresses only.
    ProcessGone,
    /// More stacks than `--max-stacks`.
    Lost,
    /// Frames beyond the innermost ones: their slot was taken.
    OuterFrames,
    /// Frames beyond the innermost ones: functions without frame pointers, and no more of the stack was kept.
    NoFramePointers,
    /// No close() was seen: it closed before tracing, or the kernel closed by itself.
    NotSeen,
    /// The process's memory map can't be read.
    Unreadable,
    /// Names of functions, and callers that only unwind tables show: the symbols could not be read, or not in time.
    SymbolsFailed,
    /// The same: the limits for one user's processes, or for all, were reached.
    SymbolsLimited,
    /// The same: reading symbols failed too often, or can't be done here.
    SymbolsOff,
}

impl Missing {
    /// The reason in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Exit => "(exit)",
            Self::KernelThread => "(kernel thread, for the process)",
            Self::ProcessGone => "(the process exited before it could be read)",
            Self::Lost => "(lost: more stacks than --max-stacks)",
            Self::OuterFrames => "(outer frames lost: see --max-stacks)",
            Self::NoFramePointers => "(outer frames not known: no frame pointers)",
            Self::NotSeen => "(no close() seen)",
            Self::Unreadable => "(the process's memory map can't be read)",
            Self::SymbolsFailed => {
                "(no function names: reading the symbols failed or took too long)"
            }
            Self::SymbolsLimited => "(no function names: a limit was reached)",
            Self::SymbolsOff => {
                "(no function names: reading symbols is switched off after failures)"
            }
        }
    }
}

impl StackRow {
    /// Whose code it is.
    pub fn answerable(&self) -> Answerable<'_> {
        Answerable::of(self.process.as_ref(), self.unattributed)
    }

    /// The kind of event that it counts.
    pub fn kind(&self) -> EventKind {
        match self.what {
            StackWhat::TimeWait => EventKind::TimeWait,
            StackWhat::TimeWaitOverflow => EventKind::TimeWaitOverflow,
            StackWhat::ResetSent => EventKind::Reset,
            StackWhat::PortFailed | StackWhat::PortSlow => EventKind::PortAlloc,
        }
    }

    /// Whether both look the same to a reader, who sees functions and lines.
    fn reads_as(&self, other: &Self) -> bool {
        let key = |row: &Self| row.process.as_ref().map(|process| process.key);
        self.what == other.what
            && self.why == other.why
            && key(self) == key(other)
            && self.unattributed == other.unattributed
            && self.frames.len() == other.frames.len()
            && self
                .frames
                .iter()
                .zip(&other.frames)
                .all(|(one, two)| one.reads_as(two))
    }
}

impl Frame {
    fn reads_as(&self, other: &Self) -> bool {
        let known = self.symbol.is_some();
        self.symbol == other.symbol
            && self.module == other.module
            && self.file == other.file
            && self.line == other.line
            && (known || self.address == other.address)
    }
}

/// Merges rows that look the same; the largest first.
pub fn merged(rows: Vec<StackRow>) -> Vec<StackRow> {
    let mut merged: Vec<StackRow> = Vec::new();
    for row in rows {
        match merged.iter_mut().find(|other| other.reads_as(&row)) {
            Some(same) => same.count += row.count,
            None => merged.push(row),
        }
    }
    merged.sort_by_cached_key(|row| {
        let addresses: Vec<u64> = row.frames.iter().map(|frame| frame.address).collect();
        (
            std::cmp::Reverse(row.count),
            row.process.as_ref().map(|process| process.key),
            row.what.word(),
            addresses,
        )
    });
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    fn frame(symbol: Option<&str>, address: u64) -> Frame {
        Frame {
            symbol: symbol.map(str::to_owned),
            module: None,
            offset: None,
            file: None,
            line: None,
            address,
            found_by: FoundBy::UnwindTable,
        }
    }

    fn row(what: StackWhat, count: u64, frames: Vec<Frame>) -> StackRow {
        StackRow {
            process: Some(samples::process(7, "client")),
            unattributed: None,
            what,
            count,
            frames,
            why: None,
        }
    }

    #[test]
    fn calls_of_one_function_are_one_row_and_unknown_addresses_are_not() {
        let rows = merged(vec![
            row(StackWhat::TimeWait, 1, vec![frame(Some("f"), 1)]),
            row(StackWhat::TimeWait, 2, vec![frame(Some("f"), 2)]),
            row(StackWhat::ResetSent, 9, vec![frame(Some("f"), 1)]),
            row(StackWhat::TimeWait, 4, vec![frame(None, 1)]),
            row(StackWhat::TimeWait, 5, vec![frame(None, 2)]),
        ]);
        let counts: Vec<u64> = rows.iter().map(|row| row.count).collect();
        assert_eq!(counts, [9, 5, 4, 3]);
    }

    #[test]
    fn frames_go_to_json_and_back() {
        let one = frame(Some("ns::f"), 3);
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Frame>(&text).unwrap(), one);
        assert!(text.contains(r#""found_by":"unwind_table""#), "{text}");
    }
}
