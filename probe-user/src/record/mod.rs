//! Recordings: what happened on a host, in a file that any view reads later and elsewhere.
//!
//! # Format
//!
//! A recording is JSON lines, compressed as [Zstandard] frames: `zstdcat FILE | jq` works. A frame has whole
//! lines, at most [`MAX_FRAME_TEXT`] bytes of them, the length of its text and a checksum; frames do not depend on
//! each other. The writer ends a frame when it is large enough or its first line is nearly a second old, and
//! writes it at once, so a crash takes at most the last second, and nothing that was written before.
//!
//! The first line is `start`: format ([`twtrace_core::event::json::FORMAT`]), host, kernel, options, tiers and `part`.
//! Then come events and `lost` as `trace --json` prints them, in the order in which they were told (events wait a
//! moment for what may replace them, so their times go back now and then), and observations
//! ([`observation`]): what reports need beside events. The last line is `end`; without it, the recording ended
//! by a crash.
//!
//! With `--max-size` a recording is kept in parts, each with `start` again and its number in `part`: `FILE` is the
//! latest, `FILE.1` the one before. A reader puts the parts of one recording in order whatever their names.
//!
//! Plain JSON lines, without compression, are read as well. A reader hands on whole frames only, after their
//! checksum was compared; it stops at the first that is cut off or damaged, and says where.
//!
//! Within one format, fields, kinds of lines and words may be added. A reader passes over what it does not know.
//!
//! [Zstandard]: https://datatracker.ietf.org/doc/html/rfc8878

pub mod entry;
pub mod error;
pub mod frames;
pub mod merge;
pub mod observation;
mod prefetch;
pub mod reader;
pub mod rotation;
pub mod window;
pub mod writer;

/// Text of a frame, bytes, that the writer does not go far beyond.
pub const FRAME_TEXT: usize = 1 << 20;
/// Text of a frame, bytes, beyond which the reader takes it for none of ours.
pub const MAX_FRAME_TEXT: usize = 8 << 20;

#[cfg(test)]
mod sample_tests;
