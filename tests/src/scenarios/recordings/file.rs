//! The contents of a recording's file, read without twtrace.

use std::{fs, ops::Range, path::Path};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;
use twtrace_wire::EventKind;
use zstd::zstd_safe;

/// More than the text of any frame.
const MAX_FRAME_TEXT: usize = 64 << 20;

/// Bytes of a recording.
pub struct Recorded {
    /// As they are on disk.
    pub bytes: Vec<u8>,
}

impl Recorded {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        Ok(Self { bytes })
    }

    /// The byte ranges of the frames. All must be whole, except the last one.
    pub fn frames(&self) -> Result<Vec<Range<usize>>> {
        let mut frames = Vec::new();
        let mut begin = 0;
        while begin < self.bytes.len() {
            let rest = &self.bytes[begin..];
            match zstd_safe::find_frame_compressed_size(rest) {
                Ok(length) => frames.push(begin..begin + length),
                Err(code) => {
                    let name = zstd_safe::get_error_name(code);
                    ensure!(
                        name == "Src size is incorrect",
                        "{name} in the frame at byte {begin}"
                    );
                    break;
                }
            }
            begin = frames.last().map_or(begin, |frame| frame.end);
        }
        Ok(frames)
    }

    /// All lines of the whole frames.
    pub fn lines(&self) -> Result<Vec<String>> {
        let mut text = Vec::new();
        for frame in self.frames()? {
            text.extend(zstd::bulk::decompress(&self.bytes[frame], MAX_FRAME_TEXT)?);
        }
        let text = String::from_utf8(text)?;
        ensure!(text.ends_with('\n'), "a frame ends within a line");
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// A line's JSON object.
pub fn parse(line: &str) -> Result<Value> {
    serde_json::from_str(line).with_context(|| line.to_owned())
}

/// A line's field `event`.
pub fn kind(line: &str) -> Result<String> {
    let event = parse(line)?["event"].as_str().map(str::to_owned);
    event.with_context(|| format!("no event: {line}"))
}

/// The lines that `trace` prints after `start`.
pub fn events(lines: &[String]) -> Result<Vec<String>> {
    let mut events = Vec::new();
    for line in lines {
        let kind = kind(line)?;
        let is_event = |it: &EventKind| it.as_str() == kind;
        // The others are observations, which are not printed.
        if kind == "lost" || EventKind::ALL.iter().any(is_event) {
            events.push(line.clone());
        }
    }
    Ok(events)
}

/// Compares line by line: a difference is printed as one line, not as all of them.
pub fn same_lines(what: &str, got: &[impl AsRef<str>], expected: &[impl AsRef<str>]) -> Result<()> {
    for (number, (got, expected)) in (1..).zip(got.iter().zip(expected)) {
        let (got, expected) = (got.as_ref(), expected.as_ref());
        ensure!(
            got == expected,
            "{what}: line {number} is\n{got}\nnot\n{expected}"
        );
    }
    (got.len() == expected.len())
        .then_some(())
        .ok_or_else(|| anyhow!("{what}: {} lines, not {}", got.len(), expected.len()))
}
