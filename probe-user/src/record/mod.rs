//! Recordings: what happened on a host, in a file that every view can read later and elsewhere.
//!
//! # Format
//!
//! A recording is JSON lines, compressed as [Zstandard] frames: `zstdcat FILE | jq` works. A frame has whole lines,
//! at most [`MAX_FRAME_TEXT`] bytes of them, the length of its text and a checksum. Frames do not depend on each
//! other. The writer ends a frame when it is large enough or its first line is nearly a second old, and writes it at
//! once, so a crash loses at most the last second, and nothing that was already written.
//!
//! The first line is `start`: format ([`twtrace_core::event::json::FORMAT`]), host, kernel, options, tiers and
//! `part`. Then come events and `lost` as `trace --json` prints them, in the order in which they were reported, and
//! observations ([`observation`]): what reports need beside events. Events wait a moment for records that may replace
//! them, so their times sometimes go back. The last line is `end`; without it, the recording ended by a crash.
//!
//! With `--max-size` a recording is kept in parts, each with `start` again and its number in `part`: `FILE` is the
//! latest, `FILE.1` the one before. A reader puts the parts of one recording in order whatever their names.
//!
//! Plain JSON lines, without compression, are read as well. A reader returns whole frames only, after it has compared
//! their checksum. It stops at the first frame that is cut off or damaged, and reports where.
//!
//! Within one format, fields, kinds of lines and words may be added. A reader skips what it does not know.
//!
//! [Zstandard]: https://datatracker.ietf.org/doc/html/rfc8878

mod detect;
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

pub use detect::is_recording;

/// Text of a frame, bytes. The writer does not exceed it by much.
pub const FRAME_TEXT: usize = 1 << 20;
/// Text of a frame, bytes. The reader refuses a larger frame as not ours.
pub const MAX_FRAME_TEXT: usize = 8 << 20;

#[cfg(test)]
mod sample_tests;
