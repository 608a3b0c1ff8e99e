//! Lines inside of a whole frame. Its checksum would keep the fuzzer out of them.

#![no_main]

use zstd::bulk::compress;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    if let Ok(frame) = compress(text, 1) {
        twtrace::read_recording(&frame);
    }
});
