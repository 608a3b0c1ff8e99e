//! Fuzzes a recording as it is on disk: frames or plain lines, whole or damaged.
//!
//! See docs/development.md for how to run it.

#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    twtrace::read_recording(file);
});
