//! Fuzzes the lines inside a whole frame. The frame's checksum would keep the fuzzer from reaching them.

#![no_main]

use zstd::bulk::compress;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    if let Ok(frame) = compress(text, 1) {
        twtrace::read_recording(&frame);
    }
});
