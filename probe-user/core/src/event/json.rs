//! JSON lines of `trace --json`.

use serde::Serialize;

use crate::event::Timestamp;
use crate::hooks::Choice;

/// Version of the line format. Adding a field does not change it.
pub const FORMAT: u32 = 1;

/// The `start` event: the first line.
#[derive(Debug, Serialize)]
pub struct Start<'a, O: Serialize> {
    /// Wall-clock time when all probes were attached.
    pub ts: Timestamp,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub mono_ns: u64,
    /// Always `start`.
    pub event: StartWord,
    /// [`FORMAT`].
    pub format: u32,
    /// Number of this part of a recording, starting at 1.
    pub part: u32,
    /// Release of the kernel.
    pub kernel: &'a str,
    /// Name of the host.
    pub host: &'a str,
    /// Effective options.
    pub options: O,
    /// The tier of each capability.
    pub tiers: &'a [Choice],
}

/// The word `start`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StartWord {
    /// The only value.
    #[default]
    Start,
}

/// Appends one object and the end of its line.
///
/// # Errors
/// If the value has no JSON form.
pub fn append(line: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *line, value)?;
    line.push(b'\n');
    Ok(())
}
